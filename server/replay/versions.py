"""Two versions of what was learnt, over the same recording: what each said, and how right it was.

Pure. One learns from the trailing days, night by night, as it is in service; the other is told at
the end of a clean period to learn from that, as an engineer tells it on the page of learning.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from server.engine.commands import TRAIN
from server.engine.effects import ModelApplied
from server.engine.events import Commanded
from server.engine.registry import Registry
from server.engine.training import SENTENCES, Period, fault_of, note_of
from server.history.recording_toml import told_instant
from server.replay.score import Score
from server.replay.session import Played
from telemetry.errors import ConfigError

OPTION = "--compare-clean"
TRAILING, CLEAN = "trailing", "clean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One of the two: `name` is trailing or clean."""

    name: str
    played: Played
    score: Score | None

    @property
    def models(self) -> tuple[ModelApplied, ...]:
        """Return the models that were ready to be judged by."""
        return tuple(m for m in self.played.models if m.state == "ready")


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Both, and the clean period."""

    period: Period
    trailing: Version
    clean: Version

    @property
    def both(self) -> tuple[Version, Version]:
        """Return both in the order in which they are told."""
        return self.trailing, self.clean

    @property
    def chosen(self) -> int:
        """Return how many models of the second were learnt from the clean period."""
        return sum(m.is_chosen for m in self.clean.models)

    @property
    def why_not(self) -> tuple[str, ...]:
        """Return why models of the second were learnt from the trailing days after all."""
        return tuple(dict.fromkeys(m.because for m in self.clean.models if m.because))

    def rows(self) -> Iterator[tuple[str, float | None, float | None]]:
        """Yield each figure by its key, of the trailing days and of the clean period."""
        for key in ("alarm", "incident", "dispatch"):
            yield key, *(sum(s.event == key for s in _said(v)) for v in self.both)
        one, other = self.trailing.score, self.clean.score
        if one is None or other is None:
            return
        for key in ("found", "late", "missed", "repeats"):
            yield key, getattr(one, key), getattr(other, key)
        yield "false", one.false.count, other.false.count
        yield "false_auto", one.false_auto.count, other.false_auto.count
        yield "detect_h", one.groups[0].detect_h_median, other.groups[0].detect_h_median


def refuse_period(period: Period, *, begin: int, end: int) -> None:
    """Raise `ConfigError` for a clean period that cannot be compared in what is played."""
    told = f"{told_instant(period[0])} to {told_instant(period[1])}"
    if fault := fault_of(period, now=period[1]):
        raise ConfigError(f"{OPTION}: {SENTENCES[fault]}, was {told}")
    if period[0] < begin or period[1] >= end:
        raise ConfigError(
            f"{OPTION}: expected a period within {told_instant(begin)} to {told_instant(end)} with"
            f" something to judge after it, was {told}"
        )


def commands_of(period: Period, registry: Registry) -> list[Commanded]:
    """Return the commands with which an engineer chooses a period for every zone."""
    return [
        Commanded(
            at=period[1],
            key=f"{OPTION} {zone}",
            actor="replay",
            verb=TRAIN,
            subject=zone,
            note=note_of(period),
        )
        for zone in sorted(registry.zones)
    ]


def text_of(found: Versions) -> Iterator[str]:
    """Yield the lines of both versions side by side."""
    begin, end = map(told_instant, found.period)
    yield f"learnt from the trailing days (trailing) and from {begin} to {end} (clean):"
    yield f"  {'':<22}{TRAILING:>10}{CLEAN:>10}"
    for key, one, other in found.rows():
        yield f"  {_WORDS[key]:<22}{_number(one):>10}{_number(other):>10}"
    yield f"  {found.chosen} of {len(found.clean.models)} models of the second are of that period"
    yield from (f"  {because}" for because in found.why_not)
    for version in found.both:
        for zone, model in _last(version.models).items():
            yield f"  {version.name} {zone}: last model {model.hash[:16]}"


def json_of(found: Versions) -> dict[str, Any]:
    """Return both versions as plain values."""
    rows = list(found.rows())
    return {
        "period": [told_instant(at) for at in found.period],
        "chosen": found.chosen,
        "why_not": list(found.why_not),
        **{
            version.name: {key: row[n] for key, *row in rows}
            | {
                "models": len(version.models),
                "last_models": {z: m.hash for z, m in _last(version.models).items()},
            }
            for n, version in enumerate(found.both)
        },
    }


_WORDS = {
    "alarm": "alarms",
    "incident": "incidents",
    "dispatch": "proposals",
    "found": "leaks found",
    "late": "found late",
    "missed": "missed",
    "repeats": "repeats",
    "false": "false",
    "false_auto": "false, by themselves",
    "detect_h": "median h to detect",
}


def _said(version: Version) -> Sequence[Any]:
    """Return what a version said; an incident counts once, by its opening."""
    found, seen = [], set()
    for line in version.played.said:
        if line.event != "incident" or line.id not in seen:
            found.append(line)
        if line.event == "incident":
            seen.add(line.id)
    return found


def _last(models: Sequence[ModelApplied]) -> dict[str, ModelApplied]:
    """Return the newest model of each zone."""
    return dict(sorted({m.zone: m for m in models}.items()))


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
