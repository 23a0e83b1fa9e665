"""The outbox: every scan on disk, once and in order, until the server has committed it.

An SQLite file in WAL mode with `synchronous=FULL`: what `append` returned from survives a power
cut. Offsets count samples and are never used twice within an epoch; a new file is a new epoch.
What was acknowledged stays as a ring until its space is needed, so that a server restored from a
backup can have it again. When the ring is full, acknowledged rows go first; then the oldest are
shed, counted, and the tail, which the server is told, moves up.

Every row knows its boot and what wall time was ahead of the boot's clock. Rows whose instants are
doubtful are read with corrected ones as soon as the boot has an anchor: the true base. Their order
is that of their offsets, whatever the clock said.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from gateway.core.device import BornMetric, Scan
from gateway.core.pulse import CounterState
from gateway.core.rows import (
    Layout,
    Row,
    corrected,
    layout_from_json,
    layout_to_json,
    pack,
    unpack,
)
from gateway.outbox_file import BDSEQ_TURN, connect, lock
from telemetry.errors import ConfigError, StorageError
from telemetry.instant import Instant
from telemetry.point import PointId
from telemetry.sample import Reason, Sample, TimeQuality

log = logging.getLogger("mainwatch.gateway.outbox")

P = ParamSpec("P")
T = TypeVar("T")

TIDY_COMMITS = 60
TIDY_BYTES = 1_000_000
"""State is written and space is made every so many commits or bytes: the cost of a commit is the
pages it touches. What a crash forgets of the acknowledgement is sent twice and dropped there."""

TRIM_ROWS = 256

LIVE_SAMPLES = 6_000
"""So many samples that were just stored need not be read back to be sent: some 1 MB."""

_READ = """
SELECT first, n, at, layout, body, boot, base FROM row WHERE first >= coalesce(
  (SELECT iif(first + n > :offset, first, :offset) FROM
    (SELECT first, n FROM row WHERE first <= :offset ORDER BY first DESC LIMIT 1)), :offset)
ORDER BY first LIMIT :rows
"""


class OneThread:
    """The one thread that touches the file, so that a slow disk never holds up polling."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox")

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do `work` in the thread and return what it returns."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: work(*args, **kwargs))

    def close(self) -> None:
        """Wait for the work at hand and end the thread."""
        self._thread.shutdown()


class Outbox:
    """One gateway's log. Every method belongs to one thread; the attributes may be read by any."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        births: Mapping[str, tuple[BornMetric, ...]],
        boot: str,
    ) -> None:
        """Open the outbox in `folder`, which must exist, in the boot of that name.

        Raises `ConfigError`.
        """
        self._births = {device: {m.point: m for m in births[device]} for device in births}
        self._max_bytes = max_bytes
        self._lock = lock(folder)
        self.moved_aside = False
        try:
            self._db = self._open(folder / "outbox.db")
        except BaseException:
            self._lock.close()
            raise
        state: dict[str, int] = dict(self._db.execute("SELECT key, value FROM state"))
        self.epoch = state["epoch"]
        self.acked = state["acked"]
        self.was_acknowledged = bool(state["was_acknowledged"])
        self.shed_samples = state["shed_samples"]
        self._bdseq = state["bdseq"]
        last = self._one(
            "SELECT max(first + n) FROM row WHERE first = (SELECT max(first) FROM row)"
        )
        self.head = max(state["head"], last or 0)
        self.tail = self._find_tail()
        self._layout_ids: dict[tuple[str, tuple[PointId, ...]], int] = {}
        self._layout: dict[int, Layout] = {}
        for id_, device, metrics in self._db.execute("SELECT id, device, metrics FROM layout"):
            layout = layout_from_json(device, metrics)
            self._layout[id_] = layout
            if all(self._births.get(device, {}).get(m.point) == m for m in layout.metrics):
                self._layout_ids[device, tuple(m.point for m in layout.metrics)] = id_
        self._boot = self._note_boot(boot)
        self._anchors: dict[int, list[tuple[int, int]]] = {}
        found = "SELECT boot, monotonic, base FROM anchor ORDER BY boot, monotonic"
        for id_, monotonic_ms, base_ms in self._db.execute(found):
            self._anchors.setdefault(id_, []).append((monotonic_ms, base_ms))
        self._live: dict[int, Row] = {}
        self._live_samples = 0
        self._commits = 0
        self._bytes = 0
        self._is_shedding = False
        self._is_busy = False

    def counters(self) -> dict[PointId, CounterState]:
        """Return where every counter stood at the last commit."""
        found = self._db.execute("SELECT point, base, raw, at FROM counter")
        return {
            PointId(p): CounterState(point=PointId(p), base=base, raw=raw, at=Instant(at))
            for p, base, raw, at in found
        }

    def append(self, scans: Sequence[Scan]) -> list[int]:
        """Commit scans with their counters; return the offset of each one's first sample.

        Raises `sqlite3.OperationalError` when the disk is full or busy: then nothing has changed
        and the same scans may be tried again; `StorageError` when the file is damaged.
        """
        firsts: list[int] = []
        fresh: dict[tuple[str, tuple[PointId, ...]], int] = {}
        head = self.head
        size = 0
        rows: list[Row] = []
        with self._transaction():
            for scan in scans:
                firsts.append(head)
                if not scan.samples:  # nothing to report, but where the counters stand
                    continue
                body = pack(scan.samples)
                layout = self._layout_of(scan, fresh)
                n, at = len(scan.samples), scan.samples[0].at
                row = (head, n, at, layout, body, self._boot, scan.base_ms)
                self._db.execute("INSERT INTO row VALUES (?, ?, ?, ?, ?, ?, ?)", row)
                rows.append(Row(first=head, layout=self._layout[layout], samples=scan.samples))
                head += n
                size += len(body)
            states = {c.point: c for scan in scans for c in scan.counters}
            self._db.executemany(
                "INSERT OR REPLACE INTO counter VALUES (?, ?, ?, ?)",
                [(c.point, c.base, c.raw, c.at) for c in states.values()],
            )
        self.head = head
        self._layout_ids.update(fresh)
        self._remember(rows)
        self._commits += 1
        self._bytes += size
        if self._commits >= TIDY_COMMITS or self._bytes >= TIDY_BYTES:
            self.tidy()
        return firsts

    def read(self, offset: int, *, rows: int) -> list[Row]:
        """Return up to `rows` rows from the one that holds `offset` on. Raises `StorageError`."""
        self._forget_below(offset)  # it has been sent
        live: list[Row] = []
        while len(live) < rows and (row := self._live.get(offset)) is not None:
            live.append(row)
            offset = row.end
        if live:
            return live
        try:
            found = self._db.execute(_READ, {"offset": offset, "rows": rows}).fetchall()
        except sqlite3.DatabaseError as e:
            raise StorageError(f"the outbox cannot be read: {e}") from e
        return [
            self._row(first, n, Instant(at), layout, body, boot=boot, base_ms=base_ms)
            for first, n, at, layout, body, boot, base_ms in found
        ]

    def _remember(self, rows: Sequence[Row]) -> None:
        """Keep what was just stored for the one who sends it next; the disk has it all."""
        for row in rows:
            if row.samples[0].time_quality is not TimeQuality.DOUBTFUL:
                self._live[row.first] = row
                self._live_samples += len(row.samples)
        while self._live_samples > LIVE_SAMPLES:
            self._forget_below(next(iter(self._live)) + 1)

    def _forget_below(self, offset: int) -> None:
        while self._live and (oldest := next(iter(self._live))) < offset:
            self._live_samples -= len(self._live.pop(oldest).samples)

    def synchronised(self, *, monotonic_ms: int, base_ms: int) -> None:
        """Note the true base of what this boot read up to `monotonic_ms`: its clock is right now.

        Raises `sqlite3.OperationalError` when the disk is full or busy.
        """
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO anchor VALUES (?, ?, ?)",
                (self._boot, monotonic_ms, base_ms),
            )
        self._anchors.setdefault(self._boot, []).append((monotonic_ms, base_ms))

    def acknowledge(self, offset: int) -> None:
        """Note that the server has committed every sample below `offset`."""
        assert offset <= self.head, (offset, self.head)
        self.acked = max(self.acked, offset)
        if not self.was_acknowledged:
            self.was_acknowledged = True
            self._save()

    def rewind(self, offset: int) -> int:
        """Take an acknowledgement back as far as rows are held; return where to begin again."""
        self.acked = max(min(offset, self.acked), self.tail)
        self._save()
        return self.acked

    def next_bdseq(self) -> int:
        """Return the birth-death number of the next connection, having written it down."""
        self._bdseq = (self._bdseq + 1) % BDSEQ_TURN
        self._save()
        return self._bdseq

    def tidy(self) -> None:
        """Write down what only memory knows and make space when the ring is full.

        What cannot be done now, for want of disk, is tried again at the next commit.
        """
        try:
            with self._transaction():
                shed = self._trim()
                self._write_state(shed_samples=self.shed_samples + shed)
        except sqlite3.OperationalError as e:
            self._note_busy(e)
            return
        self._note_busy(None)
        self._commits = 0
        self._bytes = 0
        self.shed_samples += shed
        self.tail = self._find_tail()
        self.acked = max(self.acked, self.tail)
        self._forget_below(self.tail)
        if bool(shed) != self._is_shedding:
            self._is_shedding = bool(shed)
            log.warning(
                "the outbox is full: the oldest samples that nobody has acknowledged are shed"
                if shed
                else "the outbox sheds no more; %d samples were lost so far",
                *([] if shed else [self.shed_samples]),
            )

    def close(self) -> None:
        """Write the state down and close the file."""
        try:
            self._save()
        finally:
            self._db.close()
            self._lock.close()

    def _open(self, path: Path) -> sqlite3.Connection:
        try:
            return connect(path)
        except sqlite3.OperationalError as e:
            raise ConfigError(f"gateway.data: {path} cannot be opened: {e}") from e
        except sqlite3.DatabaseError as e:
            n = 1
            while (aside := path.with_name(f"outbox.damaged-{n}.db")).exists():
                n += 1
            log.error("%s is damaged (%s): moved to %s, a new one begins", path, e, aside.name)  # noqa: TRY400  the text says it all
            self.moved_aside = True
            for suffix in ("", "-wal", "-shm"):
                if (part := Path(f"{path}{suffix}")).exists():
                    part.rename(f"{aside}{suffix}")
            return connect(path)

    def _layout_of(self, scan: Scan, fresh: dict[tuple[str, tuple[PointId, ...]], int]) -> int:
        one = len(scan.samples) // scan.polls
        key = scan.device, tuple([s.point for s in scan.samples[:one]])
        known = self._layout_ids.get(key) or fresh.get(key)
        if known is not None:
            return known
        metrics = self._births[scan.device]
        layout = Layout(device=scan.device, metrics=tuple(metrics[p] for p in key[1]))
        added = self._db.execute(
            "INSERT INTO layout(device, metrics) VALUES (?, ?)",
            (layout.device, layout_to_json(layout)),
        )
        id_ = added.lastrowid
        assert id_
        fresh[key] = id_
        self._layout[id_] = layout
        return id_

    def _note_boot(self, name: str) -> int:
        """Return the number of a boot, and forget the boots that no row speaks of any more."""
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO boot(name) VALUES (?)", (name,))
            gone = "(SELECT min(boot) FROM row WHERE boot > 0)"
            self._db.execute(f"DELETE FROM boot WHERE name != ? AND id < {gone}", (name,))  # noqa: S608  our text
            self._db.execute("DELETE FROM anchor WHERE boot NOT IN (SELECT id FROM boot)")
        (number,) = self._db.execute("SELECT id FROM boot WHERE name = ?", (name,)).fetchone()
        return int(number)

    def _row(
        self, first: int, n: int, at: Instant, layout: int, body: bytes, *, boot: int, base_ms: int
    ) -> Row:
        scan = [m.point for m in self._layout[layout].metrics]
        points = scan * (n // len(scan))
        try:
            samples = unpack(body, points)
        except StorageError as e:
            log.error("offset %d: %s; its samples are sent as bad", first, e)  # noqa: TRY400  the text says it all
            samples = tuple(Sample.bad(p, at, Reason.UNKNOWN) for p in points)
        for monotonic_ms, true_ms in self._anchors.get(boot, ()):
            if samples[0].at - base_ms <= monotonic_ms:
                samples = corrected(samples, true_ms - base_ms)
                break
        return Row(first=first, layout=self._layout[layout], samples=samples)

    def _trim(self) -> int:
        """Delete the oldest rows while the ring is too large; return how many samples are lost."""
        shed = 0
        while self._live_bytes() > self._max_bytes:
            oldest = self._db.execute(
                "SELECT first, n FROM row ORDER BY first LIMIT ?", (TRIM_ROWS,)
            ).fetchall()
            if len(oldest) < 2:  # the last row keeps the place of the head
                break
            done = [(first, n) for first, n in oldest if first + n <= self.acked]
            gone = done or oldest[: max(1, len(oldest) // 4)]
            self._db.execute("DELETE FROM row WHERE first <= ?", (gone[-1][0],))
            shed += sum(n for first, n in gone if first + n > self.acked)
        return shed

    def _live_bytes(self) -> int:
        pages = self._one("PRAGMA page_count") - self._one("PRAGMA freelist_count")
        size: int = self._one("PRAGMA page_size")
        return int(pages * size)

    def _find_tail(self) -> int:
        first = self._one("SELECT min(first) FROM row")
        return self.head if first is None else int(first)

    def _save(self) -> None:
        """Write the state; memory goes on without, and the next `tidy` tries again."""
        try:
            with self._transaction():
                self._write_state(shed_samples=self.shed_samples)
        except sqlite3.OperationalError as e:
            self._note_busy(e)
        else:
            self._note_busy(None)

    def _note_busy(self, error: sqlite3.OperationalError | None) -> None:
        if error is not None and not self._is_busy:
            log.warning("the state of the outbox cannot be written now: %s", error)
        self._is_busy = error is not None

    def _write_state(self, *, shed_samples: int) -> None:
        state = {
            "head": self.head,
            "acked": self.acked,
            "was_acknowledged": int(self.was_acknowledged),
            "bdseq": self._bdseq,
            "shed_samples": shed_samples,
        }
        self._db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", list(state.items()))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as e:
            raise StorageError(f"the outbox cannot be written: {e}") from e

    def _one(self, query: str) -> Any:
        return self._db.execute(query).fetchone()[0]
