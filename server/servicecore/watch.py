"""What happens by the clock: limits that pass, the month's archive and figures, the chain's head.

A head kept elsewhere makes it evident when the end of the trail was cut off or written anew, which
the chain alone cannot show.
"""

import asyncio
import json
import logging
import os
from pathlib import Path

from server.servicecore.desk import Desk
from server.servicecore.rules.calendar import civil
from telemetry.errors import StorageError
from telemetry.instant import MINUTE_MS, Clock, Instant

log = logging.getLogger("mainwatch.desk")

EVERY_MS = MINUTE_MS
"""How often limits are looked at; they are in minutes (微机系统将自动精确到分)."""


class Watch:
    """Looks at limits and at what is due for the archive; exports the head on each local day."""

    def __init__(self, desk: Desk, heads: Path, *, clock: Clock) -> None:
        self._desk = desk
        self._heads = heads
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until told to stop."""
        async with asyncio.TaskGroup() as group:
            work = group.create_task(self._keep_watching())
            await stop.wait()
            work.cancel()

    async def _keep_watching(self) -> None:
        while True:
            await self.look()
            await self._clock.sleep_until(Instant(self._clock.now() + EVERY_MS))

    async def look(self) -> None:
        """Do once what is due now."""
        for ticket, clock in await self._desk.orders.watch():
            log.info("%s has passed its limit %s", ticket, clock)
        for alarm in await self._desk.cases.end_shelves():
            log.info("the shelf of %s has ended", alarm)
        if late := await self._desk.arrears.watch():
            log.info("the messages about arrears of %s are late", late)
        calendar = self._desk.ground.book.calendar
        today = calendar.day(self._clock.now())
        month = calendar.instant(today - civil(today)[2] + 1, 0)
        for ticket in await self._desk.orders.archive_due(before=month):
            log.info("%s of a month that is over is archived", ticket)
        if frozen := await self._desk.frozen.freeze_due():
            log.info("the figures of %s are frozen", frozen)
        last = await asyncio.to_thread(last_head, self._heads)
        if last is None or calendar.day(last[0]) < today:
            seq, found = await self._desk.trail_head()
            line = {"at": self._clock.now(), "seq": seq, "hash": found}
            await asyncio.to_thread(_append, self._heads, json.dumps(line))


def last_head(path: Path) -> tuple[int, int, str] | None:
    """Return (at, seq, hash) of the newest exported head, or None before the first."""
    found = read_heads(path) if path.exists() else []
    return found[-1] if found else None


def read_heads(path: Path) -> list[tuple[int, int, str]]:
    """Return every exported head as (at, seq, hash). Raises `StorageError`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        bodies = [json.loads(line) for line in lines if line.strip()]
        return [(int(b["at"]), int(b["seq"]), str(b["hash"])) for b in bodies]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise StorageError(f"{path}: expected a line of JSON for each head: {e}") from e


def _append(path: Path, line: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as e:
        raise StorageError(f"{path}: the chain's head cannot be written: {e}") from e
