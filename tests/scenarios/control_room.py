"""A control room that hears a recording as its gateway would have sent it, and what it says."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from mainwatch.load import load, seeded_registry
from server.config import ServerConfig
from server.engine.effects import AlarmRaised, IncidentOpened, IncidentUpdated
from server.engine.engine import Engine
from server.engine.events import Imported, Linked, RegistryChanged, Started, Tick
from server.history.labels import operations
from server.history.recording import days
from server.replay.runner import told_of
from tests.unit.engine.wire import Wire, reading


@dataclass(frozen=True, kw_only=True)
class Said:
    """An alarm: what, where and when, and by which operation it is explained."""

    at: int
    kind: str
    zone: str
    alarm: str
    explained_by: str = ""
    incident: str = ""


def registry(server_toml: Path, *, period_ms: int):
    """Return the registry of a server's file, its points read at the recording's cadence."""
    found = seeded_registry(load(server_toml, ServerConfig))
    points = {k: replace(p, period_ms=max(p.period_ms, period_ms)) for k, p in found.points.items()}
    return replace(found, points=points)


def rows_of(folder: Path):
    """Yield (arrived_at, at, [(point, value, reason)]) in the order of arrival."""
    late = []
    for path in sorted((folder / "samples").glob("*.parquet")):
        table = pq.read_table(path)
        known = table.column_names
        instants = _ms(table["at"])
        reasons = table["reason"].to_pylist() if "reason" in known else [""] * len(instants)
        arrived = _ms(table["arrived_at"]) if "arrived_at" in known else instants
        columns = [table[k].to_pylist() for k in ("point", "value")]
        scans = {}
        for at, point, value, reason, came in zip(
            instants, *columns, reasons, arrived, strict=True
        ):
            scans.setdefault((came, at), []).append((point, value, reason))
        late += [(came, at, scan) for (came, at), scan in scans.items()]
    return sorted(late, key=lambda row: row[:2])


def _ms(stamps) -> list[int]:
    return stamps.to_numpy().astype("datetime64[ms]").astype(np.int64).tolist()


class Room:
    """An engine that hears events in runs, and what it says."""

    def __init__(self):
        self.engine, self.said, self.incidents, self.waiting = Engine("mainwatch"), [], {}, []

    def apply(self, event):
        self.waiting.append(event)
        if len(self.waiting) == 500:
            self.hear()

    def hear(self):
        effects = [e for told in self.engine.run(self.waiting) for e in told]
        self.waiting.clear()
        for e in effects:
            if isinstance(e, AlarmRaised):
                said = Said(
                    at=e.at,
                    kind=e.kind.value,
                    zone=e.zone,
                    alarm=e.alarm,
                    explained_by=e.explained_by,
                )
                self.said.append(said)
            elif isinstance(e, IncidentOpened | IncidentUpdated):
                self.incidents.update(dict.fromkeys(e.alarms, e.incident))


def listen(folder: Path, server_toml: Path, *, past: Path | None, cadence_s: int) -> list[Said]:
    """Return every alarm of a control room that was taught by `past` and then heard `folder`."""
    rows = rows_of(folder)
    start = rows[0][0] - 1000  # no longer, as points unheard for a minute are silent
    known = registry(server_toml, period_ms=1000 * cadence_s)
    room = Room()
    apply = room.apply
    apply(RegistryChanged(at=start, registry=known))
    for day in days(past) if past is not None else ():
        apply(Imported(at=start, source="past", rows=day))
    wire = Wire()
    points = [point for point, _, _ in rows[0][2] if point in known.points]
    names = {f"m{n}": point for n, point in enumerate(points)}
    name_of = {point: name for name, point in names.items()}
    apply(Started(at=start, version="0", settings={"host_id": "mainwatch"}))
    apply(Linked(at=start, up=True))
    apply(wire.nbirth(start))
    apply(wire.dbirth(start, "field", names))
    # No clock of a real control room stands still between two scans.
    ticks, now = 1000 * max(1, cadence_s // 10), start
    told = told_of(operations(folder))
    for came, at, scan in rows:
        while now + ticks <= came:
            now += ticks
            apply(Tick(at=now))
        while told and told[0].at <= came:
            apply(replace(told.pop(0), at=came))
        metrics = [_metric(name_of[p], at, v, r, came) for p, v, r in scan if p in name_of]
        apply(wire.ddata(came, "field", metrics))
    for _ in range(5):
        now += ticks
        apply(Tick(at=now))
    room.hear()
    return [replace(s, incident=room.incidents[s.alarm]) for s in room.said]


def _metric(name, at, value, reason, came):
    is_late = came > at
    if value is None:
        return reading(name, at, None, historical=is_late, quality=0, reason=reason or "timeout")
    return reading(name, at, value, historical=is_late)
