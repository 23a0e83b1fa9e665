"""Weeks or years of the field, written straight to a recording, as fast as the machine can."""

import math
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from firmware_sim.config import SimConfig
from firmware_sim.core.events import Event
from firmware_sim.core.instruments import Instrument
from firmware_sim.core.truths import Label
from firmware_sim.field import Field
from firmware_sim.ledger import Column, Ledger
from firmware_sim.recording import Place, description
from telemetry.errors import ConfigError, RefusedCommand
from telemetry.instant import DAY_MS, HOUR_MS, SECOND_MS, Instant, bin_start
from telemetry.register_map import Form
from telemetry.sample import Reason

_BACKWARDS = 0.5
"""A counter that falls by more than half of its range has rolled over; by less, begun anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What is to be written: where, until when, how often; `story` is the name of a scenario."""

    folder: Path
    until: Instant
    cadence_ms: int
    story: str = ""
    with_marks: bool = False


def ends_at(config: SimConfig, now: Instant) -> Instant:
    """Return the last instant of the history that ends now."""
    return bin_start(now, config.history.cadence_s * SECOND_MS)


def begins_at(config: SimConfig, now: Instant) -> Instant:
    """Return the instant at which the plant must be to write the history that ends now."""
    return Instant(ends_at(config, now) - config.history.days * DAY_MS)


def prepare(folder: Path) -> None:
    """Make the folder of the recording. Raises `ConfigError` when it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as e:
        raise ConfigError(
            f"history.out: expected a folder that can be written, was {folder}: {e.strerror}"
        ) from e


def columns_of(instruments: Sequence[Instrument], *, with_flows: bool) -> list[Column]:
    """Return the columns of a ledger: a register each, and the flows derived from counters."""
    found = []
    for i in instruments:
        found.append(Column(point=i.point, register=i.register))
        if with_flows and i.flow_point is not None:
            found.append(Column(point=i.flow_point, register=None))
    return found


def write(
    config: SimConfig,
    field: Field,
    span: Span,
    *,
    label_of: Callable[[Event], Label],
    place_of: Place,
    is_stopped: Callable[[], bool],
    progress: Callable[[float], None] | None = None,
) -> None:
    """Move the field to the end of the span and write what its registers say on the way.

    An earlier recording in the folder is replaced. Returns early when `is_stopped` says so.
    Raises `ConfigError` when the folder cannot be written, or when an event cannot happen.
    """
    plant, cadence = field.plant, span.cadence_ms
    ledger = Ledger(
        span.folder,
        columns_of(plant.instruments, with_flows=True),
        label_of=label_of,
        with_reasons=span.with_marks,
        with_arrivals=span.with_marks,
    )
    field.witnesses.append(ledger)
    scribe = _Scribe(field, hours=cadence / HOUR_MS, until=span.until)
    first, told = plant.at, 0.0
    text: str | None = None
    try:
        if config.sim.network.suffix == ".inp":
            shutil.copyfile(config.sim.network, span.folder / "network.inp")
        while plant.at < span.until and not is_stopped():
            field.advance(Instant(plant.at + cadence), step_ms=cadence)
            values, marks, delays = scribe.rows()
            ledger.add(plant.at, values, marks=marks, delays=delays)
            if leaks := plant.leaks():
                ledger.flow(plant.at, leaks)
            done = (plant.at - first) / (span.until - first)
            if progress is not None and done >= told + 0.1:
                told = math.floor(done * 10) / 10
                progress(told)
        if not is_stopped():
            text = description(
                config,
                plant.instruments,
                first=Instant(first + cadence),
                last=span.until,
                cadence_ms=cadence,
                place_of=place_of,
                story=span.story,
                with_flows=True,
            )
        ledger.close(text)
    except RefusedCommand as e:
        raise ConfigError(f"{span.story or 'history'}: {e}") from e
    except OSError as e:
        raise ConfigError(f"history.out: cannot write into {span.folder}: {e}") from e
    finally:
        field.witnesses.remove(ledger)


class _Scribe:
    """Turns what registers say into rows: flows out of counters, and what does not arrive."""

    def __init__(self, field: Field, *, hours: float, until: Instant) -> None:
        self._field = field
        self._hours = hours
        self._until = until
        self._instruments = field.plant.instruments
        self._totals: list[float | None] = list(field.readings())
        self._ranges = [_range(i) for i in self._instruments]

    def rows(self) -> tuple[list[float], Mapping[int, Reason], Mapping[int, Instant]]:
        """Return the values of all columns, which of them are none, and which arrive later."""
        field, at = self._field, self._field.plant.at
        is_whole, is_faulty = field.reach.is_whole, field.faults.is_faulty
        values: list[float] = []
        marks: dict[int, Reason] = {}
        delays: dict[int, Instant] = {}
        for n, (i, shown) in enumerate(zip(self._instruments, field.readings(), strict=True)):
            reason = Reason.NONE if is_whole else field.reach.reason(i.device, at)
            if reason is Reason.NONE and is_faulty(i.point):
                reason = self._doubt(n, shown)
            here = len(values)
            values.append(shown)
            if reason is not Reason.NONE:
                marks[here] = reason
            if i.flow_point is not None:
                flow, why = self._flow(n, shown, reason)
                values.append(flow)
                if why is not Reason.NONE:
                    marks[here + 1] = why
            if not is_whole:
                arrived = field.reach.arrives_at(i.device, at, end=self._until)
                if arrived != at:
                    delays |= dict.fromkeys(range(here, len(values)), arrived)
        return values, marks, delays

    def _doubt(self, n: int, shown: float) -> Reason:
        """Return why a gateway would not believe a faulty register."""
        low, high = self._ranges[n]
        if not math.isfinite(shown):
            return Reason.NOT_A_NUMBER
        return Reason.NONE if low <= shown <= high else Reason.OUT_OF_RANGE

    def _flow(self, n: int, total: float, reason: Reason) -> tuple[float, Reason]:
        """Return the mean flow since the last row, from the counter, or why there is none."""
        if reason is not Reason.NONE:
            self._totals[n] = None
            return 0.0, reason
        before, self._totals[n] = self._totals[n], total
        if before is None:
            return 0.0, Reason.FIRST_READING
        passed = total - before
        if passed < 0:
            register = self._instruments[n].register
            turns = register.rolls_over_at or 1 << 16 * register.form.words
            whole = turns * self._instruments[n].step
            if register.form in {Form.FLOAT32, Form.FLOAT64} or -passed < _BACKWARDS * whole:
                return 0.0, Reason.COUNTER_RESET
            passed += whole
        return passed / self._hours, Reason.NONE


def _range(instrument: Instrument) -> tuple[float, float]:
    """Return what a register can say, in the house unit."""
    r, unit = instrument.register, instrument.unit_size
    low = -math.inf if r.minimum is None else r.minimum * unit
    high = math.inf if r.maximum is None else r.maximum * unit
    slack = 1e-9 * max(abs(low), abs(high), 1.0) if math.isfinite(low + high) else 0.0
    return low - slack, high + slack
