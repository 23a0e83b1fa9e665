"""The live stream: sections that changed, new values, and a heartbeat, as Server-Sent Events.

The id of an event is the revision of the service core's database, which a restart does not reset:
a page that comes back with the revision it had is sent nothing that it already shows.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping

from server.history.reader import LastValue
from server.servicecore.cases import Present
from server.servicecore.desk import Desk
from server.web.feed import Feed
from server.web.feed import Present as Values
from server.web.render import Renderer
from server.web.screen import Viewer
from telemetry.instant import SECOND_MS, Clock, Instant

HEARTBEAT_MS = 2 * SECOND_MS
WAIT_S = 0.5
"""How long a stream waits for a change before it looks at the values and the clock."""
RETRY_MS = 1_000
"""What a browser waits before it connects again."""


class Live:
    """Makes one stream for each page that is open."""

    def __init__(
        self, desk: Desk, feed: Feed, renderer: Renderer, *, clock: Clock, stop: asyncio.Event
    ) -> None:
        self._desk = desk
        self._feed = feed
        self._renderer = renderer
        self._clock = clock
        self._stop = stop
        self._alarms = Present(standing={}, is_flood=False, sounds={})
        self._looked_for = (-1, -HEARTBEAT_MS)

    async def stream(self, viewer: Viewer, since: int) -> AsyncIterator[str]:
        """Yield events until the server stops; `since` is the revision that the page shows."""
        shown: dict[str, str] = {}
        said: dict[str, Instant] = {}
        stood: tuple[object, ...] | None = None
        beat_ms = -HEARTBEAT_MS
        yield f"retry: {RETRY_MS}\n\n"
        while not self._stop.is_set():
            present = await self._feed.present()
            await self._look()
            stands = (self._alarms.standing, self._alarms.is_flood)
            has_aged = stood is not None and stood != stands  # a shelf ended, say
            stood = stands
            if self._desk.changes.revision != since or has_aged:
                board = await self._desk.board()
                since = board.revision
                sections = self._renderer.sections(viewer, board, present)
                yield _event(
                    "sections",
                    {name: html for name, html in sections.items() if shown.get(name) != html},
                    since,
                )
                shown = sections
                beat_ms = -HEARTBEAT_MS  # what has changed may be to be heard, and at once
                said.clear()  # a section may have carried older values than the page had
            values = {p: v for p, v in present.values.items() if said.get(p) != v.at}
            changes = present.changes
            if values:
                said |= {point: value.at for point, value in values.items()}
                yield _event(
                    "values", {p: _plain(v, changes.get(p)) for p, v in values.items()}, since
                )
            if self._clock.monotonic_ms() - beat_ms >= HEARTBEAT_MS:
                beat_ms = self._clock.monotonic_ms()
                yield _event("heartbeat", self._heartbeat(present), since)
            await self._desk.changes.wait_beyond(since, WAIT_S)

    def _heartbeat(self, present: Values) -> dict[str, object]:
        return {
            "heard": self._alarms.sounds,
            "now": self._clock.now(),
            "newest": present.newest,
            "engine": self._desk.engine_reached,
            "stopped": self._desk.intake_stopped,
        }

    async def _look(self) -> None:
        """Work out for all consoles at once how alarms stand and which of them are heard."""
        now, (revision, at) = self._clock.monotonic_ms(), self._looked_for
        if revision != self._desk.changes.revision or now - at >= HEARTBEAT_MS:
            self._looked_for = (self._desk.changes.revision, now)
            self._alarms = await self._desk.cases.present()


def _plain(last: LastValue, change: float | None) -> dict[str, object]:
    return {
        "at": last.at,
        "arrived_at": last.arrived_at,
        "value": last.value,
        "change": change,
        "quality": last.quality,
        "reason": last.reason,
        "time_quality": last.time_quality,
    }


def _event(name: str, body: Mapping[str, object], revision: int) -> str:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\nid: {revision}\ndata: {text}\n\n"
