"""How the gateway is: on loopback for Prometheus, and in the births and data of its node."""

import asyncio
import contextlib
import urllib.error
import urllib.request

import pytest

from gateway.clock_sync import ClockSync
from gateway.core.edge_session import EdgeSession
from gateway.core.messages import Node
from gateway.health import Health, LineLoad, exposition, metrics_served
from gateway.outbox import OneThread
from telemetry.errors import ConfigError
from telemetry.sparkplug import MessageKind
from tests.support.ports import free_port
from tests.unit.gateway.edge_world import World, published
from tests.unit.gateway.field import START
from tests.unit.gateway.pit import Machine
from tests.unit.gateway.test_outbox import opened, scan


@contextlib.contextmanager
def health_of(folder, *, lines=(), temperature=None):
    outbox, thread = opened(folder), OneThread()
    node = Node(group="demo", edge="gw-01", host="mainwatch", is_acknowledged=True)
    session = EdgeSession(node=node, births={}, epoch=1, acked=0, head=0, tail=0)
    machine = Machine()
    health = Health(
        outbox=outbox,
        thread=thread,
        session=session,
        clock=ClockSync(machine, is_trusted=False),
        folder=folder,
        lines=lambda: lines,
        temperature=temperature or folder / "no-sensor",
    )
    try:
        yield health, outbox, session
    finally:
        thread.close()
        outbox.close()


def figures(health: Health) -> dict[str, float | None]:
    asyncio.run(health.look())
    return {v.name + (f" {v.line}" if v.line else ""): v.value for v in health.vitals}


def test_backlog_age_and_room_are_told(tmp_path):
    (tmp_path / "temp").write_text("48312\n")
    with health_of(tmp_path, temperature=tmp_path / "temp") as (health, outbox, session):
        outbox.append([scan(START // 1_000 - 90), scan(START // 1_000)])
        said = figures(health)
        assert said["backlog_samples"] == 4
        assert said["oldest_unsent_seconds"] == 90
        assert said["temperature_celsius"] == 48
        assert said["clock_synchronised"] == 0
        assert said["outbox_bytes"] > 4_096
        assert said["disk_free_bytes"] > 0
        outbox.acknowledge(2)
        session.acked = 2
        assert figures(health)["oldest_unsent_seconds"] == 0
        assert "2 samples waiting, clock not synchronised" in health.summary()


def test_every_line_tells_how_busy_it_is(tmp_path):
    load = LineLoad(name="rs485-1", utilisation=1.43, skipped=7)
    with health_of(tmp_path, lines=[load]) as (health, _, session):
        said = figures(health)
        assert said["line_utilisation_ratio rs485-1"] == 1.43
        assert said["temperature_celsius"] is None
        text = exposition(health.vitals)
        assert 'mainwatch_gateway_line_utilisation_ratio{line="rs485-1"} 1.43\n' in text
        assert "# TYPE mainwatch_gateway_line_skipped_polls_total counter\n" in text
        assert "mainwatch_gateway_temperature_celsius nan\n" in text
        assert session.vitals["rs485-1/line_utilisation_ratio"] == 1.43


def test_prometheus_reads_them_on_loopback_and_nothing_else(tmp_path):
    port = free_port()

    def get(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as said:
                return said.status, said.read().decode()
        except urllib.error.HTTPError as e:
            with e:
                return e.code, e.read().decode()

    async def scenario(health: Health) -> None:
        await health.look()
        async with metrics_served(health, port):
            status, text = await asyncio.to_thread(get, "/metrics")
            assert status == 200
            assert "\nmainwatch_gateway_backlog_samples 0\n" in text
            assert (await asyncio.to_thread(get, "/"))[0] == 404
            _, silent = await asyncio.open_connection("127.0.0.1", port)
            silent.close()
            reader, greedy = await asyncio.open_connection("127.0.0.1", port)
            greedy.write(b"x" * 100_000)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            greedy.close()
            assert (await asyncio.to_thread(get, "/metrics"))[0] == 200

    with health_of(tmp_path) as (health, _, _session):
        asyncio.run(scenario(health))


def test_a_taken_port_is_refused_by_its_key(tmp_path):
    async def scenario(health: Health) -> None:
        port = free_port()
        async with metrics_served(health, port):
            with pytest.raises(ConfigError, match=r"health\.metrics_port: 127\.0\.0\.1"):
                async with metrics_served(health, port):
                    pass

    with health_of(tmp_path) as (health, _, _session):
        asyncio.run(scenario(health))


def test_the_node_is_born_with_its_health_and_later_tells_what_changed():
    world = World()
    world.session.vitals = {"backlog_samples": 3.0, "temperature": None}
    world.live()
    (_, born), *_ = [p for p in published(world.said) if p[0].kind is MessageKind.NBIRTH]
    assert [(m.name, m.value) for m in born.metrics[-2:]] == [
        ("mw/health/backlog_samples", 3.0),
        ("mw/health/temperature", None),
    ]
    world.session.vitals = {"backlog_samples": 4.0, "temperature": None, "unborn": 1.0}

    first, second = world.tick(10_000), world.tick(10_000)

    ((_, told),) = published(first)
    assert [m.name for m in told.metrics][2:] == ["mw/health/backlog_samples"]
    ((_, told),) = published(second)
    assert [m.name for m in told.metrics] == ["mw/head", "mw/tail"]
