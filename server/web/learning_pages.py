"""The page of what was learnt of each zone, with the forms of engineers who look after it."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from server.engine.training import PERIOD_MIN_DAYS, READ_DAYS, Period
from server.servicecore.learning import Learnt
from server.web.acts_learning import LEARNING_ACTS
from server.web.screen import Screen
from server.web.sheet import NOTHING, Sheet, Told, may_act, router_of_pages


def routes(sheet: Sheet) -> APIRouter:
    """Return the page of what was learnt."""
    router = router_of_pages()

    async def learning_page(request: Request, _: str = "", told: Told = NOTHING) -> Response:
        screen = await sheet.screen(request)
        found = await sheet.desk.learning.of([zone for zone, _ in screen.zones()])
        return sheet.show(
            "learning.html",
            screen,
            told,
            here="/learning",
            zones=[_zone(sheet, request, screen, told, learnt) for learnt in found],
            least=PERIOD_MIN_DAYS,
            most=READ_DAYS,
        )

    @router.get("/learning")
    async def learning(request: Request) -> Response:
        return await learning_page(request)

    sheet.mount(router, "/learning/{subject}", LEARNING_ACTS, learning_page, "/learning#{}")
    return router


def _zone(
    sheet: Sheet, request: Request, screen: Screen, told: Told, learnt: Learnt
) -> dict[str, Any]:
    place = f"/learning/{learnt.zone}"
    newest = learnt.models[0] if learnt.models else None
    asked, say = learnt.asked, screen.viewer.words.say
    note = ""
    if asked is not None and asked.because:
        note = say(
            "learning.refused", by=asked.by, at=screen.minute(asked.at), because=asked.because
        )
    elif asked is not None and asked.is_open:
        what = _period(screen, asked.period)
        note = say("learning.asked", by=asked.by, at=screen.minute(asked.at), what=what)
    return {
        "zone": learnt.zone,
        "newest": newest,
        "state": state_of(screen, learnt),
        "is_little": newest is not None and newest.state == "ready" and bool(newest.because),
        "note": note,
        "models": [(m, _span(screen, m.begin, m.end)) for m in learnt.models],
        "forms": [
            sheet.form(screen, told, LEARNING_ACTS, name, place)
            for name, act in LEARNING_ACTS.items()
            if may_act(request, act)
        ],
    }


def state_of(screen: Screen, learnt: Learnt) -> str:
    """Return how far the learning of a zone is, in the reader's words."""
    say = screen.viewer.words.say
    if not learnt.models:
        return say("learning.nothing")
    newest = learnt.models[0]
    if newest.state != "ready":
        return say(f"learning.{newest.state}", days=newest.days, of=newest.of)
    return say(
        "learning.ready",
        since=screen.minute(learnt.ready_since),
        alarms=f"{newest.alarms_a_year or 0.0:.1f}",
        past=newest.past_days,
    )


def _period(screen: Screen, period: Period | None) -> str:
    if period is None:
        return screen.viewer.words.say("learning.trailing")
    return _span(screen, *period)


def _span(screen: Screen, begin: int, end: int) -> str:
    return f"{screen.minute(begin)} – {screen.minute(end)}"
