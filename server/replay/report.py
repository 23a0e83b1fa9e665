"""The report of a replay: one HTML file that asks nobody for anything, in both languages.

Charts are drawn by the same library as the pages', put into the file; where it was not fetched when
Mainwatch was built, the report has everything else.
"""

import json
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

import server.web
from server.engine.registry import Registry
from server.history.recording_toml import told_instant
from server.replay.matching import Outcome
from server.replay.result import Result
from server.replay.session import counts_of, is_drawn
from server.replay.timeline import timeline
from server.web.because import reason
from server.web.screen import Screen, Viewer
from server.web.words import CATALOGUES, LANGUAGES
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS

ROWS_MAX = 500
"""Rows of one table; what is beyond is counted and is in `events.jsonl`."""

_FOLDER = Path(__file__).parent / "templates"
_VENDOR = Path(server.web.__file__).parent / "static" / "vendor"
_SHORT = {"zh-CN": "zh", "en": "en"}
_PRESSURE = {"zh-CN": "MPa", "en": "kPa"}


def page_of(result: Result) -> str:
    """Return the whole page."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    is_short = result.played.end - result.played.begin < 2 * DAY_MS
    said = _Tongues(result.played.registry, form="%Y-%m-%d %H:%M" + (":%S" if is_short else ""))
    environment.globals |= {
        "t": said.text,
        "kind": said.kind,
        "because": said.because,
        "zone_name": said.zone,
        "stamp": said.stamp,
        "lasting": _lasting,
        "number": _number,
        "group_name": said.group,
    }
    score = result.score
    zones = list(result.played.registry.zones)
    return environment.get_template("report.html").render(
        r=result,
        score=score,
        counts=counts_of(result.played.said),
        proposals=[s for s in result.played.said if s.event == "dispatch"][:ROWS_MAX],
        wrong=[] if score is None else [v for v in score.verdicts if v.outcome is Outcome.FALSE],
        line=None if score is None else timeline(score, zones, said.timezone),
        timezone=str(said.timezone),
        rows_max=ROWS_MAX,
        begin=told_instant(result.played.begin),
        data=_script_json(_data(result, said)),
        chart=_chart(),
        chart_css=Markup(_vendored("uPlot.min.css")),  # noqa: S704  our own file of a pinned hash
        script=Markup((_FOLDER / "report.js").read_text(encoding="utf-8")),  # noqa: S704  our own file
        style=Markup((_FOLDER / "report.css").read_text(encoding="utf-8")),  # noqa: S704  our own file
    )


class _Tongues:
    """Says everything in both languages at once; the page shows one of them."""

    def __init__(self, registry: Registry, *, form: str) -> None:
        self._form = form
        self._screens = {
            language: Screen(
                Viewer(language=language, pressure_unit=_PRESSURE[language], operator=""), registry
            )
            for language in LANGUAGES
        }
        self.timezone = ZoneInfo(self._screens["en"].timezone_name)

    def text(self, key: str, **facts: object) -> Markup:
        """Return the words of a key."""
        return _both({n: words[key].format(**facts) for n, words in _words().items()})

    def kind(self, kind: str) -> Markup:
        """Return what a kind is called."""
        key = f"kind.{kind}"
        return _both(
            {
                n: words[key] if key in words else CATALOGUES[n].entries.get(key, kind)
                for n, words in _words().items()
            }
        )

    def group(self, name: str) -> Markup:
        """Return what a group of truths is called; sizes read the same in every language."""
        key = f"group.{name}"
        pretty = name.replace("m3/h", "m³/h").replace(">=", "≥").replace(" to <", " –")
        pretty = pretty.replace("of inflow –", "–").replace(".0", "")
        share = {"en": pretty, "zh-CN": pretty.replace("of inflow", "（占入流量）")}
        return _both({n: words.get(key, share[n]) for n, words in _words().items()})

    def because(self, text: str) -> Markup:
        """Return one reason of the engine."""
        return _both({n: reason(screen, text) for n, screen in self._screens.items()})

    def zone(self, name: str) -> Markup:
        """Return a zone's name."""
        return _both({n: screen.zone(name) for n, screen in self._screens.items()})

    def stamp(self, at: int | None) -> str:
        """Return an instant where the water is."""
        if at is None:
            return "–"
        return datetime.fromtimestamp(at / 1000, self.timezone).strftime(self._form)

    def names(self, point: str) -> dict[str, str]:
        """Return a point's name in each language."""
        return {_SHORT[n]: screen.point(point) for n, screen in self._screens.items()}

    def zone_names(self, zone: str) -> dict[str, str]:
        """Return a zone's name in each language."""
        return {_SHORT[n]: screen.zone(zone) for n, screen in self._screens.items()}

    def units(self) -> dict[str, Any]:
        """Return how a quantity is printed in each language."""
        return {_SHORT[n]: screen.units() for n, screen in self._screens.items()}


def _both(texts: dict[str, str]) -> Markup:
    if len(set(texts.values())) == 1:
        return escape(next(iter(texts.values())))
    parts = (
        Markup('<span class="{}" lang="{}">{}</span>').format(_SHORT[n], n, text)
        for n, text in texts.items()
    )
    return Markup("").join(parts)


@cache
def _words() -> dict[str, dict[str, str]]:
    entries = json.loads((_FOLDER / "words.json").read_text(encoding="utf-8"))
    return {n: {key: texts[n] for key, texts in entries.items()} for n in LANGUAGES}


def _data(result: Result, said: _Tongues) -> dict[str, Any]:
    """Return what the scripts draw."""
    trends = result.trends
    registry = result.played.registry
    zones: list[dict[str, Any]] = []
    for zone in registry.zones.values() if trends is not None else ():
        assert trends is not None
        points = [
            {
                "id": p.id,
                "name": said.names(p.id),
                "quantity": p.quantity.value,
                "low": trends.low(p.id),
                "high": trends.high(p.id),
            }
            for p in registry.points.values()
            if p.zone == zone.id and is_drawn(p.quantity) and p.id in trends.points
        ]
        inflow = trends.net([(i.point, i.sign) for i in zone.inflow])
        zones.append({"id": zone.id, "name": said.zone_names(zone.id), "inflow": inflow}
                     | {"points": points})  # fmt: skip
    return {
        "begin": 0 if trends is None else trends.begin,
        "width": 0 if trends is None else trends.width_ms,
        "timezone": str(said.timezone),
        "zones": zones,
        "marks": _marks(result),
        "bars": [
            {"zone": s.truth.zone, "from": s.truth.begin, "to": s.truth.end or result.played.end,
             "id": s.truth.id, "outcome": s.outcome}
            for s in (() if result.score is None else result.score.truths)
        ],
        "units": said.units(),
        "words": {
            key: {_SHORT[n]: words[key] for n, words in _words().items()}
            for key in ("inflow", "all")
        },
    }  # fmt: skip


def _marks(result: Result) -> list[dict[str, Any]]:
    if result.score is not None:
        told = [(v.by, str(v.outcome)) for v in result.score.verdicts]
    else:
        told = [(s, "not_judged") for s in result.played.said if s.event == "dispatch"]
    return [{"zone": s.zone, "at": s.at, "id": s.id, "outcome": o} for s, o in told]


def _chart() -> Markup:
    """Return the chart library as a script that leaves `uPlot` to the page."""
    text = _vendored("uPlot.esm.js")
    cut, found, _ = text.rpartition("export {")
    if not found or "</script" in text:
        return Markup("")
    return Markup(cut)  # noqa: S704  our own file of a pinned hash


def _vendored(name: str) -> str:
    path = _VENDOR / name
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _script_json(body: dict[str, Any]) -> Markup:
    """Return JSON that may stand in a script element."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))  # noqa: S704  no tag can end it


def _lasting(ms: float | None) -> str:
    if ms is None:
        return "–"
    if ms < 2 * MINUTE_MS:
        return f"{ms / 1000:.0f} s"
    if ms < 2 * HOUR_MS:
        return f"{ms / MINUTE_MS:.0f} min"
    return f"{ms / HOUR_MS:.1f} h" if ms < 2 * DAY_MS else f"{ms / DAY_MS:.1f} d"


def _number(value: float | None, decimals: int = 0, unit: str = "") -> str:
    """Return a number with thin spaces between thousands."""
    if value is None:
        return "–"
    return f"{value:,.{decimals}f}".replace(",", "\u202f") + (f" {unit}" if unit else "")
