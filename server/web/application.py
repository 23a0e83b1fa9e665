"""The web application: the page, its live stream, the API, and how each refusal is said."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from server.config import BalanceSection, PageSection
from server.servicecore.desk import Desk
from server.servicecore.frozen import FOLDER
from server.servicecore.rules.refusal import Refused
from server.web import (
    api,
    api_archive,
    api_balance,
    api_learning,
    api_marks,
    api_records,
    auth,
    balance_pages,
    case_pages,
    contact_pages,
    learning_pages,
    mark_pages,
    order_pages,
    pages,
    people_pages,
    plan_pages,
    record_pages,
    registry_pages,
)
from server.web.balances import Balances
from server.web.feed import Feed
from server.web.guard import Guard
from server.web.live import Live
from server.web.render import STATIC, Renderer
from server.web.screen import Screen
from server.web.sheet import PLAIN, Sheet, status_of
from server.web.sheet import say as said
from server.web.viewer import viewer_of
from telemetry.errors import RefusedCommand
from telemetry.instant import Clock

_SHEETS = (order_pages, case_pages, contact_pages, plan_pages, registry_pages, learning_pages)
"""Plain pages that stand on nothing but the desk."""


def _add_apis(app: FastAPI, desk: Desk, feed: Feed, clock: Clock, balances: Balances) -> None:
    """Let programs read and act, with the use cases of the pages."""
    app.include_router(api.routes(desk, feed, clock))
    app.include_router(api_archive.routes(desk, clock))
    app.include_router(api_records.routes(desk, clock))
    app.include_router(api_balance.routes(desk, balances))
    app.include_router(api_learning.routes(desk))
    app.include_router(api_marks.routes(desk, feed))


def create_app(
    desk: Desk,
    *,
    history: Path,
    clock: Clock,
    stop: asyncio.Event,
    page: PageSection | None = None,
    sink: Path | None = None,
    balance: Sequence[BalanceSection] = (),
) -> FastAPI:
    """Return the application; `history` is the historian's file, `stop` ends the live streams.

    `sink` is the ledger of the InfluxDB sink, where one is configured; `balance` is what the
    utility says of its zones' networks.
    """
    page = page or PageSection()
    # No /docs: its page asks a server on the internet for its scripts.
    app = FastAPI(
        title="Mainwatch", openapi_url="/api/v1/openapi.json", docs_url=None, redoc_url=None
    )
    feed, renderer = Feed(history, clock, sink=sink), Renderer()
    desk.frozen.keep_in(history.parent / FOLDER, feed.pressures)
    live = Live(desk, feed, renderer, clock=clock, stop=stop)
    app.include_router(pages.routes(desk, feed, renderer, live, clock))
    sheet = Sheet(desk, renderer, clock)
    for part in _SHEETS:
        app.include_router(part.routes(sheet))
    app.include_router(record_pages.routes(sheet, feed))
    balances = Balances(history, clock, balance)
    app.include_router(balance_pages.routes(sheet, balances))
    app.include_router(mark_pages.routes(sheet, feed))
    _add_apis(app, desk, feed, clock, balances)
    if page.sign_in:
        app.include_router(auth.routes(desk.people, renderer, is_secure=page.is_secure))
        app.include_router(people_pages.routes(desk.people, renderer))
        app.add_middleware(auth.SignIn, people=desk.people)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Guard, names=page.names, is_secure=page.is_secure)

    async def say(request: Request, status: int, text: str) -> Response:
        if pages.wants_json(request):
            return JSONResponse({"detail": text}, status_code=status)
        if PLAIN in getattr(request.scope.get("route"), "tags", ()):
            html = renderer.alone("plain.html", viewer_of(request), message=text)
            return HTMLResponse(html, status_code=status)
        html = await pages.page(request, desk, feed, renderer, clock, message=text)
        return HTMLResponse(html, status_code=status)

    @app.exception_handler(RefusedCommand)
    async def refused(request: Request, error: RefusedCommand) -> Response:
        screen = Screen(viewer_of(request), await desk.registry())
        is_missing = isinstance(error, Refused) and error.key == "unknown"
        status = 404 if is_missing and request.method == "GET" else status_of(error)
        return await say(request, status, said(screen, error))

    @app.exception_handler(RequestValidationError)
    async def not_understood(request: Request, error: RequestValidationError) -> Response:
        fields = ", ".join(str(e["loc"][-1]) for e in error.errors())
        return await say(request, 422, viewer_of(request).words.say("error.fields", fields=fields))

    @app.exception_handler(HTTPException)
    async def not_there(request: Request, error: HTTPException) -> Response:
        key = "error.not_found" if error.status_code == 404 else "error.request"
        return await say(request, error.status_code, viewer_of(request).words.say(key))

    return app
