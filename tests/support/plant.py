"""A plant for the desk's tests: a journal and a historian made by hand, and a page served."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn

from mainwatch.wall_clock import WallClock
from server.engine import effects
from server.engine.effects import Accepted, AlarmKind
from server.engine.registry import Inflow, Point, Registry, Zone
from server.engine.samples import Samples
from server.history.historian import Historian
from server.servicecore.desk import Desk
from server.servicecore.rulebook import RuleBook
from server.web.application import create_app
from telemetry.instant import Clock, Instant
from telemetry.point import PointId, ZoneId
from telemetry.sample import Reason, Sample, TimeQuality
from telemetry.units import Quantity

JOURNAL = "5eed" * 8
AT = 1_800_000_000_000


class ManualClock:
    """A clock that stands still until it is told."""

    def __init__(self, at: int = AT) -> None:
        self.at = at

    def now(self) -> Instant:
        return Instant(self.at)

    def monotonic_ms(self) -> int:
        return self.at

    async def sleep_until(self, at: Instant) -> None:
        self.at = max(self.at, at)


class Journal:
    """The effect table of a journal, as the contract describes it."""

    def __init__(self, path: Path, uuid: str = JOURNAL) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT)")
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS effect (seq INTEGER, n INTEGER, at INTEGER, kind TEXT,"
            " body TEXT, PRIMARY KEY (seq, n))"
        )
        self.db.execute("INSERT OR REPLACE INTO meta VALUES ('uuid', ?)", (uuid,))
        self.seq = self.db.execute("SELECT COALESCE(MAX(seq), 0) FROM effect").fetchone()[0]

    def record(self, *happened: effects.Recorded) -> None:
        self.seq += 1
        self.db.execute("BEGIN")
        for n, effect in enumerate(happened):
            self.db.execute(
                "INSERT INTO effect VALUES (?, ?, ?, ?, ?)",
                (self.seq, n, effect.at, *effects.to_record(effect)),
            )
        self.db.execute("COMMIT")

    def close(self) -> None:
        self.db.close()


def registry() -> Registry:
    zones = [
        Zone(
            id=ZoneId(name),
            name_zh=zh,
            name_en=name.capitalize(),
            timezone="Asia/Shanghai",
            calendar="cn",
            inflow=(Inflow(point=PointId(f"{name}-inlet/flow"), sign=1),),
        )
        for name, zh in (("north", "北区"), ("east", "东区"), ("south", "南区"))
    ]
    points = []
    for zone in zones:
        points.append(
            _point(f"{zone.id}-inlet/flow", zone.id, Quantity.FLOW, "入口流量", "inlet flow")
        )
        points += [
            _point(
                f"{zone.id}-{n}/pressure",
                zone.id,
                Quantity.PRESSURE,
                f"文化路{n}号压力",
                f"Wenhua Road {n} pressure",
            )
            for n in (3, 12, 27, 41)
        ]
    return Registry(zones={z.id: z for z in zones}, points={p.id: p for p in points})


def _point(name: str, zone: str, quantity: Quantity, zh: str, en: str) -> Point:
    return Point(
        id=PointId(name),
        zone=ZoneId(zone),
        quantity=quantity,
        name_zh=zh,
        name_en=en,
        period_ms=1000,
    )


def burst(number: int = 1, *, at: int, zone: str = "north", mode: str = "auto") -> tuple:
    """What the engine records when it sees a burst: alarm, incident, dispatch."""
    facts = {
        "kind": AlarmKind.BURST if mode == "auto" else AlarmKind.PRESSURE_DROP,
        "zone": zone,
        "points": (f"{zone}-12/pressure", f"{zone}-27/pressure"),
        "severity": 1 if mode == "auto" else 3,
        "onset": Instant(at - 4000),
        "because": (
            (
                f"zone {zone} inflow rose 38.4 m3/h, from 190.1 to 228.5 m3/h,"
                " 21 times its usual change"
            ),
            f"{zone}-12/pressure fell 9.2 kPa, from 281.2 to 272.0 kPa, 11 times its usual change",
        ),
    }
    at = Instant(at)
    alarm, incident = f"A-{number:06}", f"INC-{number:06}"
    estimate = {"estimate_m3h": 38.4, "x": 1204.0, "y": 866.0, "radius_m": 180.0}
    return (
        effects.AlarmRaised(at=at, alarm=alarm, **facts),
        effects.IncidentOpened(at=at, incident=incident, alarms=(alarm,), **facts),
        effects.DispatchRequested(at=at, incident=incident, mode=mode, **facts, **estimate),
    )


def seen(name: str, at: int, zone: str = "north", status: str = "accepted") -> effects.PointSeen:
    return effects.PointSeen(
        at=Instant(at),
        point=name,
        gateway="gw-01",
        device="pt",
        metric="pressure",
        quantity="pressure",
        zone=zone,
        place="",
        period_ms=1000,
        status=status,
    )


def born(at: int) -> effects.GatewayChanged:
    return effects.GatewayChanged(
        at=Instant(at), gateway="gw-01", online=True, epoch=2**63 + 7, because="NBIRTH"
    )


class History:
    """A historian that is told samples."""

    def __init__(self, path: Path) -> None:
        self.historian = Historian(path)
        self.offset = self.historian.through

    def say(
        self,
        at: int,
        values: dict[str, float | None],
        *,
        arrived_at: int | None = None,
        time_quality: TimeQuality = TimeQuality.SYNCHRONISED,
    ) -> None:
        samples = tuple(
            Sample(point=PointId(p), at=Instant(at), value=v, time_quality=time_quality)
            if v is not None
            else Sample.bad(PointId(p), Instant(at), Reason.TIMEOUT)
            for p, v in values.items()
        )
        self.say_all([samples], arrived_at=at if arrived_at is None else arrived_at)

    def say_all(self, scans: list[tuple[Sample, ...]], *, arrived_at: int) -> None:
        parts = []
        for samples in scans:
            parts.append(
                Accepted(
                    at=Instant(arrived_at),
                    gateway="gw-01",
                    epoch=1,
                    first_offset=self.offset,
                    samples=Samples.of(samples),
                    is_historical=False,
                )
            )
            self.offset += len(samples)
        self.historian.write(parts, through=self.offset)

    def close(self) -> None:
        self.historian.close()


@contextlib.asynccontextmanager
async def serving(
    folder: Path, *, port: int, clock: Clock | None = None, book: RuleBook | None = None
) -> AsyncIterator[Desk]:
    """Serve the page over a real socket, as the desk process does."""
    clock = clock or WallClock()
    stop = asyncio.Event()
    desk = await Desk.open(
        folder / "desk.db", journal=folder / "journal.db", clock=clock, book=book
    )
    await desk.registry_acts.seed(registry())
    app = create_app(desk, history=folder / "historian.db", clock=clock, stop=stop)
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_config=None, lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    async with asyncio.TaskGroup() as group:
        group.create_task(desk.follow(stop))
        serving_task = group.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110  uvicorn has nothing to wait on
            await asyncio.sleep(0.01)
        try:
            yield desk
        finally:
            stop.set()
            desk.woken.set()
            server.should_exit = True
            await serving_task
    await desk.close()
