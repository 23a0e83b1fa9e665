"""A failure of supply from the wire to the console: one incident, and at most three sounds."""

from dataclasses import replace
from typing import get_args

from server.engine import effects
from server.engine.engine import Engine
from server.engine.events import Linked, RegistryChanged, Started, Tick
from server.servicecore.desk import Desk
from telemetry.units import Quantity
from tests.scenarios.town_stream import registry
from tests.support.plant import AT
from tests.unit.engine.wire import Wire, reading

ZONES = ("east", "north", "south")
QUIET_S, FALLING_S = 900, 60


def town():
    """Return zones whose pressures are held to every kind of limit."""
    found = registry(ZONES)
    points = {
        name: replace(p, low=200.0, promise_kpa=280.0, statute_kpa=140.0)
        if p.quantity is Quantity.PRESSURE
        else p
        for name, p in found.points.items()
    }
    return replace(found, points=points)


def value_of(point, n, second):
    """Return a pressure or a flow that ripples, and falls to nothing when the pumps stop."""
    ripple = ((second * (n + 3) * 7) % 11 - 5) / 10
    part = max(0.0, 1.0 - max(0, second - QUIET_S) / 40)
    whole = 300.0 + n if point.quantity is Quantity.PRESSURE else 50.0
    return whole * part + ripple * 0.4


def test_a_failure_of_every_zone_is_one_incident_with_at_most_three_sounds(run, journal, clock):
    known = town()
    engine, wire = Engine("mainwatch"), Wire()
    names = {f"m{n}": p for n, p in enumerate(sorted(known.points))}
    raised = []

    def tell(event):
        told = [e for e in engine.apply(event) if isinstance(e, get_args(effects.Recorded))]
        raised.extend(e for e in told if isinstance(e, effects.AlarmRaised))
        if told:
            journal.record(*told)
        return bool(told)

    tell(RegistryChanged(at=AT, registry=known))
    tell(Started(at=AT, version="0", settings={"host_id": "mainwatch"}))
    tell(Linked(at=AT, up=True))
    tell(wire.nbirth(AT))
    tell(wire.dbirth(AT, "pt", names))

    async def act(desk: Desk):
        heard, sounds = set(), 0
        for second in range(QUIET_S + FALLING_S):
            at = AT + 1_000 * second
            points = [known.points[p] for p in names.values()]
            said = [
                reading(m, at, value_of(p, n, second))
                for n, (m, p) in enumerate(zip(names, points, strict=True))
            ]
            tell(wire.ddata(at, "pt", said))
            clock.at = at + 1_000
            if not tell(Tick(at=at + 1_000)):
                continue
            while await desk.catch_up():
                pass
            now = await desk.cases.heard()  # a console sounds once for all that is new in it
            sounds += any(a not in heard and s not in heard for a, s in now.items())
            heard = {*now, *now.values()}
        board = await desk.board()
        return sounds, [(i.kind, i.closed_at) for i in board.incidents]

    sounds, incidents = run(act)

    water = [e for e in raised if e.kind not in ("silent", "sensor_fault")]
    assert len({p for e in water for p in e.points if p.endswith("pressure")}) == 18
    assert len([e for e in water if e.kind == "pressure_low"]) == 3 * 18
    still = [kind for kind, closed_at in incidents if closed_at is None]
    assert still == ["supply"], (sounds, incidents)
    assert 1 <= sounds <= 3, sounds
