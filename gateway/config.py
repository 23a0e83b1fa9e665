"""GatewayConfig: what the fitter writes about one gateway, its lines and what is on them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gateway.line_config import LineSection, Name, Port, line_problems
from gateway.site_config import (
    ClockSection,
    GpioSection,
    HealthSection,
    Section,
    gpio_problems,
)
from telemetry.loopback import broker_problems
from telemetry.register_map import RegisterMap


class GatewaySection(Section):
    """Who the gateway is and where it keeps its files.

    `primary_host` is the host application without which it stays silent and stores; "" for none.
    `acknowledgement` is "none" where the host is foreign and knows nothing of `mw/ack`.
    """

    id: Name
    group: Name
    data: Path
    primary_host: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,32}$")] = "mainwatch"
    acknowledgement: Literal["mainwatch", "none"] = "mainwatch"


class OutboxSection(Section):
    """How much the gateway may keep on its disk."""

    max_mb: Annotated[int, Field(ge=4, le=1_000_000)] = 512


class BrokerSection(Section):
    """How to reach the MQTT broker. Secrets only by file."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Port = 1883
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


class GatewayConfig(Section):
    """The whole file."""

    gateway: GatewaySection
    outbox: OutboxSection = OutboxSection()
    broker: BrokerSection = BrokerSection()
    clock: ClockSection = ClockSection()
    health: HealthSection = HealthSection()
    line: tuple[LineSection, ...] = ()
    gpio: tuple[GpioSection, ...] = ()


def problems(config: GatewayConfig, maps: Mapping[str, RegisterMap]) -> list[str]:
    """Return every mistake of sense, one sentence each, naming the key; touch nothing."""
    found = []
    if config.gateway.data == Path():  # pydantic reads "" as "."
        found.append('gateway.data: expected a folder of its own, was ""')
    if config.gateway.acknowledgement == "mainwatch" and not config.gateway.primary_host:
        found.append(
            'gateway.primary_host: expected the id of the Mainwatch server, was "";'
            ' only with acknowledgement "none" there may be no host'
        )
    found += _broker_problems(config.broker)
    if not config.line and not config.gpio:
        found.append("line: expected at least one [[line]] or [[gpio]], found none")
    found += line_problems(config.line, maps)
    devices = [device for line in config.line for device in line.device]
    points = [p for d in devices for one in d.point for p in (one.point, one.flow_point) if p]
    found += gpio_problems(config.gpio, devices=[d.id for d in devices], points=points)
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
