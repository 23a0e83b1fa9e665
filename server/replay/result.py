"""What comes of a replay: its summary for machines and its lines for people."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from server.history.recording_toml import told_instant
from server.replay import versions
from server.replay.score import Group, Score, summary_of
from server.replay.session import Played, counts_of
from server.replay.trends import Trends
from server.replay.versions import Versions
from server.replay.what_if import WhatIf, json_of, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One replay, done. Of two versions, `played` and `score` are those of the clean period."""

    name: str
    source: str
    licence: str
    version: str
    inputs: str
    parameters: Mapping[str, str]
    played: Played
    trends: Trends | None
    score: Score | None
    what_if: WhatIf | None
    versions: Versions | None = None

    def summary(self) -> dict[str, Any]:
        """Return what `summary.json` says (docs/replay.md)."""
        return {
            "name": self.name,
            "version": self.version,
            "inputs": self.inputs,
            "parameters": dict(self.parameters),
            "from": told_instant(self.played.begin),
            "to": told_instant(self.played.end),
            "zones": sorted(self.played.registry.zones),
            "points": len(self.played.registry.points),
            "samples": self.played.samples,
            "said": counts_of(self.played.said),
            "score": None if self.score is None else summary_of(self.score),
            "what_if": None if self.what_if is None else json_of(self.what_if),
            "versions": None if self.versions is None else versions.json_of(self.versions),
        }

    def text(self) -> Iterator[str]:
        """Yield what a person at a terminal should see."""
        played = self.played
        yield (
            f"{self.name}: {played.samples} samples,"
            f" {told_instant(played.begin)} to {told_instant(played.end)}"
        )
        for event, kinds in counts_of(played.said).items():
            told = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
            yield f"  {event}: {told}"
        if not played.said:
            yield "  nothing was said"
        if self.score is not None:
            yield from _score_lines(self.score)
        if self.versions is not None:
            yield from versions.text_of(self.versions)
        if self.what_if is not None:
            yield "against today:" if self.versions is None else "against the trailing days:"
            yield from (f"  {line}" for line in text_of(self.what_if))


def _score_lines(score: Score) -> Iterator[str]:
    whole = score.groups[0]
    yield (
        f"leaks and bursts: {score.found} of {whole.truths} found, {score.late} late,"
        f" {score.missed} missed"
        + (f", {score.older} older than the recording" if score.older else "")
    )
    yield from (f"  {line}" for g in score.groups[1:] if (line := _group_line(g)))
    false = score.false
    if false.per_year is not None:
        yield (
            f"proposals to look for a leak: {score.proposals}, {false.count} false"
            f" ({score.false_auto.count} issued by themselves), {score.repeats} repeats;"
            f" {false.per_year:.2f} false per zone-year (95 %: {false.low:.2f} to {false.high:.2f})"
        )
    if whole.detect_h_median is not None:
        yield (
            f"time to detect: median {whole.detect_h_median:.1f} h,"
            f" nine in ten within {whole.detect_h_p90:.1f} h"
        )
    if whole.distance_m_median is not None:
        yield (
            f"distance: median {whole.distance_m_median:.0f} m,"
            f" nine in ten within {whole.distance_m_p90:.0f} m"
        )
    if score.lost_before_m3 is not None:
        yield (
            f"water lost: {score.lost_before_m3:.0f} m3 before and {score.lost_after_m3:.0f} m3"
            " after it was found or to its end"
        )


def _group_line(group: Group) -> str:
    if not group.truths:
        return ""
    hours = "" if group.detect_h_median is None else f", median {group.detect_h_median:.1f} h"
    return f"{group.name}: {group.found} of {group.truths}{hours}"
