"""The door: stamp, journal, apply, hand on the effects. Nobody else calls the engine.

The order never changes: events are on disk first, then the engine sees them, then recorded effects
are on disk, and only then does anything leave (acknowledgements, wake-ups). Samples go on to the
historian, which follows at its own pace. Recovery is the same fold over what the journal holds
after the newest state that is kept; a checkpoint is a cache, and deleting it changes nothing but
the time that a start takes.
"""

import logging
import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from server.engine import essentials
from server.engine.effects import Accepted, AckDue, Effect, QualityMarked, RebirthDue
from server.engine.engine import Engine
from server.engine.events import Event, Imported, RegistryChanged
from server.engine.registry import Registry
from server.engine.training import Period
from server.history.historian import Historian, Part
from server.intake.checkpoint import State, read_checkpoint, write_checkpoint
from server.intake.history_feed import HistoryFeed
from server.intake.journal import Derived, Journal
from server.intake.segments import Snapshot
from telemetry.errors import StorageError
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, Clock, Instant

log = logging.getLogger("mainwatch.intake")

Unstamped = Callable[[Instant], Event]
"""An event that only lacks its instant."""

CHECKPOINT_EVERY_MS = 10 * MINUTE_MS
RECOVERY_STEP = 2_000
"""Events applied per transaction of a recovery: bounds its memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """What a batch of events lets out: passing effects, and how far recorded ones go."""

    acks: tuple[AckDue, ...]
    rebirths: tuple[RebirthDue, ...]
    recorded: int
    through: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRule:
    """When a segment is sealed, and what is kept of the past."""

    segment_bytes: int = 64_000_000
    segment_ms: int = 24 * HOUR_MS
    keep_ms: int = 400 * DAY_MS
    keep_bytes: int = 20_000_000_000
    effects_ms: int = 3_650 * DAY_MS


class Door:
    """Journal, engine and historian as one."""

    def __init__(
        self,
        *,
        journal: Journal,
        historian: Historian,
        host_id: str,
        version: str,
        checkpoint: Path,
        clock: Clock,
        rule: JournalRule | None = None,
    ) -> None:
        self._journal = journal
        self._host_id = host_id
        self._code = f"{version} {host_id}"
        self._checkpoint = checkpoint
        self._clock = clock
        self._rule = rule or JournalRule()
        self._checkpoint_at = Instant(0)
        self._admitted_ms = clock.monotonic_ms()
        self._is_broken = False
        self._lock = Lock()
        """One at a time: whoever cancels an admission still waits for it before closing."""
        self._upkeep = Lock()
        """One seal or checkpoint at a time; admissions go on meanwhile."""
        historian.follow(journal.uuid, last_seq=journal.last_seq)
        self._history = HistoryFeed(historian)
        try:
            self._engine = self._recover()
        except BaseException:
            self._history.close()
            raise

    @property
    def registry(self) -> Registry:
        """Return the registry as the engine knows it."""
        return self._engine.registry

    @property
    def clean(self) -> dict[str, Period]:
        """Return the periods that engineers chose for zones to be learnt from."""
        return dict(self._engine.training.clean)

    def wait_for_history(self) -> None:
        """Return once the historian has what was admitted so far. Raises `StorageError`."""
        with self._lock:
            if self._is_broken:
                raise StorageError("the journal could not be written; its history is not whole")
            seq = self._journal.last_seq
        self._history.wait_for(seq)

    def now(self) -> Instant:
        """Return the instant of what is admitted now; it never goes back, restarts included.

        When the machine's clock is set back, our time goes on at half speed until it is caught up
        with: ticks must not stop, as silence is noticed on them.
        """
        passed_ms = self._clock.monotonic_ms() - self._admitted_ms
        assert passed_ms >= 0, passed_ms
        return Instant(max(self._clock.now(), self._journal.last_at + passed_ms // 2))

    def admit(self, batch: Sequence[Unstamped]) -> Outgoing:
        """Take in a batch: all of it is committed when this returns.

        Raises `StorageError` when the disk refuses; the process must then stop, as the engine may
        have seen what is not recorded.
        """
        with self._lock:
            at = self.now()
            self._admitted_ms = self._clock.monotonic_ms()
            events = [make(at) for make in batch]
            try:
                first = self._journal.append(events)
                return self._apply(list(enumerate(events, first)))
            except BaseException:
                self._is_broken = True
                raise

    def keep(self) -> None:
        """Seal the open segment and write a checkpoint, each when it is due; prune the past.

        Admissions go on meanwhile. Raises `StorageError` when the disk refuses.
        """
        now = self._clock.now()
        rule = self._rule
        since = self._journal.open_since
        is_old = since is not None and now - since >= rule.segment_ms
        if is_old or self._journal.open_bytes >= rule.segment_bytes:
            self.seal()
            for path in self._journal.prune(
                before=Instant(now - rule.keep_ms),
                bytes_max=rule.keep_bytes,
                through=self._history.through,
            ):
                log.info("journal: %s is pruned, as the rule of the configuration says", path.name)
            with self._lock:
                self._journal.prune_effects(before=Instant(now - rule.effects_ms))
        if now - self._checkpoint_at >= CHECKPOINT_EVERY_MS:
            self._checkpoint_at = now
            self.checkpoint()

    def seal(self) -> None:
        """Seal what the open segment holds now; the next one begins with the engine as it is."""
        with self._upkeep:
            with self._lock:
                if self._journal.open_since is None:
                    return
                self._journal.settle()
                snapshot = self._snapshot()
            done = self._journal.seal(snapshot.seq)
            with self._lock:
                self._journal.sealed(done, snapshot)

    def checkpoint(self) -> None:
        """Write the engine as it is now, once the historian has all that led to it."""
        with self._upkeep:
            with self._lock:
                self._journal.settle()
                seq, body = self._journal.last_seq, pickle.dumps(self._engine, protocol=5)
            self._history.wait_for(seq)
            write_checkpoint(
                self._checkpoint,
                State(journal=self._journal.uuid, seq=seq, code=self._code, engine=body),
            )

    def close(self) -> None:
        """Write a last checkpoint, unless the disk had refused, and close the files."""
        try:
            if not self._is_broken:
                self.checkpoint()
        finally:
            with self._upkeep, self._lock:
                self._history.close()
                self._journal.close()

    def _apply(self, numbered: Sequence[tuple[int, Event]]) -> Outgoing:
        if not numbered:
            return Outgoing(acks=(), rebirths=(), recorded=0, through=self._journal.last_seq)
        written = self._history.through
        known = self._journal.effects_through
        samples: list[Part] = []
        derived: list[Derived] = []
        passing: list[Effect] = []
        answers = self._engine.run([event for _, event in numbered])
        for (seq, event), effects in zip(numbered, answers, strict=True):
            n = 0
            if isinstance(event, Imported | RegistryChanged) and seq > written:
                samples.append(event)
            if seq > written:
                samples += [e for e in effects if isinstance(e, Accepted | QualityMarked)]
            for effect in effects:
                if isinstance(effect, AckDue | RebirthDue):
                    passing.append(effect)
                elif not isinstance(effect, Accepted):
                    if seq > known:
                        derived.append(Derived(seq=seq, n=n, effect=effect))
                    n += 1
        through = numbered[-1][0]
        self._journal.record(derived, through=max(through, known))
        if through > written:
            self._history.put(samples, through=through)
        return Outgoing(
            acks=tuple({(e.group, e.edge): e for e in passing if isinstance(e, AckDue)}.values()),
            rebirths=tuple(
                {(e.group, e.edge): e for e in passing if isinstance(e, RebirthDue)}.values()
            ),
            recorded=len(derived),
            through=through,
        )

    def _recover(self) -> Engine:
        """Return the engine after everything that the journal holds."""
        applied, self._engine = self._newest_state()
        for step in _steps(self._journal.read(after=applied), RECOVERY_STEP):
            self._apply(step)
        return self._engine

    def _newest_state(self) -> tuple[int, Engine]:
        """Return the newest state that this code understands and no projection is behind.

        Where there is none: the essentials of the oldest snapshot, and all that has been kept since
        is applied again; without a snapshot that is everything.
        """
        reached = min(self._journal.effects_through, self._history.through)
        held = read_checkpoint(self._checkpoint, self._journal.uuid)
        if held is not None and held.code == self._code:
            if held.seq <= reached:
                engine: Engine = pickle.loads(held.engine)  # noqa: S301  our own file
                return held.seq, engine
            self._checkpoint.unlink()  # of what a restored journal no longer has
        oldest = None
        for snapshot in self._journal.snapshots():
            oldest = snapshot
            if snapshot.code == self._code and snapshot.seq <= reached:
                break
        fresh = Engine(host_id=self._host_id)
        if oldest is None or oldest.seq == 0:
            return 0, fresh
        if oldest.code == self._code:
            engine = pickle.loads(oldest.engine)  # noqa: S301  our own file
            return oldest.seq, engine
        try:
            essentials.read(oldest.essentials, fresh, at=oldest.at)
        except (ValueError, KeyError, TypeError) as e:
            raise StorageError(
                f"the journal before event {oldest.seq + 1} was kept by newer code than this: {e}"
            ) from e
        log.info("code of another version kept the journal: starting after event %d", oldest.seq)
        return oldest.seq, fresh

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            seq=self._journal.last_seq,
            at=self._journal.last_at,
            code=self._code,
            essentials=essentials.write(self._engine),
            engine=pickle.dumps(self._engine, protocol=5),
        )


def _steps(
    numbered: Iterable[tuple[int, Event]], size: int
) -> Iterable[Sequence[tuple[int, Event]]]:
    step: list[tuple[int, Event]] = []
    for item in numbered:
        step.append(item)
        if len(step) == size:
            yield step
            step = []
    yield step
