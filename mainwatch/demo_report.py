"""What happened in a demo: read from the files and pages of the parts, as anybody could."""

import json
import math
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from telemetry.instant import Instant

DRAIN_S = 20
"""How long samples under way may take to arrive before they count as lost."""


@dataclass(slots=True, kw_only=True)
class Story:
    """What the demo itself knows: where the files are, and the burst it opened."""

    data: Path
    page: str
    broker: str = ""
    burst_at: Instant | None = None
    burst: dict[str, Any] = field(default_factory=dict)
    told: tuple[int, int] = (0, 0)

    def news(self) -> list[str]:
        """Return one line for each thing that the control room has said since the last call."""
        lines = []
        for seq, n, at, kind, body in self.effects(after=self.told):
            self.told = (seq, n)
            lines += _line(kind, {**body, "at": at})
        return lines

    def effects(
        self, *, after: tuple[int, int] = (0, 0)
    ) -> list[tuple[int, int, Instant, str, dict[str, Any]]]:
        """Return the recorded effects after an identity, in order."""
        path = self.data / "server" / "journal.db"
        rows = _query(
            path,
            "SELECT seq, n, at, kind, body FROM effect WHERE (seq, n) > (?, ?) ORDER BY seq, n",
            after,
        )
        return [(seq, n, Instant(at), kind, json.loads(body)) for seq, n, at, kind, body in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The report as it is written, and what is wrong with it."""

    body: dict[str, Any]
    problems: tuple[str, ...]


def compile_report(story: Story) -> Report:
    """Return the report of DESIGN §6."""
    sent, stored, distinct = _count(story)
    body: dict[str, Any] = {
        "broker": story.broker,
        "samples_sent": sent,
        "samples_stored": stored,
        "lost": sent - distinct,
        "duplicates": stored - distinct,
        "burst_at": story.burst_at,
        "alarm_at": None,
        "incident_id": None,
        "ticket_id": None,
        "ticket_at": None,
        "zone": None,
        "located_m": None,
    }
    problems = [
        f"{key}: expected 0, was {body[key]}" for key in ("lost", "duplicates") if body[key]
    ]
    return Report(body=body, problems=tuple(problems))
