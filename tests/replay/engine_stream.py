"""A stream of events with everything in it, run through the engine; prints the digest."""

import hashlib
import pickle
import random
import sys

from server.engine.effects import is_recorded, to_record
from server.engine.engine import Engine
from server.engine.events import (
    Arrived,
    Commanded,
    Imported,
    Linked,
    RegistryChanged,
    Started,
    Tick,
    from_record,
)
from server.engine.events import to_record as event_record
from tests.scenarios.town_stream import INFLOW, START, Burst, Town, pressure, registry
from tests.unit.engine.wire import Wire, reading

SECONDS = 420


def events():
    """Return the stream: past, births, a burst, commands, noise, a death, silence."""
    town = Town(4)
    town.bursts = [Burst(at=150, m3h=40.0, falls=(9.0, 6.0, 3.0, 2.0, 1.0, 1.0), until=250)]
    past = Town(5)
    rows = []
    for n in range(48):
        pressures, flow = past.at(300 * n)
        at = START - 48 * 300_000 + 300_000 * n
        rows += [(pressure(i), at, p, 192) for i, p in enumerate(pressures)]
        rows.append((INFLOW, at, flow, 192))
    chance = random.Random(6)
    wire = Wire()
    names = {f"p{i}": pressure(i) for i in range(6)} | {"flow": INFLOW}
    found = [
        RegistryChanged(at=START, registry=registry(low=368.0)),
        Imported(at=START, source="past", rows=tuple(rows)),
        Started(at=START, version="0.1.0", settings={"host_id": "mainwatch"}),
        Linked(at=START, up=True),
        wire.nbirth(START),
        wire.dbirth(START, "d", names),
    ]
    held = []
    for s in range(SECONDS):
        at = START + 1000 * s
        pressures, flow = town.at(s)
        if s < 330:
            scan = [reading(f"p{i}", at, p) for i, p in enumerate(pressures)]
            message = wire.ddata(at, "d", [*scan, reading("flow", at, flow)])
            (held if chance.random() < 0.05 else found).append(message)
            if chance.random() < 0.05:
                found.append(message)
        if held and chance.random() < 0.3:
            late = held.pop(0)
            found.append(Arrived(at=at + 300, topic=late.topic, payload=late.payload))
        if s % 60 == 7:
            found.append(Arrived(at=at, topic=f"spBv1.0/demo/DDATA/gw-0{s % 3}/x", payload=b"\xff"))
        if s == 300:
            for n, subject in enumerate(("INC-000001", "INC-000002", "INC-000009")):
                found.append(
                    Commanded(
                        at=at,
                        key=f"k{n}",
                        actor="wang",
                        verb="acknowledge_incident",
                        subject=subject,
                        note="",
                    )
                )
        if s == 330:
            found.append(wire.ndeath(at))
        found.append(Tick(at=at + 999))
    return found


def run(*, restarts=()):
    """Return every effect as bytes; after the events in `restarts` the engine is unpickled."""
    engine = Engine("mainwatch")
    lines = []
    for seq, event in enumerate(events()):
        kind, body = event_record(event)
        for n, effect in enumerate(engine.apply(from_record(kind, event.at, body))):
            if is_recorded(effect):
                lines.append(" ".join([str(seq), str(n), *to_record(effect)]))
            else:
                lines.append(f"{seq} {n} {effect!r}")
        if seq in restarts:
            engine = pickle.loads(pickle.dumps(engine))
    return "\n".join(lines).encode()


if __name__ == "__main__":
    sys.stdout.write(hashlib.sha256(run()).hexdigest())
