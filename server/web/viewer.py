"""Who asks: the preferences and the name that a request's cookies carry."""

from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import Response

from server.servicecore.rules.permissions import Actor, Person
from server.web.screen import Viewer, pressure_unit
from server.web.words import LANGUAGES, preferred

LANGUAGE = "mw_language"
PRESSURE = "mw_pressure"
OPERATOR = "mw_operator"
_KEPT_S = 365 * 24 * 3600
_SHIFT_S = 14 * 3600
"""A name is forgotten after the longest shift, so that nobody acts under yesterday's."""


def viewer_of(request: Request) -> Viewer:
    """Return who asks; the language is the chosen one, else the browser's best."""
    actor = actor_of(request)
    language = request.cookies.get(LANGUAGE, "")
    if language not in LANGUAGES:
        language = preferred(request.headers.get("accept-language", ""))
    return Viewer(
        language=language,
        pressure_unit=pressure_unit(request.cookies.get(PRESSURE, ""), language),
        operator=actor.name if actor is not None else unquote(request.cookies.get(OPERATOR, "")),
        actor=actor,
    )


def actor_of(request: Request) -> Actor | None:
    """Return who is signed in, if anybody is."""
    actor: Actor | None = getattr(request.state, "actor", None)
    return actor


def person_of(request: Request) -> Person:
    """Return who acts: whoever is signed in, else the name of the shift, which may be empty."""
    return actor_of(request) or viewer_of(request).operator


def remember(response: Response, cookie: str, value: str) -> None:
    """Keep a preference or the name in the browser; an empty one is forgotten."""
    if value:
        age = _SHIFT_S if cookie == OPERATOR else _KEPT_S
        response.set_cookie(cookie, quote(value), max_age=age, httponly=True, samesite="strict")
    else:
        response.delete_cookie(cookie, httponly=True, samesite="strict")


def own_path(path: str) -> str:
    """Return a path of ours; another site is never gone on to.

    >>> own_path("/orders?x=1"), own_path("//evil.cn"), own_path("https://evil.cn/")
    ('/orders?x=1', '/', '/')
    """
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and "\\" not in path
    return path if is_own else "/"
