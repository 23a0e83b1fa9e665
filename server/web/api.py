"""The same as the page for programs: JSON under /api/v1, described by OpenAPI.

Values are in house units (kPa, m³/h, m³, m, °C), instants in milliseconds since the epoch, UTC.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field

from server.history.marks import Mark, holding
from server.servicecore.desk import ACTOR_LENGTH_MAX, TEXT_LENGTH_MAX, Desk
from server.servicecore.orders import More
from server.servicecore.rules import workorder
from server.servicecore.rules.alarms import Shown
from server.servicecore.rules.permissions import Person
from server.servicecore.rules.workorder import State, Step
from server.web.feed import Feed
from server.web.mark_pages import worth
from server.web.render import point_rows
from server.web.screen import Screen, Viewer
from server.web.viewer import actor_of
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, Clock, Instant

BUCKETS_MAX = 2_000
RANGES_MS = {"10m": 10 * MINUTE_MS, "1h": HOUR_MS, "24h": DAY_MS, "28d": 28 * DAY_MS}


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class AlarmAnswer(_Answer):
    """An alarm that is active or not yet acknowledged."""

    id: str
    kind: str
    zone: str
    points: list[str]
    severity: int
    onset: int
    raised_at: int
    because: list[str]
    active: bool
    cleared_at: int | None
    acknowledged_at: int | None
    acknowledged_by: str
    asked_by: str = Field(description="who asked for its acknowledgement, while that is on its way")
    shown: Shown | None = Field(
        default=None, description="what a list shows of it; null for a mark of the past"
    )
    is_heard: bool = Field(default=False, description="whether consoles sound for it")
    until: int | None = Field(default=None, description="when its shelf or its work ends")


class IncidentAnswer(_Answer):
    """Alarms with one cause; the open ones, then the last few closed."""

    id: str
    kind: str
    zone: str
    alarms: list[str]
    points: list[str]
    severity: int
    onset: int
    opened_at: int
    closed_at: int | None
    because: list[str]
    is_proposed: bool = False


class TicketAnswer(_Answer):
    """A job for a crew; `steps` is what may be done to it now."""

    number: str
    incident: str
    zone: str
    kind: str
    severity: int
    state: State
    since: int
    created_at: int
    holder: str
    result: str
    version: int
    data: dict[str, Any]
    category: str
    parent: str
    unit: str
    crew: str
    policy_rev: str
    is_drill: bool
    steps: list[Step] = []


class PointAnswer(_Answer):
    """A point and its newest sample, in the house unit."""

    id: str
    name: str
    zone: str
    quantity: str
    status: str
    at: int | None
    value: float | None
    quality: int | None
    reason: str
    change_10min: float | None = Field(description="by how much it changed in ten minutes")
    time_quality: str = Field(description="synchronised, corrected or doubtful; empty: not known")


class JudgedAnswer(_Answer):
    """A stretch that a quality mark holds in: bad or uncertain, why, and who says so."""

    begin: int
    end: int
    quality: str
    reason: str
    author: str


class SeriesAnswer(_Answer):
    """The past of a point in stretches; those without a usable sample are absent."""

    point: str
    start: int
    end: int
    width_ms: int
    at: list[int]
    low: list[float]
    mean: list[float]
    high: list[float]
    count: list[int]
    marks: list[AlarmAnswer]
    quality: list[JudgedAnswer] = Field(
        default=[], description="where marks say that samples are not good"
    )


class SinkAnswer(_Answer):
    """How far InfluxDB has been given what the historian has."""

    state: str = Field(description="delivering, waiting, stopped (a person is wanted) or silent")
    because: str
    since: int
    lag_rows: int
    lag_s: float
    is_reading_back: bool
    delivered: int
    without_value: int
    refused: int
    expired: int


class StatusAnswer(_Answer):
    """How fresh everything is."""

    now: int
    newest: int | None
    engine_reached: bool
    intake_stopped: str
    revision: int
    queued_commands: int
    influx: SinkAnswer | None = Field(description="null where none is configured, or not begun")


class ActRequest(BaseModel):
    """Who acts, where nobody signs in, and words where they are wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    actor: Annotated[str, Field(max_length=ACTOR_LENGTH_MAX)] = ""
    text: Annotated[str, Field(max_length=TEXT_LENGTH_MAX)] = ""


class StepRequest(ActRequest):
    """A step on a ticket; `version` refuses it when the ticket has changed since it was read."""

    version: int | None = None
    code: Annotated[str, Field(max_length=40)] = ""
    unit: Annotated[str, Field(max_length=40)] = ""
    facts: dict[str, int | str] = {}
    form: dict[str, str] = {}
    is_satisfied: bool = True

    def more(self) -> More:
        """Return what the step carries besides its words."""
        return More(
            code=self.code,
            unit=self.unit,
            facts=self.facts,
            form=self.form,
            is_satisfied=self.is_satisfied,
        )


class DoneAnswer(_Answer):
    """The act is committed."""

    done: bool = True
    ticket: str = ""
    state: str = ""


def routes(desk: Desk, feed: Feed, clock: Clock) -> APIRouter:
    """Return everything under /api/v1."""
    router = APIRouter(prefix="/api/v1")
    _add_boards(router, desk, feed, clock)
    _add_series(router, desk, feed, clock)
    _add_actions(router, desk)
    return router


def _add_boards(router: APIRouter, desk: Desk, feed: Feed, clock: Clock) -> None:
    @router.get("/status")
    async def status() -> StatusAnswer:
        board, present = await desk.board(), await feed.present()
        sink = await feed.sink()
        return StatusAnswer(
            now=clock.now(),
            newest=present.newest,
            engine_reached=desk.engine_reached,
            intake_stopped=desk.intake_stopped,
            revision=board.revision,
            queued_commands=len(board.queued),
            influx=None if sink is None else SinkAnswer.model_validate(sink),
        )

    @router.get("/alarms")
    async def alarms() -> list[AlarmAnswer]:
        board = await desk.board()
        return [
            AlarmAnswer.model_validate(a).model_copy(
                update={
                    "shown": board.standing[a.id].shown,
                    "is_heard": board.standing[a.id].is_heard,
                    "until": board.standing[a.id].until,
                }
            )
            for a in board.alarms
        ]

    @router.get("/incidents")
    async def incidents() -> list[IncidentAnswer]:
        board = await desk.board()
        return [
            IncidentAnswer.model_validate(i).model_copy(
                update={"is_proposed": i.id in board.proposals}
            )
            for i in board.incidents
        ]

    @router.get("/tickets")
    async def tickets() -> list[TicketAnswer]:
        return [
            TicketAnswer.model_validate(t).model_copy(
                update={"steps": list(workorder.allowed(State(t.state)))}
            )
            for t in (await desk.board()).tickets
        ]

    @router.get("/points")
    async def points() -> list[PointAnswer]:
        board, present = await desk.board(), await feed.present()
        english = Screen(Viewer(language="en", pressure_unit="kPa", operator=""), board.registry)
        return [
            PointAnswer(
                id=row.id,
                name=row.name,
                zone=row.zone,
                quantity=row.quantity,
                status=row.status,
                at=row.last.at if row.last else None,
                value=row.last.value if row.last else None,
                quality=row.last.quality if row.last else None,
                reason=row.last.reason if row.last else "",
                change_10min=row.change,
                time_quality=row.last.time_quality if row.last else "",
            )
            for row in point_rows(english, board, present)
        ]


def _add_series(router: APIRouter, desk: Desk, feed: Feed, clock: Clock) -> None:
    @router.get("/series")
    async def series(
        point: str,
        span: Annotated[str, Query(alias="range", pattern="^(10m|1h|24h|28d)$")] = "1h",
        end: Annotated[int | None, Query(ge=0, le=2**53)] = None,
        buckets: Annotated[int, Query(ge=1, le=BUCKETS_MAX)] = 600,
    ) -> SeriesAnswer:
        until = Instant(clock.now() + 1 if end is None else end)
        start = Instant(max(0, until - RANGES_MS[span]))
        found = await feed.series(point, start, until, buckets)
        marks = await desk.alarms_between(start, until)
        return SeriesAnswer(
            point=point,
            start=start,
            end=until,
            width_ms=found[0].width_ms if found else max(1, -(-(until - start) // buckets)),
            at=[b.at for b in found],
            low=[b.low for b in found],
            mean=[b.mean for b in found],
            high=[b.high for b in found],
            count=[b.count for b in found],
            marks=[AlarmAnswer.model_validate(a) for a in marks if point in a.points],
            quality=_judged(await feed.marks(point), start, until),
        )


def _judged(marks: Mapping[int, Mark], start: Instant, end: Instant) -> list[JudgedAnswer]:
    """Return where marks say in [start, end) that samples are not good."""
    felt = {r: m for r, m in marks.items() if m.start < end and m.end > start}
    return [
        JudgedAnswer(
            begin=held.start,
            end=held.end,
            quality=worth(mark.quality),
            reason=mark.reason,
            author=mark.author,
        )
        for held in holding(felt)
        if (mark := felt[held.revision]).quality is not None
        and held.start < end
        and held.end > start
    ]


def _actor(request: Request, act: ActRequest) -> Person:
    """Return who acts; where nobody signs in, a program must say."""
    actor = actor_of(request)
    if actor is None and not act.actor:
        raise RequestValidationError([{"loc": ("body", "actor"), "type": "missing", "msg": ""}])
    return actor or act.actor


def _add_actions(router: APIRouter, desk: Desk) -> None:
    refusals: dict[int | str, dict[str, Any]] = {409: {"description": "refused; `detail` says why"}}

    @router.post("/alarms/{alarm}/acknowledge", responses=refusals)
    async def acknowledge_alarm(request: Request, alarm: str, act: ActRequest) -> DoneAnswer:
        await desk.acknowledge_alarm(alarm, actor=_actor(request, act), note=act.text)
        return DoneAnswer()

    @router.post("/incidents/{incident}/acknowledge", responses=refusals)
    async def acknowledge_incident(request: Request, incident: str, act: ActRequest) -> DoneAnswer:
        await desk.acknowledge_incident(incident, actor=_actor(request, act), note=act.text)
        return DoneAnswer()

    @router.post("/incidents/{incident}/close", responses=refusals)
    async def close_incident(request: Request, incident: str, act: ActRequest) -> DoneAnswer:
        await desk.close_incident(incident, actor=_actor(request, act), note=act.text)
        return DoneAnswer()

    @router.post("/incidents/{incident}/dispatch", responses=refusals)
    async def dispatch(request: Request, incident: str, act: ActRequest) -> DoneAnswer:
        return DoneAnswer(ticket=await desk.dispatch(incident, actor=_actor(request, act)))

    @router.post("/tickets/{ticket}/{step}", responses=refusals)
    async def take_step(request: Request, ticket: str, step: Step, act: StepRequest) -> DoneAnswer:
        state = await desk.step(
            ticket,
            step,
            actor=_actor(request, act),
            text=act.text,
            version=act.version,
            more=act.more(),
        )
        return DoneAnswer(ticket=ticket, state=state)
