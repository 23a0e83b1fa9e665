"""Truths and proposals for the tests of scoring, with everything beside the point filled in."""

from server.history.labels import Truth, TruthKind
from server.replay.said import Said
from telemetry.instant import DAY_MS, HOUR_MS

BEGIN = 1_700_000_000_000
END = BEGIN + 100 * DAY_MS
ZONES = ("north", "east")


def truth(name="t1", *, day=10.0, days=80.0, kind="leak", zone="north", **more):
    begin = BEGIN + round(day * DAY_MS)
    facts = {"type": "abrupt" if kind == "leak" else None, "x": 0.0, "y": 0.0} | more
    return Truth(
        id=name,
        kind=TruthKind(kind),
        begin=begin,
        end=None if days is None else begin + round(days * DAY_MS),
        zone=zone,
        **facts,
    )


def said(name="INC-000001", *, day=10.5, event="dispatch", kind="leak", zone="north", **more):
    at = BEGIN + round(day * DAY_MS)
    facts = {"x": 0.0, "y": 0.0, "mode": "confirm", "points": (f"{zone}-1/pressure",)}
    facts |= {"severity": 2, "because": ("it leaks",)} | more
    return Said(
        at=at,
        event=event,
        id=name,
        kind=kind,
        zone=zone,
        onset=at - HOUR_MS,
        **facts,
    )
