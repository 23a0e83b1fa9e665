"""Signing in: who a request's cookie or token belongs to, and what is shown to who is nobody.

A session is a cookie that scripts cannot read and that other sites' posts do not carry; beside it
`guard` asks every post for our own origin, so that no form of another site can act in its name.
Without sign-in (on loopback only) the name typed at the start of a shift acts, with every right.
"""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from server.servicecore.people import SIGNED_IN_MS, People
from server.servicecore.rules.permissions import Actor
from server.servicecore.rules.refusal import Refused
from server.web.guard import SESSION
from server.web.render import Renderer
from server.web.viewer import own_path, viewer_of
from telemetry.errors import RefusedCommand
from telemetry.instant import SECOND_MS

_OPEN = ("/sign-in", "/welcome/", "/static/", "/language/")
"""What anybody may ask for: the door itself."""

Text = Annotated[str, Form()]


class SignIn:
    """Lets a request in with the person it belongs to, or sends it to the door."""

    def __init__(self, app: ASGIApp, people: People) -> None:
        self._app = app
        self._people = people

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        actor = await self._actor(request)
        scope.setdefault("state", {})["actor"] = actor
        path = request.url.path
        if actor is not None or path.startswith(_OPEN):
            await self._app(scope, receive, send)
            return
        await _to_the_door(request)(scope, receive, send)

    async def _actor(self, request: Request) -> Actor | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return await self._people.program(token.strip())
        cookie = request.cookies.get(SESSION, "")
        return await self._people.who(cookie) if cookie else None


class _Door:
    """The pages that anybody may see."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def show(self, request: Request, template: str, status: int = 200, **more: str) -> HTMLResponse:
        html = self._renderer.alone(template, viewer_of(request), **more)
        return HTMLResponse(html, status_code=status)

    def refuse(
        self, request: Request, template: str, status: int, error: RefusedCommand, **more: str
    ) -> HTMLResponse:
        words = viewer_of(request).words
        said = words.refusal(error) if isinstance(error, Refused) else str(error)
        return self.show(request, template, status, message=said, **more)


def routes(people: People, renderer: Renderer, *, is_secure: bool) -> APIRouter:
    """Return the door: signing in and out, and the links that work once."""
    router = APIRouter(include_in_schema=False)
    door = _Door(renderer)
    _add_signing(router, people, door, is_secure=is_secure)
    _add_links(router, people, door)
    return router


def _add_signing(router: APIRouter, people: People, door: _Door, *, is_secure: bool) -> None:
    @router.get("/sign-in")
    async def ask(request: Request, back: str = "/") -> Response:
        return door.show(request, "sign_in.html", back=own_path(back))

    @router.post("/sign-in")
    async def sign_in(
        request: Request, login: Text = "", password: Text = "", back: Text = "/"
    ) -> Response:
        back = own_path(back)
        try:
            token = await people.sign_in(login.strip().lower(), password)
        except RefusedCommand as e:
            return door.refuse(request, "sign_in.html", 401, e, back=back, login=login)
        response = RedirectResponse(back, status_code=303)
        response.set_cookie(
            SESSION,
            token,
            max_age=SIGNED_IN_MS // SECOND_MS,
            httponly=True,
            samesite="lax",
            secure=is_secure,
        )
        return response

    @router.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        await people.sign_out(request.cookies.get(SESSION, ""))
        response = RedirectResponse("/sign-in", status_code=303)
        response.delete_cookie(SESSION, httponly=True, samesite="lax", secure=is_secure)
        return response


def _add_links(router: APIRouter, people: People, door: _Door) -> None:
    @router.get("/welcome/{token}")
    async def welcome(request: Request, token: str) -> Response:
        try:
            login = await people.login_of_link(token)
        except RefusedCommand as e:
            return door.refuse(request, "sign_in.html", 410, e, back="/")
        return door.show(request, "welcome.html", token=token, login=login)

    @router.post("/welcome/{token}")
    async def choose(
        request: Request, token: str, password: Text = "", again: Text = ""
    ) -> Response:
        try:
            login = await people.login_of_link(token)
        except RefusedCommand as e:
            return door.refuse(request, "sign_in.html", 410, e, back="/")
        try:
            if password != again:
                raise Refused("passwords_differ")
            await people.choose_password(token, password)
        except RefusedCommand as e:
            return door.refuse(request, "welcome.html", 422, e, token=token, login=login)
        return RedirectResponse("/sign-in", status_code=303)


def _to_the_door(request: Request) -> Response:
    is_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if is_page and not request.url.path.startswith("/api/"):
        back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?back={quote(back, safe='')}", status_code=303)
    said = viewer_of(request).words.say("error.sign_in")
    return JSONResponse({"detail": said}, status_code=401, headers={"WWW-Authenticate": "Bearer"})
