"""Between reading and the disk: scans are stamped, judged, thinned; a second is one commit."""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import replace

from gateway.clock_sync import Anchor, ClockSync
from gateway.core.device import Scan
from gateway.core.edge_session import EdgeSession
from gateway.core.report_by_exception import ReportByException
from gateway.core.rows import merged
from gateway.core.sanity import Sanity
from gateway.outbox import OneThread, Outbox
from gateway.watchdog import Progress
from telemetry.point import PointId

log = logging.getLogger("mainwatch.gateway")

COMMIT_S = 1.0
"""All scans of a second are one commit: a power cut loses no more than that."""

COMMIT_SAMPLES = 12_000
"""With so many waiting a commit comes earlier, so that memory stays small."""

PATIENCE_MS = 30_000
"""A commit that takes longer than this hangs."""


class Store:
    """The one way of scans to the disk."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        thread: OneThread,
        session: EdgeSession,
        clock: ClockSync,
        sanity: Sanity,
        reporting: ReportByException,
        watched: Collection[PointId],
        wake: Callable[[], None],
        progress: Progress,
        scans_max: int,
    ) -> None:
        """`watched` are the points that `sanity` or `reporting` know."""
        self._outbox = outbox
        self._thread = thread
        self._session = session
        self._clock = clock
        self._sanity = sanity
        self._reporting = reporting
        self._watched = frozenset(watched)
        self._wake = wake
        self._progress = progress
        self._queue: asyncio.Queue[Scan] = asyncio.Queue(scans_max)
        self._waiting = 0
        self._is_ending = False
        self._hurry = asyncio.Event()
        """Set when it is time to commit before the second is over."""
        self._fails = False
        self._anchor: Anchor | None = None

    async def put(self, scan: Scan) -> None:
        """Take a scan; wait while there is no room. Nothing that is news is left out."""
        scan = self._clock.stamp(scan)
        if self._watched:
            scan = self._examined(scan)
        if scan.samples or scan.counters or scan.alive is not None:
            await self._queue.put(scan)
            self._waiting += len(scan.samples)
            if self._waiting >= COMMIT_SAMPLES:
                self._hurry.set()

    def end(self) -> None:
        """Commit what is there and end `run`."""
        self._is_ending = True
        self._hurry.set()

    async def run(self) -> None:
        """Commit once a second until `end`. Raises `StorageError` when the file is damaged."""
        scans: list[Scan] = []
        while True:
            self._progress.beat("outbox", self._clock.monotonic_ms() + PATIENCE_MS)
            await self._pause()
            ending = self._is_ending
            await self._synchronise()
            self._waiting = 0
            while len(scans) < self._queue.maxsize and not self._queue.empty():
                scans.append(self._queue.get_nowait())
            scans = merged(scans)
            if scans and await self._commit(scans):
                scans = []
            if ending:
                if scans:
                    log.error("the last %d scans could not be stored", len(scans))
                return

    def _examined(self, scan: Scan) -> Scan:
        kept = []
        for read in scan.samples:
            sample = read
            if read.point in self._watched:
                monotonic_ms = read.at - scan.base_ms
                sample = self._sanity.judge(read, monotonic_ms=monotonic_ms)
                if not self._reporting.is_news(sample, monotonic_ms=monotonic_ms):
                    continue
            kept.append(sample)
        return replace(scan, samples=tuple(kept))

    async def _pause(self) -> None:
        """Wait for the next commit."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COMMIT_S):
                await self._hurry.wait()
        self._hurry.clear()

    async def _synchronise(self) -> None:
        """Look after the clock; an anchor that finds no room on the disk is tried again."""
        self._anchor = self._clock.follow() or self._anchor
        anchor = self._anchor
        if anchor is None:
            return
        note, at_ms, base_ms = self._outbox.synchronised, anchor.monotonic_ms, anchor.base_ms
        try:
            await self._thread(note, monotonic_ms=at_ms, base_ms=base_ms)
        except sqlite3.OperationalError as e:
            self._note(fails=True, because=str(e))
        else:
            self._anchor = None

    async def _commit(self, scans: list[Scan]) -> bool:
        """Commit scans and tell the session; say whether it worked."""
        outbox = self._outbox
        try:
            firsts = await self._thread(outbox.append, scans)
        except sqlite3.OperationalError as e:  # a full disk may have room again
            self._note(fails=True, because=str(e))
            return False
        self._note(fails=False, because="")
        self._session.stored(scans, firsts, head=outbox.head, tail=outbox.tail)
        self._wake()
        return True

    def _note(self, *, fails: bool, because: str) -> None:
        if fails and not self._fails:
            log.warning("the outbox cannot store, polls wait: %s", because)
        elif self._fails and not fails:
            log.info("the outbox stores again")
        self._fails = fails
