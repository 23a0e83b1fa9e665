"""What people say, in hindsight, that samples are worth: a command, and the marks that it makes.

The subject of `MARK_QUALITY` is a point, its note canonical JSON: `marks`, each with `begin` and
`end` in ms, `quality` (a number of `Quality`, null: as measured), `reason` and `author`. The last
that is said of an instant holds (`server/history/marks.py`).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from server.engine.commands import MARK_QUALITY
from server.engine.effects import CommandDone, Effect, QualityMarked
from server.engine.events import Commanded, Event
from server.engine.registry import Registry
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.sample import Quality

LAST_MS = 2**53
"""Beyond this no instant lies that every reader of JSON understands."""
MARKS_MAX = 500
"""How many marks one command makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What the samples of a point in [begin, end) are worth; None: as they were measured."""

    begin: Instant
    end: Instant
    quality: int | None
    reason: str
    author: str


def note_of(marks: Sequence[Statement]) -> str:
    """Return the note of the command that makes these marks, in their order."""
    body = {"marks": [asdict(m) for m in marks]}
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def read(note: str) -> list[Statement]:
    """Return the marks that `note_of` wrote. Raises `ValueError` saying what is wrong."""
    try:
        body: Any = json.loads(note)
        found = [Statement(**fields) for fields in body["marks"]]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"expected JSON with marks, was {note[:40]!r}") from None
    if not 0 < len(found) <= MARKS_MAX:
        raise ValueError(f"expected 1 to {MARKS_MAX} marks, were {len(found)}")
    for mark in found:
        _check(mark)
    return found


def _check(mark: Statement) -> None:
    begin, end = mark.begin, mark.end
    if type(begin) is not int or type(end) is not int or not 0 <= begin < end <= LAST_MS:
        raise ValueError(f"expected an end after the beginning, in ms, was {begin!r}, {end!r}")
    if mark.quality is not None and mark.quality not in list(Quality):
        raise ValueError(f"expected a quality or null, was {mark.quality!r}")
    if not all(isinstance(text, str) for text in (mark.reason, mark.author)):
        raise ValueError("expected texts as reason and author of a mark")


def marked(event: Event, registry: Registry) -> list[Effect]:
    """Return what follows from a person's judgement on samples; nothing from any other event."""
    if not isinstance(event, Commanded) or event.verb != MARK_QUALITY:
        return []
    try:
        statements = read(event.note)
    except ValueError as e:
        return [CommandDone(at=event.at, key=event.key, refused=str(e))]
    if PointId(event.subject) not in registry.points:
        refused = f"there is no accepted point {event.subject}"
        return [CommandDone(at=event.at, key=event.key, refused=refused)]
    marks = [
        QualityMarked(
            at=event.at,
            point=event.subject,
            begin=s.begin,
            end=s.end,
            quality=s.quality,
            reason=s.reason,
            author=s.author,
            because=s.reason,
        )
        for s in statements
    ]
    return [*marks, CommandDone(at=event.at, key=event.key)]
