"""The pages of what has been: a month in figures, the trail, and who saw personal data."""

from calendar import monthrange
from datetime import datetime

from fastapi import APIRouter, Request
from starlette.responses import Response

from server.servicecore.rules.permissions import Right, actor_of, check
from server.web.acts_registers import FIGURE_ACTS
from server.web.feed import Feed
from server.web.screen import Screen
from server.web.sheet import NOTHING, Sheet, Told, may_act, router_of_pages
from server.web.viewer import person_of
from telemetry.instant import Instant

TARGETS = {
    "repair_timeliness": "timeliness.target",
    "satisfaction": "satisfaction.target",
    "complaint_handled": "handled.target",
}
"""Which value of the policy a figure is held against."""


def routes(sheet: Sheet, feed: Feed) -> APIRouter:
    """Return the figures and the trail."""
    router = router_of_pages()
    desk = sheet.desk

    async def figures_page(request: Request, month: str = "", told: Told = NOTHING) -> Response:
        return await _figures_page(sheet, feed, request, month, told)

    @router.get("/figures")
    async def figures(request: Request, month: str = "") -> Response:
        return await figures_page(request, month)

    @router.get("/figures/{month}/frozen/{revision}")
    async def frozen(request: Request, month: str, revision: int) -> Response:
        await sheet.screen(request)
        body = await desk.frozen.read(month, revision)
        return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})

    sheet.mount(router, "/figures/{subject}", FIGURE_ACTS, figures_page, "/figures?month={}")

    @router.get("/trail")
    async def trail(request: Request, before: int | None = None) -> Response:
        screen = await sheet.screen(request)
        check(actor_of(person_of(request)), Right.AUDIT)
        return sheet.show(
            "trail.html",
            screen,
            NOTHING,
            here="/trail",
            look=await desk.looks.trail(before=before),
        )

    @router.get("/access")
    async def access(request: Request, before: int | None = None) -> Response:
        screen = await sheet.screen(request)
        look = await desk.disclosures.page(actor=person_of(request), before=before)
        return sheet.show("access.html", screen, NOTHING, here="/access", look=look)

    return router


async def _figures_page(
    sheet: Sheet, feed: Feed, request: Request, month: str, told: Told
) -> Response:
    screen, desk = await sheet.screen(request), sheet.desk
    asked = request.query_params.get("dispatchers", "1")
    dispatchers = min(99, max(1, int(asked))) if asked.isdecimal() and len(asked) < 4 else 1
    start, end, name = month_of(screen, month, sheet.clock.now())
    policy, kept = desk.ground.book.policy, await desk.frozen.of(name)
    shares = await desk.figures.month(start, end)
    targets = {n: policy.number(key) for n, key in TARGETS.items()}
    restate = None
    if kept and may_act(request, FIGURE_ACTS["restate"]):
        restate = sheet.form(screen, told, FIGURE_ACTS, "restate", f"/figures/{name}")
    return sheet.show(
        "figures.html",
        screen,
        told,
        here=f"/figures?month={name}",
        month=name,
        dispatchers=dispatchers,
        frozen=kept,
        restate=restate,
        shares=[
            (n, r, targets.get(n), None if targets.get(n) is None else r.meets(targets[n] or 0))
            for n, r in shares.items()
        ],
        loads=await desk.figures.loads(start, end),
        table=await desk.figures.table(start, end),
        alarms=await desk.cases.figures(start, end, dispatchers=dispatchers),
        names={u.id: u.name for u in await desk.looks.units()},
        compliance=await desk.figures.compliance(feed.pressures, start, end),
        least=policy.number("compliance.target"),
    )


def month_of(screen: Screen, text: str, now: Instant) -> tuple[Instant, Instant, str]:
    """Return (start, end, name) of a month where the water is; what is no month is this one.

    A month that is not over ends now: what still runs is not late by the end of the month.
    """
    try:
        found = datetime.strptime(text, "%Y-%m")  # noqa: DTZ007  the zone is set below
    except ValueError:
        found = datetime.fromtimestamp(now / 1000, tz=screen.timezone)
    first = datetime(found.year, found.month, 1, tzinfo=screen.timezone)
    days = monthrange(found.year, found.month)[1]
    start = int(first.timestamp() * 1000)
    end = int(first.replace(day=days, hour=23, minute=59, second=59).timestamp() + 1) * 1000
    return Instant(start), Instant(min(end, now + 1)), f"{found:%Y-%m}"
