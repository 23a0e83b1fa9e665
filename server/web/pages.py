"""The dispatchers' page and its forms, which work as plain posts and from the scripts alike."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.responses import StreamingResponse as Streaming

from server.servicecore.desk import ACTOR_LENGTH_MAX, Desk
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.workorder import Step
from server.web.feed import Feed
from server.web.live import Live
from server.web.render import Renderer
from server.web.screen import PRESSURE_UNITS
from server.web.viewer import (
    LANGUAGE,
    OPERATOR,
    PRESSURE,
    own_path,
    person_of,
    remember,
    viewer_of,
)
from server.web.words import LANGUAGES
from telemetry.instant import Clock

Text = Annotated[str, Form()]


def routes(desk: Desk, feed: Feed, renderer: Renderer, live: Live, clock: Clock) -> APIRouter:
    """Return everything that is asked for with a browser."""
    router = APIRouter(include_in_schema=False)
    _add_reading(router, desk, feed, renderer, live, clock)
    _add_preferences(router)
    _add_actions(router, desk)
    return router


def done(request: Request, back: str = "/") -> Response:
    """Answer an act that succeeded: a script goes on, a plain form sees the page again."""
    if wants_json(request):
        return JSONResponse({"done": True})
    return RedirectResponse(back, status_code=303)


def wants_json(request: Request) -> bool:
    """Say whether the answer is for a script or a program, not for a plain form."""
    return request.url.path.startswith("/api/") or "application/json" in request.headers.get(
        "accept", ""
    )


async def page(
    request: Request, desk: Desk, feed: Feed, renderer: Renderer, clock: Clock, **more: Any
) -> str:
    """Return the page as HTML; `more` may carry a `message` to the person."""
    return renderer.page(
        viewer_of(request),
        await desk.board(),
        await feed.present(),
        now=clock.now(),
        engine=desk.engine_reached,
        stopped=desk.intake_stopped,
        **{"message": "", **more},
    )


def _add_reading(
    router: APIRouter, desk: Desk, feed: Feed, renderer: Renderer, live: Live, clock: Clock
) -> None:
    @router.get("/")
    async def board_page(request: Request) -> HTMLResponse:
        return HTMLResponse(await page(request, desk, feed, renderer, clock))

    @router.get("/events")
    async def events(request: Request, since: int = -1) -> Streaming:
        last = request.headers.get("last-event-id", "")
        known = int(last) if last.isdecimal() else since
        return Streaming(
            live.stream(viewer_of(request), known),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )


def _add_preferences(router: APIRouter) -> None:
    @router.get("/language/{language}")
    async def choose_language(language: str, back: str = "/") -> Response:
        response = RedirectResponse(own_path(back), status_code=303)
        if language in LANGUAGES:
            remember(response, LANGUAGE, language)
        return response

    @router.get("/pressure/{unit}")
    async def choose_pressure(unit: str) -> Response:
        response = RedirectResponse("/", status_code=303)
        if unit in PRESSURE_UNITS:
            remember(response, PRESSURE, unit)
        return response

    @router.post("/shift/start")
    async def start_shift(request: Request, name: Text = "", back: Text = "/") -> Response:
        name = " ".join(name.split())
        if not name:
            raise Refused("name_missing")
        if len(name) > ACTOR_LENGTH_MAX:
            raise Refused("text_too_long", limit=str(ACTOR_LENGTH_MAX), length=str(len(name)))
        response = done(request, own_path(back))
        remember(response, OPERATOR, name)
        return response

    @router.post("/shift/end")
    async def end_shift(request: Request) -> Response:
        response = done(request)
        remember(response, OPERATOR, "")
        return response


def _add_actions(router: APIRouter, desk: Desk) -> None:
    @router.post("/alarms/{alarm}/acknowledge")
    async def acknowledge_alarm(request: Request, alarm: str, note: Text = "") -> Response:
        await desk.acknowledge_alarm(alarm, actor=person_of(request), note=note)
        return done(request)

    @router.post("/incidents/{incident}/acknowledge")
    async def acknowledge_incident(request: Request, incident: str, note: Text = "") -> Response:
        await desk.acknowledge_incident(incident, actor=person_of(request), note=note)
        return done(request)

    @router.post("/incidents/{incident}/close")
    async def close_incident(request: Request, incident: str, note: Text = "") -> Response:
        await desk.close_incident(incident, actor=person_of(request), note=note)
        return done(request)

    @router.post("/incidents/{incident}/dispatch")
    async def dispatch(request: Request, incident: str) -> Response:
        await desk.dispatch(incident, actor=person_of(request))
        return done(request)

    @router.post("/tickets/{ticket}/{step}")
    async def take_step(
        request: Request,
        ticket: str,
        step: Step,
        text: Text = "",
        version: Annotated[int | None, Form()] = None,
    ) -> Response:
        actor = person_of(request)
        await desk.step(ticket, step, actor=actor, text=text, version=version)
        return done(request)
