"""ServerConfig: what the control room is told at its start."""

import socket
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field

from server.engine.registry import Inflow, Point, Registry, Storage, Zone
from telemetry.loopback import broker_problems, is_host, is_loopback
from telemetry.point import NAME_PATTERN, POINT_PATTERN, PointId, ZoneId
from telemetry.units import Quantity, to_house

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
PointName = Annotated[str, Field(pattern=POINT_PATTERN)]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSection(_Section):
    """Where the server keeps its files and who it is on the wire."""

    data: Path
    host_id: Name = "mainwatch"
    groups: tuple[Name, ...] = Field(min_length=1)


class BrokerSection(_Section):
    """How to reach the MQTT broker. Secrets only by file."""

    host: str = "127.0.0.1"
    port: Port = 1883
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


class PageSection(_Section):
    """Where the dispatchers' page listens, and how people prove who they are.

    Without `sign_in` the page answers on loopback alone. `names` are the host names that browsers
    use beside those of loopback. `behind_tls_proxy` says that a proxy on this machine speaks TLS
    with the browsers; otherwise a page beyond loopback needs a certificate of its own.
    """

    host: str = "127.0.0.1"
    port: Port = 8420
    sign_in: bool = False
    names: tuple[str, ...] = ()
    cert_file: Path | None = None
    key_file: Path | None = None
    behind_tls_proxy: bool = False

    @property
    def is_secure(self) -> bool:
        """Say whether browsers reach it over TLS."""
        return self.cert_file is not None or self.behind_tls_proxy

    @property
    def family(self) -> socket.AddressFamily:
        """Return which kind of address the host is."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def address(self) -> str:
        """Return what a browser is given."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "https" if self.cert_file is not None else "http"
        return f"{scheme}://{host}:{self.port}/"


class HistorySection(_Section):
    """A recording that teaches a new server what is normal, and how long what is kept.

    A day's samples are sealed into a file once the day is over and nothing has come for it during
    `seal_after_h`. What the utility's policy demands at least is told apart from what is wanted.
    """

    bootstrap: Path | None = None
    seal_after_h: Annotated[float, Field(ge=0.25, le=168)] = 2
    raw_days: Annotated[int, Field(ge=31)] = 1_830
    rollup_years: Annotated[int, Field(ge=1, le=200)] = 20
    policy_raw_days: Annotated[int, Field(ge=0)] = 0
    policy_rollup_years: Annotated[int, Field(ge=0)] = 0


class JournalSection(_Section):
    """When the journal seals a segment, and what it keeps of the past."""

    segment_max_mb: Annotated[float, Field(gt=0, le=2_000)] = 64
    segment_max_h: Annotated[float, Field(gt=0, le=24 * 31)] = 24
    keep_days: Annotated[float, Field(gt=0)] = 400
    keep_max_mb: Annotated[float, Field(gt=0)] = 20_000
    effects_keep_days: Annotated[float, Field(gt=0)] = 3_650


class InfluxSection(_Section):
    """An InfluxDB, or what speaks its line protocol, that is given every sample. See docs."""

    url: str
    bucket: str = Field(min_length=1)
    org: str = ""
    token_file: Path | None = None
    ca_file: Path | None = None
    allow_plain_http: bool = False
    batch_lines: Annotated[int, Field(ge=1, le=5_000)] = 5_000
    timeout_s: Annotated[float, Field(ge=0.1, le=600)] = 30.0
    queue_max_mb: Annotated[float, Field(ge=1, le=100_000)] = 64.0

    @property
    def is_loopback(self) -> bool:
        """Say whether the server is on this machine."""
        return is_loopback(urlsplit(self.url).hostname or "")

    @property
    def target(self) -> str:
        """Return what tells one store of samples from another."""
        return f"{self.url.rstrip('/')} {self.org} {self.bucket}"


class RulesSection(_Section):
    """Which policy the tickets run by: the name of a file in policies/."""

    policy: Name = "demo-water"
    folder: Path | None = None  # the utility's own policies/ and calendars/, over those that ship


class BilingualName(_Section):
    """A name in both languages of the screens."""

    zh: str
    en: str


class InflowSection(_Section):
    """A meter at the edge of a zone: sign 1 for water coming in, -1 for water going out."""

    point: PointName
    sign: Annotated[int, Field(ge=-1, le=1)] = 1


class StorageSection(_Section):
    """A tank in a zone: its level, and the area that the level stands on."""

    point: PointName
    area_m2: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ZoneSection(_Section):
    """A metered area."""

    id: Name
    name: BilingualName
    timezone: str
    calendar: str = "none"
    inflow: tuple[InflowSection, ...] = ()
    storage: tuple[StorageSection, ...] = ()
    parent: Name | None = None


class PointSection(_Section):
    """An accepted point. `low` and `high` are limits in the house unit of its quantity.

    `promise_mpa` is the least pressure that the company promises there, `statute_mpa` that of the
    law; neither holds where it is not written. Where `promise_mpa` is not, the policy's promise at
    places of the kind `place` holds, if it has one.
    """

    id: PointName
    zone: Name
    quantity: Quantity
    name: BilingualName
    period_s: Annotated[float, Field(ge=0.2, le=86_400)]
    x_m: float | None = None
    y_m: float | None = None
    elevation_m: float | None = None
    low: float | None = None
    high: float | None = None
    place: Name | None = None
    promise_mpa: Annotated[float, Field(gt=0, le=5)] | None = None
    statute_mpa: Annotated[float, Field(gt=0, le=5)] | None = None


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=-100, le=100)]


class BalanceSection(_Section):
    """What the utility knows of a zone's network beside its points: docs/balance.md.

    What is not given is not known, and the figures that need it say so.
    """

    zone: Name
    night_from_h: Annotated[int, Field(ge=0, le=23)] = 2
    night_to_h: Annotated[int, Field(ge=1, le=24)] = 4
    night_use_m3h: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    night_use_l_per_connection_h: Annotated[float, Field(ge=0, le=1_000)] | None = None
    n1: Annotated[float, Field(ge=0.5, le=2.5)] = 1.0
    connections: Annotated[int, Field(ge=1)] | None = None
    mains_km: Positive | None = None
    service_km: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    customers: tuple[PointName, ...] | None = None
    billed_m3: dict[
        Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")],
        Annotated[float, Field(ge=0, allow_inf_nan=False)],
    ] = Field(default_factory=dict)
    unmetered_m3: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    apparent_share: Share | None = None
    meter_error_percent: Annotated[float, Field(ge=0, le=50)] = 2.0
    customer_error_percent: Annotated[float, Field(ge=0, le=50)] = 2.0
    household_share: Share | None = None
    mains_dn75_km: Positive | None = None
    plant_pressure_mpa: Annotated[float, Field(gt=0, le=5)] | None = None
    frost_depth_m: Annotated[float, Field(ge=0, le=10)] | None = None
    r1_percent: Percent | None = None
    r2_percent: Percent | None = None
    r3_percent: Percent | None = None
    r4_percent: Percent | None = None


class ServerConfig(_Section):
    """The whole file."""

    server: ServerSection
    broker: BrokerSection = BrokerSection()
    page: PageSection = PageSection()
    history: HistorySection = HistorySection()
    journal: JournalSection = JournalSection()
    influx: InfluxSection | None = None
    rules: RulesSection = RulesSection()
    zone: tuple[ZoneSection, ...] = ()
    point: tuple[PointSection, ...] = ()
    balance: tuple[BalanceSection, ...] = ()

    def registry(self) -> Registry:
        """Return the registry that the file tells of, without what a policy promises."""
        zones = [
            Zone(
                id=ZoneId(z.id),
                name_zh=z.name.zh,
                name_en=z.name.en,
                timezone=z.timezone,
                calendar=z.calendar,
                inflow=tuple(Inflow(point=PointId(i.point), sign=i.sign) for i in z.inflow),
                storage=tuple(
                    Storage(point=PointId(s.point), area_m2=s.area_m2) for s in z.storage
                ),
                parent=None if z.parent is None else ZoneId(z.parent),
            )
            for z in self.zone
        ]
        points = [
            Point(
                id=PointId(p.id),
                zone=ZoneId(p.zone),
                quantity=p.quantity,
                name_zh=p.name.zh,
                name_en=p.name.en,
                period_ms=round(p.period_s * 1000),
                x=p.x_m,
                y=p.y_m,
                elevation_m=p.elevation_m,
                low=p.low,
                high=p.high,
                promise_kpa=_kpa(p.promise_mpa),
                statute_kpa=_kpa(p.statute_mpa),
                place=p.place or "",
            )
            for p in self.point
        ]
        return Registry(zones={z.id: z for z in zones}, points={p.id: p for p in points})


def _kpa(mpa: float | None) -> float | None:
    """Return a floor in kPa; rounded, so that 0.28 MPa is 280 kPa and nothing more."""
    return None if mpa is None else round(to_house(mpa, "MPa"), 3)


def problems(config: ServerConfig) -> list[str]:
    """Return every mistake of sense, one sentence each, naming the key; touch nothing."""
    found = []
    found += _page_problems(config.page)
    found += _broker_problems(config.broker)
    found += _history_problems(config.history)
    found += _influx_problems(config.influx)
    found += _repeated("zone", [z.id for z in config.zone])
    found += _repeated("point", [p.id for p in config.point])
    return found + _zone_problems(config) + _point_problems(config) + _balance_problems(config)


def _zone_problems(config: ServerConfig) -> list[str]:
    found = []
    zones = {z.id for z in config.zone}
    quantities = {p.id: p.quantity for p in config.point}
    for n, z in enumerate(config.zone):
        try:
            ZoneInfo(z.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            found.append(f"zone[{n}].timezone: expected an IANA time zone, was {z.timezone!r}")
        for m, i in enumerate(z.inflow):
            if quantities.get(i.point) is not Quantity.FLOW:
                found.append(f"zone[{n}].inflow[{m}]: expected a flow point, was {i.point!r}")
            if i.sign == 0:
                found.append(f"zone[{n}].inflow[{m}].sign: expected 1 or -1, was 0")
        for m, s in enumerate(z.storage):
            if quantities.get(s.point) is not Quantity.LEVEL:
                found.append(f"zone[{n}].storage[{m}]: expected a level point, was {s.point!r}")
        if z.parent is not None and (z.parent not in zones or z.parent == z.id):
            found.append(f"zone[{n}].parent: expected another zone, was {z.parent!r}")
    return found


def _point_problems(config: ServerConfig) -> list[str]:
    found = []
    zones = {z.id for z in config.zone}
    for n, p in enumerate(config.point):
        if p.zone not in zones:
            known = ", ".join(sorted(zones)) or "none"
            found.append(f"point[{n}].zone: expected one of {known}, was {p.zone!r}")
        if p.low is not None and p.high is not None and p.low >= p.high:
            found.append(f"point[{n}].low: expected less than high {p.high}, was {p.low}")
        of_pressures = ("place", "promise_mpa", "statute_mpa")
        found += [
            f"point[{n}].{key}: expected of a pressure only, was of {p.quantity}"
            for key in of_pressures
            if getattr(p, key) is not None and p.quantity is not Quantity.PRESSURE
        ]
    return found


def _balance_problems(config: ServerConfig) -> list[str]:
    zones = {z.id for z in config.zone}
    known = ", ".join(sorted(zones)) or "none"
    return balance_problems(config.balance) + [
        f"balance[{n}].zone: expected one of {known}, was {b.zone!r}"
        for n, b in enumerate(config.balance)
        if b.zone not in zones
    ]


def balance_problems(balance: tuple[BalanceSection, ...]) -> list[str]:
    """Return the mistakes of sense in what is said of zones' networks."""
    found = [
        f"balance[{n}].night_to_h: expected an hour behind night_from_h {b.night_from_h}, was"
        f" {b.night_to_h}"
        for n, b in enumerate(balance)
        if b.night_to_h <= b.night_from_h
    ]
    zones = [b.zone for b in balance]
    return found + [
        f"balance[{n}].zone: {zone!r} is told twice"
        for n, zone in enumerate(zones)
        if zone in zones[:n]
    ]


def _history_problems(history: HistorySection) -> list[str]:
    kept = (("raw_days", history.policy_raw_days), ("rollup_years", history.policy_rollup_years))
    return [
        f"history.{key}: expected at least the {demanded} that policy demands, was {wanted}"
        for key, demanded in kept
        if (wanted := getattr(history, key)) < demanded
    ]


def _page_problems(page: PageSection) -> list[str]:
    found = []
    if (page.cert_file is None) != (page.key_file is None):
        found.append("page.cert_file and page.key_file: expected both or neither")
    if (page.names or not is_loopback(page.host)) and not page.sign_in:
        found.append(
            f"page.sign_in: expected true, as the page is reached from elsewhere"
            f" (host {page.host!r}, names {', '.join(page.names) or 'none'})"
        )
    if not is_loopback(page.host):
        if page.cert_file is None:
            found.append(
                f"page.cert_file: expected a certificate, as passwords would travel in clear to"
                f" {page.host!r}; or listen on loopback behind a proxy that speaks TLS"
            )
        if not page.names:
            found.append("page.names: expected the host names that browsers use, found none")
    elif page.names and not page.is_secure:
        found.append("page.behind_tls_proxy: expected true or a cert_file, as names are given")
    return found


def _broker_problems(broker: BrokerSection) -> list[str]:
    return broker_problems(
        broker.host,
        username=broker.username,
        password=broker.password_file,
        ca=broker.ca_file,
        cert=broker.cert_file,
        key=broker.key_file,
    )


def _influx_problems(influx: InfluxSection | None) -> list[str]:
    if influx is None:
        return []
    try:
        url = urlsplit(influx.url)
        _ = url.port
    except ValueError:
        url = urlsplit("")
    if url.scheme not in {"http", "https"} or not is_host(url.hostname or ""):
        return ["influx.url: expected http(s)://HOST[:PORT], was another form"]
    found = []
    if url.username is not None or url.password is not None or url.query or url.fragment:
        found.append(
            "influx.url: expected no user, query or fragment, as secrets come by token_file alone"
        )
    if url.scheme == "http" and not influx.is_loopback and not influx.allow_plain_http:
        found.append(
            f"influx.url: expected https, as {url.hostname!r} is not loopback and a token must not"
            " be read on the way, was http; influx.allow_plain_http = true allows it"
        )
    if url.scheme == "http" and influx.ca_file is not None:
        found.append("influx.ca_file: expected https in influx.url, was http")
    return found


def _repeated(what: str, ids: list[str]) -> list[str]:
    return [
        f"{what}[{n}].id: {name!r} is used twice" for n, name in enumerate(ids) if name in ids[:n]
    ]
