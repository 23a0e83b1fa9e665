"""How the gateway is: told to Prometheus on loopback, and as metrics of the Sparkplug node."""

import asyncio
import contextlib
import math
import os
import resource
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.clock_sync import ClockSync
from gateway.core.edge_session import EdgeSession
from gateway.outbox import OneThread, Outbox
from telemetry.errors import ConfigError
from telemetry.instant import SECOND_MS

LOOK_S = 10.0
"""As often as the session reports."""

HOST = "127.0.0.1"
REQUEST_MAX = 4_096
REQUEST_S = 5.0

TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")
"""Of the processor, in thousandths of a degree; a machine without one has no temperature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineLoad:
    """How busy a line is: the share of its time that it needs, and the polls it had to skip."""

    name: str
    utilisation: float
    skipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Vital:
    """One figure; `name` ends in its unit, and in `total` when it only grows."""

    name: str
    value: float | None
    about: str
    line: str = ""

    @property
    def wire_name(self) -> str:
        """Return its name among the `mw/health/` metrics of the Sparkplug node."""
        return f"{self.line}/{self.name}" if self.line else self.name


class Health:
    """The figures as they were at the last look."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        thread: OneThread,
        session: EdgeSession,
        clock: ClockSync,
        folder: Path,
        lines: Callable[[], Iterable[LineLoad]],
        temperature: Path = TEMPERATURE,
    ) -> None:
        self.vitals: tuple[Vital, ...] = ()
        self._outbox = outbox
        self._thread = thread
        self._session = session
        self._clock = clock
        self._folder = folder
        self._lines = lines
        self._temperature = temperature

    async def look(self) -> None:
        """Look at everything once, and hand it to the session."""
        oldest_s, outbox_bytes, free_bytes = await self._thread(self._on_disk)
        session, outbox = self._session, self._outbox
        found = [
            Vital(
                name="backlog_samples",
                value=max(0, outbox.head - session.acked),
                about="Samples on the disk that the server has not acknowledged.",
            ),
            Vital(
                name="oldest_unsent_seconds",
                value=oldest_s,
                about="Age of the oldest sample that the server has not acknowledged.",
            ),
            Vital(
                name="stored_samples_total",
                value=outbox.head,
                about="Samples stored since the outbox began.",
            ),
            Vital(
                name="shed_samples_total",
                value=outbox.shed_samples,
                about="Samples that were lost because the outbox was full.",
            ),
            Vital(name="outbox_bytes", value=outbox_bytes, about="Size of the outbox on the disk."),
            Vital(name="disk_free_bytes", value=free_bytes, about="Free space beside the outbox."),
            Vital(
                name="temperature_celsius",
                value=self._degrees(),
                about="Temperature of the processor.",
            ),
            Vital(
                name="clock_synchronised",
                value=float(self._clock.is_synchronised),
                about="1 when the clock is disciplined, 0 when instants are doubtful.",
            ),
            Vital(
                name="connected",
                value=float(session.is_born),
                about="1 while the server takes what we send.",
            ),
            Vital(
                name="resident_memory_bytes",
                value=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                about="The most memory that the gateway has held.",
            ),
        ]
        for load in self._lines():
            found += (
                Vital(
                    name="line_utilisation_ratio",
                    value=round(load.utilisation, 2),
                    about="Share of its time that a line needs; above 1 it cannot keep up.",
                    line=load.name,
                ),
                Vital(
                    name="line_skipped_polls_total",
                    value=load.skipped,
                    about="Polls that a line had no time for.",
                    line=load.name,
                ),
            )
        self.vitals = tuple(found)
        session.vitals = {v.wire_name: v.value for v in found}

    async def run(self) -> None:
        """Look every so often until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    def summary(self) -> str:
        """Return how things are in one line, for the status of the unit."""
        said = {v.name: v.value for v in self.vitals if not v.line}
        connected = "connected" if said.get("connected") else "not connected, storing"
        clock = "" if said.get("clock_synchronised", 1) else ", clock not synchronised"
        return f"{connected}; {said.get('backlog_samples') or 0:.0f} samples waiting{clock}"

    def _on_disk(self) -> tuple[float, int, int]:
        outbox = self._outbox
        rows = outbox.read(outbox.acked, rows=1) if outbox.acked < outbox.head else []
        age_ms = self._clock.now() - rows[0].samples[0].at if rows else 0
        size = sum(p.stat().st_size for p in self._folder.glob("outbox.db*"))
        disk = os.statvfs(self._folder)
        # Megabytes: whoever pays for the link need not hear of every page.
        free = disk.f_bavail * disk.f_frsize // 1_000_000 * 1_000_000
        return max(0, age_ms) // SECOND_MS, size, free

    def _degrees(self) -> float | None:
        try:
            return round(int(self._temperature.read_text(encoding="ascii")) / 1000)
        except (OSError, ValueError):
            return None


def exposition(vitals: Iterable[Vital]) -> str:
    """Return the figures as Prometheus reads them.

    >>> print(exposition([Vital(name="outbox_bytes", value=4096, about="Size.")]), end="")
    # HELP mainwatch_gateway_outbox_bytes Size.
    # TYPE mainwatch_gateway_outbox_bytes gauge
    mainwatch_gateway_outbox_bytes 4096
    """
    lines: list[str] = []
    told: set[str] = set()
    for v in sorted(vitals, key=lambda v: v.name):
        name = f"mainwatch_gateway_{v.name}"
        if name not in told:
            told.add(name)
            kind = "counter" if v.name.endswith("_total") else "gauge"
            lines += (f"# HELP {name} {v.about}", f"# TYPE {name} {kind}")
        label = f'{{line="{v.line}"}}' if v.line else ""
        value = math.nan if v.value is None else v.value
        lines.append(f"{name}{label} {value:.10g}")
    return "\n".join(lines) + "\n"


@contextlib.asynccontextmanager
async def metrics_served(health: Health, port: int | None) -> AsyncIterator[None]:
    """Answer Prometheus on loopback while the context lasts. Raises `ConfigError`."""
    if port is None:
        yield
        return

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError, ValueError):
            async with asyncio.timeout(REQUEST_S):
                asked = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(asked, health))
                await writer.drain()
        writer.close()

    try:
        server = await asyncio.start_server(answer, HOST, port, limit=REQUEST_MAX)
    except OSError as e:
        raise ConfigError(f"health.metrics_port: {HOST}:{port} cannot be used: {e}") from e
    async with server:
        yield


def _response(asked: bytes, health: Health) -> bytes:
    is_ours = asked.startswith(b"GET /metrics ")
    body = exposition(health.vitals).encode() if is_ours else b"expected GET /metrics\n"
    head = (
        f"HTTP/1.1 {'200 OK' if is_ours else '404 Not Found'}\r\n"
        "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
