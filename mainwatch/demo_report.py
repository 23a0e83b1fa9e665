"""What happened in a demo: read from the files and pages of the parts, as anybody could."""

import asyncio
import json
import math
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from telemetry.errors import StorageError
from telemetry.instant import Instant

DRAIN_S = 20
"""How long samples under way may take to arrive before they count as lost."""
PAGE_TIMEOUT_S = 10

Effect = tuple[int, int, Instant, str, dict[str, Any]]


@dataclass(slots=True, kw_only=True)
class Story:
    """What the demo itself knows: where the files are, and the burst it opened."""

    data: Path
    page: str
    gateway: str
    broker: str = ""
    burst_at: Instant | None = None
    burst: dict[str, Any] = field(default_factory=dict)
    _told: tuple[int, int] = (0, 0)
    _tickets: dict[str, str] = field(default_factory=dict)

    def news(self) -> list[str]:
        """Return one line for each thing that was said since the last call."""
        lines = []
        for seq, n, _at, kind, body in self.effects(after=self._told):
            self._told = (seq, n)
            if kind == "AlarmRaised":
                lines.append(f"alarm {body['alarm']} ({body['kind']}): {body['because'][0]}")
            if kind == "IncidentOpened":
                lines.append(f"incident {body['incident']} opened in {body['zone']}")
        for ticket in self.tickets():
            number, state = ticket["number"], ticket["state"]
            if number not in self._tickets:
                lines.append(f"ticket {number} opened for {ticket['incident']}")
            elif self._tickets[number] != state:
                lines.append(f"ticket {number}: {state}")
            self._tickets[number] = state
        return lines

    def effects(self, *, after: tuple[int, int] = (0, 0)) -> list[Effect]:
        """Return the recorded effects after an identity, in order."""
        rows = _query(
            self.data / "server" / "journal.db",
            "SELECT seq, n, at, kind, body FROM effect WHERE (seq, n) > (?, ?) ORDER BY seq, n",
            after,
        )
        return [(seq, n, Instant(at), kind, json.loads(body)) for seq, n, at, kind, body in rows]

    def tickets(self) -> list[dict[str, Any]]:
        """Return the tickets as the page's own API gives them; none while it does not answer."""
        try:
            with urlopen(f"{self.page}api/v1/tickets", timeout=PAGE_TIMEOUT_S) as answer:  # noqa: S310  our own page
                found: list[dict[str, Any]] = json.load(answer)
        except (URLError, OSError, ValueError):
            return []
        return found

    def sent(self) -> tuple[int, int]:
        """Return the epoch of the gateway's log and how many samples it has taken in."""
        path = self.data / "gateway" / "outbox.db"
        state = dict(_query(path, "SELECT key, value FROM state"))
        last = _query(path, "SELECT COALESCE(MAX(first + n), 0) FROM row")
        if not state or not last:
            return 0, 0
        return int(state["epoch"]), max(int(state["head"]), int(last[0][0]))

    def held(self, epoch: int, below: int) -> tuple[int, int]:
        """Return how many of those samples are stored, and how many different ones."""
        try:
            from server.history.reader import Reader

            reader = Reader(self.data / "server" / "historian.db")
        except StorageError:
            return 0, 0
        with closing(reader):
            return reader.held(self.gateway, epoch, below=below)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The report as it is written, and what is wrong with it."""

    body: dict[str, Any]
    problems: tuple[str, ...]


async def compile_report(story: Story) -> Report:
    """Return what was sent, stored and said; samples under way get time to arrive."""
    epoch, sent = await asyncio.to_thread(story.sent)
    stored = distinct = 0
    for _ in range(DRAIN_S):
        stored, distinct = await asyncio.to_thread(story.held, epoch, sent)
        if distinct >= sent:
            break
        await asyncio.sleep(1)
    body: dict[str, Any] = {
        "broker": story.broker,
        "samples_sent": sent,
        "samples_stored": stored,
        "lost": sent - distinct,
        "duplicates": stored - distinct,
        "burst_at": story.burst_at,
        **await asyncio.to_thread(_dispatch, story),
    }
    problems = [f"{k}: expected 0, was {body[k]}" for k in ("lost", "duplicates") if body[k]]
    if sent == 0:
        problems.append("samples_sent: expected some, was 0")
    if story.burst_at is not None and body["ticket_id"] is None:
        problems.append("ticket_id: expected a ticket for the burst, found none")
    if story.burst_at is None and body["ticket_id"] is not None:
        problems.append(f"ticket_id: expected none without a burst, was {body['ticket_id']}")
    return Report(body=body, problems=tuple(problems))


def _dispatch(story: Story) -> dict[str, Any]:
    """Return the alarm, incident and ticket that followed the burst, or the first ones without."""
    since = story.burst_at or Instant(0)
    effects = [(kind, at, body) for _seq, _n, at, kind, body in story.effects() if at >= since]
    alarm_at = next((at for kind, at, _ in effects if kind == "AlarmRaised"), None)
    tickets = [t for t in story.tickets() if t["created_at"] >= since]
    ticket = min(tickets, key=lambda t: t["created_at"], default=None)
    sent_to = next(
        (
            body
            for kind, _, body in effects
            if kind == "DispatchRequested" and ticket and body["incident"] == ticket["incident"]
        ),
        None,
    )
    return {
        "alarm_at": alarm_at,
        "incident_id": ticket and ticket["incident"],
        "ticket_id": ticket and ticket["number"],
        "ticket_at": ticket and ticket["created_at"],
        "zone": ticket and ticket["zone"],
        "located_m": _distance(sent_to, story.burst),
    }


def _distance(sent_to: dict[str, Any] | None, burst: dict[str, Any]) -> float | None:
    if sent_to is None or sent_to["x"] is None or "x" not in burst:
        return None
    return round(math.hypot(sent_to["x"] - burst["x"], sent_to["y"] - burst["y"]), 1)


def _query(path: Path, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the rows of a file that another process writes; none before it exists."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
            return db.execute(sql, values).fetchall()
    except sqlite3.OperationalError:
        return []
