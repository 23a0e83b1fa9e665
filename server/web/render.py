"""The board as HTML: the page whole, or its sections one by one, in the viewer's language."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from server.engine.registry import Point
from server.history.reader import LastValue
from server.servicecore.board import Board
from server.servicecore.rules import workorder
from server.servicecore.rules.workorder import NEEDS_TEXT, State
from server.servicecore.standing import Standing
from server.servicecore.store.tables import Alarm
from server.web.because import reason, reasons
from server.web.feed import Present
from server.web.screen import PRESSURE_UNITS, Screen, Viewer
from server.web.words import LANGUAGES
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.sample import Quality

HERE = Path(__file__).parent
STATIC = HERE / "static"
TREND_LIBRARY = STATIC / "vendor" / "uPlot.esm.js"

SECTIONS = ("alarms", "incidents", "tickets", "points", "gateways")
"""The parts of the page that the live stream replaces, each with its template."""

SEVERITY_SHAPES = {1: "▲", 2: "◆", 3: "■", 4: "●"}
_Look = tuple[int, dict[str, Standing], bool]
"""What the sections are made of: contents by their revision, and what time alone changes."""
_NAMES = {"zh-CN": "中文", "en": "English"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PointRow:
    """A point with what it says now."""

    id: str
    name: str
    zone: str
    quantity: str
    status: str
    gateway: str
    last: LastValue | None
    change: float | None


class Renderer:
    """Fills the templates; remembers the newest sections for each kind of viewer."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._remembered: dict[tuple[str, str], tuple[_Look | None, dict[str, str]]] = {}

    def page(
        self, viewer: Viewer, board: Board, present: Present, *, now: Instant, **more: Any
    ) -> str:
        """Return the whole page."""
        facts = _facts(viewer, board, present)
        return self._templates.get_template("page.html").render(
            **facts,
            now=now,
            newest=present.newest,
            languages=_NAMES,
            pressure_units=PRESSURE_UNITS,
            has_trend=TREND_LIBRARY.exists(),
            sections=SECTIONS,
            **more,
        )

    def alone(self, template: str, viewer: Viewer, **more: Any) -> str:
        """Return a plain page that needs nothing but what it is given."""
        facts = {
            "message": "",
            "login": "",
            "here": "/",
            "signs_in": viewer.actor is not None,
            "say": viewer.words.say,
            "viewer": viewer,
            "shapes": SEVERITY_SHAPES,
        }
        return self._templates.get_template(template).render(
            **{**facts, "languages": _NAMES, "language_codes": LANGUAGES, **more}
        )

    def sections(self, viewer: Viewer, board: Board, present: Present) -> dict[str, str]:
        """Return the HTML of each section by its name."""
        key = (viewer.language, viewer.pressure_unit)
        look: _Look = (board.revision, board.standing, board.is_flood)
        remembered, sections = self._remembered.get(key, (None, {}))
        if remembered != look:
            facts = _facts(viewer, board, present)
            sections = {
                name: self._templates.get_template(f"{name}.html").render(**facts)
                for name in SECTIONS
            }
            self._remembered[key] = (look, sections)
        return sections


_RANKS = {q: n for n, q in enumerate(("pressure", "level", "temperature", "flow", "volume"), 1)}
"""In which order a dispatcher reads a zone: its inflow, its pressures, its customers."""


def point_rows(screen: Screen, board: Board, present: Present) -> list[PointRow]:
    """Return every point that the registry or a gateway knows, the telling ones of a zone first."""
    seen = {p.id: p for p in board.seen_points}
    known = board.registry.points
    rows = []
    for name in dict.fromkeys([*map(str, known), *seen]):
        accepted: Point | None = known.get(PointId(name))
        status = "accepted" if accepted else seen[name].status
        if name in seen and seen[name].status == "contested":
            status = "contested"
        rows.append(
            PointRow(
                id=name,
                name=screen.point(name),
                zone=accepted.zone if accepted else seen[name].zone,
                quantity=accepted.quantity if accepted else seen[name].quantity,
                status=status,
                gateway=seen[name].gateway if name in seen else "",
                last=present.values.get(name),
                change=present.changes.get(name),
            )
        )
    inflows = {i.point for z in board.registry.zones.values() for i in z.inflow}
    return sorted(
        rows,
        key=lambda row: (row.zone, row.id not in inflows, _RANKS.get(row.quantity, 0), row.id),
    )


def is_unseen(alarm: Alarm) -> bool:
    """Say whether nobody has acknowledged an alarm, nor asked to."""
    return alarm.acknowledged_at is None and not alarm.asked_by


def _cards(board: Board, waiting: set[str]) -> list[tuple[Alarm, list[Alarm]]]:
    """Return the cards of the list: an alarm, and those that stand behind it.

    In a flood the unseen alarms of one incident are one card, its gravest in front.
    """
    incidents = {alarm: i.id for i in board.incidents if i.closed_at is None for alarm in i.alarms}
    cards: dict[str, tuple[Alarm, list[Alarm]]] = {}
    for alarm in board.alarms:
        is_gathered = board.is_flood and alarm.id in waiting
        name = incidents.get(alarm.id, alarm.id) if is_gathered else alarm.id
        if name in cards:
            cards[name][1].append(alarm)
        else:
            cards[name] = (alarm, [])
    return list(cards.values())


def _facts(viewer: Viewer, board: Board, present: Present) -> dict[str, Any]:
    screen = Screen(viewer, board.registry)
    alarms = {a.id: a for a in board.alarms}
    rows = point_rows(screen, board, present)
    waiting = {a.id for a in board.alarms if is_unseen(a) and board.standing[a.id].is_waiting}
    arrivals: dict[str, int] = {}
    for seen in board.seen_points:
        last = present.values.get(seen.id)
        if last is not None:
            arrivals[seen.gateway] = max(arrivals.get(seen.gateway, 0), last.arrived_at)
    return {
        "say": viewer.words.say,
        "words": viewer.words,
        "viewer": viewer,
        "screen": screen,
        "board": board,
        "standing": board.standing,
        "waiting": waiting,
        "cards": _cards(board, waiting),
        "reason": reason,
        "reasons": reasons,
        "alarms_of": lambda incident: [alarms[a] for a in incident.alarms if a in alarms],
        "open_incidents": [i for i in board.incidents if i.closed_at is None],
        "closed_incidents": [i for i in board.incidents if i.closed_at is not None],
        "open_tickets": [t for t in board.tickets if t.state not in workorder.SETTLED],
        "settled_tickets": [t for t in board.tickets if t.state in workorder.SETTLED],
        "ticket_of": {t.incident: t for t in board.tickets if t.state not in workorder.SETTLED},
        "queued": {c.subject for c in board.queued},
        "points": rows,
        "arrivals": arrivals,
        "steps": lambda ticket: workorder.offered(
            State(ticket.state), has_requester=bool(ticket.contact)
        ),
        "track": workorder.TRACK,
        "needs_text": NEEDS_TEXT,
        "shapes": SEVERITY_SHAPES,
        "good": int(Quality.GOOD),
        "bad": int(Quality.BAD),
        "language_codes": LANGUAGES,
    }
