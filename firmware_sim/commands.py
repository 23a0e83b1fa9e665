"""What people may ask of a running simulator, and what it answers."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from firmware_sim.core.events import Event, Kind, Layer
from firmware_sim.field import Field, told
from telemetry.errors import RefusedCommand

log = logging.getLogger("mainwatch.sim")

EXPECTED = (
    'expected {"do": {"kind": KIND, "target": NAME, "for_s": SECONDS, NUMBERS}}, {"undo": ID},'
    ' {"burst": {"pipe": NAME, "m3h": NUMBER}}, {"stop_burst": NAME} or {"status": {}}'
)


class Commands:
    """Carries out the commands of the control socket."""

    def __init__(self, field: Field, *, catch_up: Callable[[], None]) -> None:
        """Take the field, and what moves it to the present before anything is done to it."""
        self._field = field
        self._catch_up = catch_up

    def answer(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        """Carry out one command and return the reply. Raises `RefusedCommand`."""
        self._catch_up()
        match command:
            case {"do": {"kind": str(kind), **more}}:
                return self._do(kind, {str(k): v for k, v in more.items()})
            case {"undo": str(id_)}:
                event = self._field.undo(id_)
                log.info("%s is over", id_)
                return self._told(event)
            case {"burst": {"pipe": str(pipe), "m3h": float() | int() as m3h, **more}} if not more:
                return self._do("burst", {"target": pipe, "m3h": m3h})
            case {"stop_burst": str(pipe)}:
                event = self._field.undo(self._burst_at(pipe).id)
                log.info("%s is shut", pipe)
                return self._told(event) | {"at": self._field.plant.at}
            case {"status": dict()}:
                return self._status()
            case _:
                raise RefusedCommand(f"{EXPECTED}, was {str(dict(command))[:200]}")

    def _do(self, kind: str, more: Mapping[str, Any]) -> Mapping[str, Any]:
        numbers = {k: v for k, v in more.items() if k not in {"target", "for_s"}}
        target, for_s = more.get("target", ""), more.get("for_s")
        wrong = [k for k, v in numbers.items() if not _is_number(v)]
        if wrong or not isinstance(target, str) or not (for_s is None or _is_number(for_s)):
            raise RefusedCommand(f"{EXPECTED}, was {str(dict(more))[:200]}")
        event = self._field.do(kind, target=target, for_s=for_s, numbers=numbers)
        log.info("%s begins: %s", event.id, told(event))
        return self._told(event)

    def _burst_at(self, pipe: str) -> Event:
        bursts = {e.target: e for e in self._field.open if e.kind is Kind.BURST}
        if pipe not in bursts:
            known = ", ".join(bursts) or "none"
            raise RefusedCommand(f"expected a pipe with an open burst ({known}), was {pipe!r}")
        return bursts[pipe]

    def _told(self, event: Event) -> dict[str, Any]:
        """Return an event with its place."""
        if event.kind.layer is not Layer.WATER:
            return told(event)
        where = self._field.plant.where(event)
        place = {k: getattr(where, k) for k in ("zone", "pipe", "node", "x", "y")}
        return told(event) | {k: v for k, v in place.items() if v is not None}

    def _status(self) -> Mapping[str, Any]:
        field = self._field
        out = dict(field.plant.leaks())
        now = [
            self._told(e) | ({"now_m3h": round(out[e.id], 2)} if e.id in out else {})
            for e in field.open
        ]
        return {
            "at": field.plant.at,
            "level_m": round(field.plant.level_m, 3),
            "is_pumping": field.plant.is_pumping,
            "bursts": [e for e in now if e["kind"] == Kind.BURST],
            "open": now,
        }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
