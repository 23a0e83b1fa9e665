"""Where bars and marks lie on the timeline of a report: numbers for the drawing, no words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from server.replay.matching import Verdict
from server.replay.score import Score, TruthScore

WIDTH = 1200.0
LEFT = 96.0
LANE = 15.0
MARKS = 22.0
PADDING = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One truth: a bar whose end is that of the truth or of the recording."""

    x: float
    y: float
    width: float
    shown: TruthScore


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One proposal."""

    x: float
    y: float
    shown: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One zone: its marks above, its truths below them in lanes."""

    zone: str
    y: float
    height: float
    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A date on the axis."""

    x: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The whole drawing."""

    height: float
    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]


def timeline(score: Score, zones: Sequence[str], zone: tzinfo) -> Timeline:
    """Lay out the time of a score, one row for each zone."""
    span = max(1, score.end - score.begin)

    def place(at: int) -> float:
        inside = min(max(at, score.begin), score.end)
        return LEFT + (WIDTH - LEFT - 12) * (inside - score.begin) / span

    rows = []
    y = 28.0
    for name in zones:
        truths = sorted(
            (s for s in score.truths if s.truth.zone == name), key=lambda s: s.truth.begin
        )
        lanes: list[float] = []
        bars = []
        for s in truths:
            x = place(s.truth.begin)
            over = place(score.end if s.truth.end is None else s.truth.end)
            width = max(3.0, over - x)
            lane = next((n for n, end in enumerate(lanes) if end <= x), len(lanes))
            lanes[lane : lane + 1] = [x + width + 3]
            top = y + PADDING + MARKS + lane * LANE
            bars.append(Bar(x=x, y=top, width=width, shown=s))
        height = 2 * PADDING + MARKS + LANE * max(1, len(lanes))
        marks = tuple(
            Mark(x=place(v.by.at), y=y + PADDING + MARKS / 2, shown=v)
            for v in score.verdicts
            if v.by.zone == name
        )
        rows.append(Row(zone=name, y=y, height=height, bars=tuple(bars), marks=marks))
        y += height
    ticks = _ticks(score.begin, score.end, zone)
    return Timeline(
        height=y + 6,
        rows=tuple(rows),
        ticks=tuple(Tick(x=place(at), label=label) for at, label in ticks),
    )


def _ticks(begin: int, end: int, zone: tzinfo) -> list[tuple[int, str]]:
    """Return dates at the beginnings of months, or evenly spread times where there are none."""
    first, last = (datetime.fromtimestamp(at / 1000, zone) for at in (begin, end))
    months = []
    year, month = first.year, first.month
    while (year, month) <= (last.year, last.month):
        at = round(datetime(year, month, 1, tzinfo=zone).timestamp() * 1000)
        if begin <= at <= end:
            months.append((at, f"{year}-{month:02}"))
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    if len(months) >= 3:
        return months[:: -(-len(months) // 14)]
    step = (end - begin) / 6
    form = "%m-%d %H:%M" if step < 86_400_000 else "%m-%d"
    spread = [round(begin + n * step) for n in range(6)]
    return [(at, datetime.fromtimestamp(at / 1000, zone).strftime(form)) for at in spread]
