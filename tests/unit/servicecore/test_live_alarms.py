"""What the engine finds, as the desk has it: delay, margin and silence from the wire to the list.

The on-delay and the deadband of ISA-18.2 are the engine's votes and margins; the desk adds none.
"""

from dataclasses import replace
from typing import get_args

import pytest

from server.engine import effects
from server.engine.engine import Engine
from server.engine.events import Linked, RegistryChanged, Started, Tick
from server.servicecore.desk import Desk
from server.servicecore.rules.alarms import Shown
from tests.support.books import book
from tests.support.plant import AT, Journal, registry
from tests.unit.engine.wire import Wire, reading

POINT = "north-12/pressure"


class Plant:
    """One pressure point of the centre, read each second, and what comes of it under a policy."""

    def __init__(self, journal: Journal, policy: str) -> None:
        self._engine, self._wire, self._journal = Engine("mainwatch"), Wire(), journal
        known = registry()
        points = {POINT: replace(known.points[POINT], place="central", period_ms=1_000)}
        found = replace(known, points=points).promised(book(policy).promises)
        self.at = AT
        self._tell(RegistryChanged(at=AT, registry=found))
        self._tell(Started(at=AT, version="0", settings={"host_id": "mainwatch"}))
        self._tell(Linked(at=AT, up=True))
        self._tell(self._wire.nbirth(AT))
        self._tell(self._wire.dbirth(AT, "pt", {"pressure": POINT}))

    def say(self, *values: float | None) -> None:
        """Let each value be read for a second; None is a second without any."""
        for value in values:
            if value is not None:
                self._tell(self._wire.ddata(self.at, "pt", [reading("pressure", self.at, value)]))
            self.at += 1_000
            self._tell(Tick(at=self.at))

    def settle(self) -> None:
        """Let the open bins close: their grace passes."""
        self.say(None, None, None)

    def _tell(self, event) -> None:
        told = self._engine.apply(event)
        recorded = [e for e in told if isinstance(e, get_args(effects.Recorded))]
        if recorded:
            self._journal.record(*recorded)


async def stands(desk: Desk) -> dict[str, tuple[Shown, bool]]:
    while await desk.catch_up():
        pass
    board = await desk.board()
    found = [(a.kind, board.standing[a.id]) for a in board.alarms]
    return {kind: (stands.shown, stands.is_heard) for kind, stands in found}


@pytest.mark.requirement("R01")
def test_the_promised_pressure_passes_and_less_of_it_is_on_the_list_until_it_is_back(run, journal):
    promised, plant = 280.0, Plant(journal, "xinyang-water")

    async def act(desk: Desk):
        found = []
        for values in (
            [promised] * 10,  # 不低于: the limit itself passes
            [promised - 1] * 4 + [promised + 1] * 6,  # shorter than the delay
            [promised - 1] * 6,
            [promised + 1] * 20,  # above the limit, within the margin
        ):
            plant.say(*values)
            plant.settle()
            found.append(await stands(desk))
        plant.say(*[None] * 30)
        found.append(await stands(desk))  # nothing is not normal
        plant.say(*[promised + 10] * 10)
        plant.settle()
        return found, await stands(desk)

    found, back = run(act)

    unseen = {"pressure_low": (Shown.UNACKNOWLEDGED, True)}
    silent = {"silent": (Shown.UNACKNOWLEDGED, True)}
    assert found == [{}, {}, unseen, unseen, unseen | silent]
    assert back["pressure_low"] == (Shown.RETURNED, False)
