"""The door: stamp, journal, apply, hand on the effects. Nobody else calls the engine.

The order never changes: events are on disk first, then the engine sees them, then samples and
recorded effects are on disk, and only then does anything leave (acknowledgements, wake-ups).
Recovery is the same fold over what the journal holds after the newest checkpoint; a checkpoint is a
cache, and deleting it changes nothing but the time that a start takes.
"""

import hashlib
import os
import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from server.engine.effects import Accepted, AckDue, Effect, RebirthDue
from server.engine.engine import Engine
from server.engine.events import Event, Imported, RegistryChanged
from server.engine.registry import Registry
from server.history.historian import Historian, Part
from server.intake.journal import Derived, Journal
from telemetry.errors import StorageError
from telemetry.instant import MINUTE_MS, Clock, Instant

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
    ) -> None:
        self._journal = journal
        self._historian = historian
        self._host_id = host_id
        self._version = version
        self._checkpoint = checkpoint
        self._clock = clock
        self._checkpoint_at = Instant(0)
        self._admitted_ms = clock.monotonic_ms()
        self._lock = Lock()
        """One at a time: whoever cancels an admission still waits for it before closing."""
        historian.follow(journal.uuid, last_seq=journal.last_seq)
        self._engine = self._recover()

    @property
    def registry(self) -> Registry:
        """Return the registry as the engine knows it."""
        return self._engine.registry

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
            first = self._journal.append(events)
            out = self._apply(list(enumerate(events, first)))
            if at - self._checkpoint_at >= CHECKPOINT_EVERY_MS:
                self._checkpoint_at = at
                self._write_checkpoint()
            return out

    def close(self) -> None:
        """Write a last checkpoint and close the files."""
        with self._lock:
            self._write_checkpoint()
            self._journal.close()
            self._historian.close()

    def _apply(self, numbered: Sequence[tuple[int, Event]]) -> Outgoing:
        if not numbered:
            return Outgoing(acks=(), rebirths=(), recorded=0, through=self._journal.last_seq)
        written = self._historian.through
        known = self._journal.effects_through
        samples: list[Part] = []
        derived: list[Derived] = []
        passing: list[Effect] = []
        for seq, event in numbered:
            n = 0
            if isinstance(event, Imported | RegistryChanged) and seq > written:
                samples.append(event)
            for effect in self._engine.apply(event):
                if isinstance(effect, Accepted):
                    if seq > written:
                        samples.append(effect)
                elif isinstance(effect, AckDue | RebirthDue):
                    passing.append(effect)
                else:
                    if seq > known:
                        derived.append(Derived(seq=seq, n=n, effect=effect))
                    n += 1
        through = numbered[-1][0]
        self._historian.write(samples, through=max(through, written))
        self._journal.record(derived, through=max(through, known))
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
        applied, self._engine = self._read_checkpoint()
        for step in _steps(self._journal.read(after=applied), RECOVERY_STEP):
            self._apply(step)
        return self._engine

    def _read_checkpoint(self) -> tuple[int, Engine]:
        fresh = (0, Engine(host_id=self._host_id))
        try:
            head, _, body = self._checkpoint.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return fresh
        except OSError as e:
            raise StorageError(f"{self._checkpoint}: cannot be read: {e}") from e
        if head.decode(errors="replace") != self._identity(body):
            return fresh
        applied, engine = pickle.loads(body)  # noqa: S301  our own file, in a folder of ours alone
        if applied > min(self._journal.effects_through, self._historian.through):
            self._checkpoint.unlink()  # of what a restored journal no longer has
            return fresh
        return applied, engine

    def _write_checkpoint(self) -> None:
        body = pickle.dumps((self._journal.last_seq, self._engine), protocol=5)
        fresh = self._checkpoint.with_suffix(".new")
        try:
            with fresh.open("wb") as file:
                file.write(self._identity(body).encode() + b"\n" + body)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._checkpoint)
        except OSError as e:
            raise StorageError(f"{self._checkpoint}: cannot be written: {e}") from e

    def _identity(self, body: bytes) -> str:
        """Return what must match before a checkpoint is believed."""
        digest = hashlib.sha256(body).hexdigest()
        return f"{self._version} {self._host_id} {self._journal.uuid} {digest}"


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
