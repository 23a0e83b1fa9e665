"""Draws the figures of `benchmarks.detection`: one HTML file that asks nobody for anything.

Recall against false alarms per zone-year over the thresholds, and hours to detection by size.
"""

import json
from collections.abc import Iterator, Sequence
from html import escape
from math import log10
from pathlib import Path
from typing import Any

from server.replay.keep import write_whole

WIDTH, HEIGHT, LEFT, TOP = 620, 340, 64, 16
INNER_W, INNER_H = WIDTH - LEFT - 16, HEIGHT - TOP - 48
COLOURS = ("#0b6e99", "#b3541e", "#4a7c2c", "#7a3e9d", "#a3272f", "#555555")
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #ccc;padding:.2rem .6rem;"
    "text-align:right}th:first-child,td:first-child{text-align:left}svg text{font-size:12px}"
)

Dot = tuple[float, float, str]
"""A place on a drawing and what stands beside it."""


def write(folder: Path, figures: dict[str, Any]) -> None:
    """Write figures.json and report.html into a folder. Raises `StorageError`."""
    write_whole(folder / "figures.json", [json.dumps(figures, indent=1)])
    write_whole(folder / "report.html", page(figures))


def page(figures: dict[str, Any]) -> Iterator[str]:
    """Yield the parts of the page."""
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>Detection</title><style>{STYLE}"
    yield "</style><h1>Detection</h1>"
    how = ", ".join(f"{k} {figures[k]}" for k in ("seed", "late", "missing", "repeated"))
    yield f"<p>{escape(how)}</p>"
    for recording in figures["recordings"]:
        yield f"<h2>{escape(recording['recording'])}</h2>"
        yield _table(recording["runs"])
        curves = _recall_curves(recording["runs"])
        yield _drawing(
            "found of all", "false or unlabelled alarms per zone-year", curves, is_joined=True
        )
        if times := _times(recording["runs"]):
            yield _drawing("median hours to detection", "size, % of the inflow", times, is_log=True)


def _table(runs: Sequence[dict[str, Any]]) -> str:
    names = (
        "found", "events", "late", "repeats", "false_dispatches", "zone_years",
        "false_per_zone_year_95", "auto_false_per_zone_year", "median_hours_abrupt",
        "worst_hours_abrupt", "median_distance_m", "within_300m_ratio",
    )  # fmt: skip
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in ("settings", *names))
    rows = []
    for run in runs:
        cells = [_settings(run), *(str(run[name]) for name in names)]
        rows.append("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>")
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _recall_curves(runs: Sequence[dict[str, Any]]) -> dict[str, list[Dot]]:
    """Return recall over false alarms: of labelled events, and of injected ones by size."""
    curves: dict[str, list[Dot]] = {}
    for run in runs:
        beside = _settings(run)
        if run["events"]:
            at = run["false_per_zone_year"] or 0.0
            curves.setdefault("labelled", []).append((at, run["found"] / run["events"], beside))
        at = run["alarms_per_zone_year"]["loss"]["per_zone_year"] or 0.0
        for size in run.get("injected", ()):
            name = f"injected {size['share']:.0%}"
            curves.setdefault(name, []).append((at, size["found_ratio"], beside))
    return {name: sorted(dots) for name, dots in curves.items()}


def _times(runs: Sequence[dict[str, Any]]) -> dict[str, list[Dot]]:
    """Return the median hours by size, a series for each setting; only what was found."""
    series: dict[str, list[Dot]] = {}
    for run in runs:
        dots = [
            (100 * size["share"], size["median_h"], f"{size['found']} of {size['injected']}")
            for size in run.get("injected", ())
            if size["median_h"] is not None
        ]
        if dots:
            series[_settings(run)] = dots
    return series


def _settings(run: dict[str, Any]) -> str:
    named = (f"{k.rpartition('.')[2]} {v:g}" for k, v in run["settings"].items())
    return ", ".join(named) or "as released"


def _drawing(
    up: str,
    along: str,
    series: dict[str, list[Dot]],
    *,
    is_joined: bool = False,
    is_log: bool = False,
) -> str:
    """Return an SVG of dots; the axis upwards ends at 1 unless it is one of logarithms."""
    dots = [dot for all_of_it in series.values() for dot in all_of_it]
    if not dots:
        return "<p>Nothing to draw: no events, or none found.</p>"
    right = max(max(x for x, _, _ in dots) * 1.1, 0.1)
    roof = max(1.0, max(log10(max(y, 0.1)) for _, y, _ in dots) + 0.2) if is_log else 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        level = (log10(max(y, 0.1)) + 1) / (roof + 1) if is_log else y / roof
        return LEFT + INNER_W * x / right, TOP + INNER_H * (1 - level)

    marks = (0.1, 1.0, 10.0, 100.0, 1000.0) if is_log else (0.0, 0.25, 0.5, 0.75, 1.0)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img">']
    for mark in marks:
        if not is_log or log10(mark) <= roof:
            _, y = place(0, mark)
            parts.append(
                f'<path d="M{LEFT} {y:.1f}h{INNER_W}" stroke="#ddd"/>'
                f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{mark:g}</text>'
            )
    for n in range(5):
        x, _ = place(right * n / 4, 1.0)
        parts.append(
            f'<text x="{x:.1f}" y="{TOP + INNER_H + 16}" text-anchor="middle">'
            f"{right * n / 4:.2g}</text>"
        )
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 6}">{escape(along)}; upwards: {escape(up)}</text>')
    for n, (name, members) in enumerate(series.items()):
        colour = COLOURS[n % len(COLOURS)]
        placed = [place(x, y) for x, y, _ in members]
        if is_joined:
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}"/>')
        for (x, y), (_, _, beside) in zip(placed, members, strict=True):
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}">'
                f"<title>{escape(f'{name}: {beside}')}</title></circle>"
            )
        parts.append(
            f'<text x="{WIDTH - 20}" y="{TOP + 14 + 15 * n}" text-anchor="end" fill="{colour}">'
            f"{escape(name)}</text>"
        )
    return "".join([*parts, "</svg>"])
