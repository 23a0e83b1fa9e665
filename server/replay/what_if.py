"""What another registry or other limits would have changed: two replays side by side.

Pure. Ids differ between two runs, so lines belong together by what they are about: the same event,
kind of cause, zone and points, nearest in time and no more than a day apart.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from server.history.recording_toml import told_instant
from server.replay.said import Said
from telemetry.instant import DAY_MS, MINUTE_MS

TOGETHER_MS = DAY_MS
EVENTS = ("finding", "alarm", "incident", "dispatch")


class Change(StrEnum):
    """How the second run differs."""

    GONE = "gone"
    NEW = "new"
    EARLIER = "earlier"
    LATER = "later"
    SEVERITY = "severity"
    MODE = "mode"
    KIND = "kind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One line that is not as it was; `before` or `after` is None where there was none."""

    changes: tuple[Change, ...]
    before: Said | None
    after: Said | None

    @property
    def shown(self) -> Said:
        """Return the line as it is, or as it was."""
        found = self.after or self.before
        assert found is not None
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """Every difference in order of time, and how many lines are the same."""

    same: int
    differences: tuple[Difference, ...]


def compare(before: Iterable[Said], after: Iterable[Said]) -> WhatIf:
    """Return what is gone, new, earlier, later or of another severity, mode or kind.

    An incident counts once, by its opening.
    """
    old, new = _counted(before), _counted(after)
    differences: list[Difference] = []
    same = 0
    for one, other in _pairs(old, new):
        changes = _changes(one, other)
        if changes:
            differences.append(Difference(changes=changes, before=one, after=other))
        else:
            same += 1
    differences.sort(key=lambda d: (d.shown.at, d.shown.event, d.shown.id))
    return WhatIf(same=same, differences=tuple(differences))


def text_of(found: WhatIf) -> Iterator[str]:
    """Yield one line for each difference."""
    for d in found.differences:
        said = d.shown
        changes = ", ".join(_told(d, c) for c in d.changes)
        yield f"{told_instant(said.at)} {said.zone} {said.event} {said.kind} {said.id}: {changes}"
    yield f"{len(found.differences)} differences, {found.same} the same"


def json_of(found: WhatIf) -> dict[str, Any]:
    """Return the differences as plain values."""
    return {
        "same": found.same,
        "counts": {
            f"{event}_{change}": count
            for event in EVENTS
            for change in Change
            if (count := sum(d.shown.event == event and change in d.changes
                             for d in found.differences))
        },
        "differences": [
            {
                "event": d.shown.event,
                "kind": d.shown.kind,
                "zone": d.shown.zone,
                "changes": [str(c) for c in d.changes],
                "before": None if d.before is None else _brief(d.before),
                "after": None if d.after is None else _brief(d.after),
            }
            for d in found.differences
        ],
    }  # fmt: skip


def _counted(said: Iterable[Said]) -> list[Said]:
    seen: set[str] = set()
    found = []
    for line in said:
        if line.event not in EVENTS or (line.event == "incident" and line.id in seen):
            continue
        if line.event == "incident":
            seen.add(line.id)
        found.append(line)
    return found


def _pairs(old: Sequence[Said], new: Sequence[Said]) -> Iterator[tuple[Said | None, Said | None]]:
    """Yield what belongs together: nearest first, equal kinds and points before others."""
    by_topic: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
    for side, lines in enumerate((old, new)):
        for n, line in enumerate(lines):
            by_topic.setdefault((line.event, line.zone), ([], []))[side].append(n)
    for olds, news in by_topic.values():
        choices = sorted(
            (_strangeness(old[i], new[k]), abs(old[i].at - new[k].at), i, k)
            for i in olds
            for k in news
            if abs(old[i].at - new[k].at) <= TOGETHER_MS and _is_alike(old[i], new[k])
        )
        gone, fresh = dict.fromkeys(olds), dict.fromkeys(news)
        for _, _, i, k in choices:
            if i in gone and k in fresh:
                del gone[i], fresh[k]
                yield old[i], new[k]
        yield from ((old[i], None) for i in gone)
        yield from ((None, new[k]) for k in fresh)


def _is_alike(one: Said, other: Said) -> bool:
    return one.kind == other.kind or bool(set(one.points) & set(other.points))


def _strangeness(one: Said, other: Said) -> int:
    return (one.kind != other.kind) + (set(one.points) != set(other.points))


def _changes(before: Said | None, after: Said | None) -> tuple[Change, ...]:
    if before is None:
        return (Change.NEW,)
    if after is None:
        return (Change.GONE,)
    checks = (
        (Change.EARLIER, after.at < before.at),
        (Change.LATER, after.at > before.at),
        (Change.KIND, after.kind != before.kind),
        (Change.SEVERITY, after.severity != before.severity),
        (Change.MODE, after.mode != before.mode),
    )
    return tuple(change for change, is_so in checks if is_so)


def _told(difference: Difference, change: Change) -> str:
    before, after = difference.before, difference.after
    if before is None or after is None:
        return str(change)
    match change:
        case Change.EARLIER | Change.LATER:
            return f"{abs(after.at - before.at) / MINUTE_MS:.1f} min {change}"
        case _:
            return f"{change} {getattr(before, change)} → {getattr(after, change)}"


def _brief(said: Said) -> dict[str, Any]:
    return {
        "at": told_instant(said.at),
        "id": said.id,
        "kind": said.kind,
        "severity": said.severity,
        "mode": said.mode,
        "because": list(said.because),
    }
