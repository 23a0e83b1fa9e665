"""Who may ask: browsers that know us by our own name, and only our own pages may change anything.

The pages answer to loopback names and to those of the configuration; a foreign site that a
dispatcher's browser visits can neither read them (by a name of its own that resolves to this
machine) nor post to them.
"""

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telemetry.loopback import is_loopback

SESSION = "mw_session"
"""The cookie of a browser that is signed in."""

_READS = frozenset({"GET", "HEAD", "OPTIONS"})

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none';"
        " form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: browsers would then send our own forms with "Origin: null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """Refuses foreign hosts and foreign posts, and sets the headers of every answer."""

    def __init__(
        self, app: ASGIApp, names: Collection[str] = (), *, is_secure: bool = False
    ) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in names)
        self._is_secure = is_secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scheme = "https" if self._is_secure else scope["scheme"]
        refusal = refusal_of(scope["method"], scheme, Headers(scope=scope), self._names)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if self._is_secure:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
                # Revalidated at each use: a console runs for months across our upgrades.
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        if refusal:
            await PlainTextResponse(refusal, status_code=403)(scope, receive, send_guarded)
        else:
            await self._app(scope, receive, send_guarded)


def refusal_of(
    method: str, scheme: str, headers: Headers, names: Collection[str] = frozenset()
) -> str:
    """Return why a request is not answered; empty when it is.

    A post with a session's cookie must say that it comes from our own page: browsers do.
    """
    host = headers.get("host", "")
    if not is_loopback_host(host) and host.lower().partition(":")[0] not in names:
        other = ", or one of page.names" if names else ""
        return f"expected a loopback name as Host{other}, was {host!r}"
    if method in _READS:
        return ""
    origin = headers.get("origin")
    if origin is None and SESSION in headers.get("cookie", ""):
        return f"expected Origin {scheme}://{host} with a session's cookie, found none"
    if origin is not None and origin != f"{scheme}://{host}":
        return f"expected Origin {scheme}://{host}, was {origin!r}"
    site = headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return f"expected Sec-Fetch-Site same-origin, was {site!r}"
    return ""


def is_loopback_host(host: str) -> bool:
    """Say whether a Host header names this machine's loopback.

    >>> is_loopback_host("[::1]:8420"), is_loopback_host("localhost"), is_loopback_host("evil.cn")
    (True, True, False)
    """
    name = host.partition("]")[0].removeprefix("[") if host[:1] == "[" else host.partition(":")[0]
    return is_loopback(name)
