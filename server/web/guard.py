"""Who may ask: only this machine by its own name, and only our own pages may change anything.

There is no sign-in yet, so the pages answer to loopback names alone; a foreign site that a
dispatcher's browser visits can neither read them (by a name of its own that resolves to this
machine) nor post to them.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telemetry.loopback import is_loopback

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

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = refusal_of(scope["method"], scope["scheme"], Headers(scope=scope))

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                # Revalidated at each use: a console runs for months across our upgrades.
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        if refusal:
            await PlainTextResponse(refusal, status_code=403)(scope, receive, send_guarded)
        else:
            await self._app(scope, receive, send_guarded)


def refusal_of(method: str, scheme: str, headers: Headers) -> str:
    """Return why a request is not answered; empty when it is."""
    host = headers.get("host", "")
    if not is_loopback_host(host):
        return f"expected a loopback name as Host, was {host!r}"
    if method in _READS:
        return ""
    origin = headers.get("origin")
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
