"""The sink as the process that it is, killed again and again: nothing lost, nothing doubled."""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from server.history.sink_ledger import done_in, told_in
from tests.contract.test_influx_engines import _exported, _lines, needs_victoria
from tests.support.influx import Scripted, Writer, engine, get, victoria
from tests.support.ports import free_port

pytest.importorskip("influxdb_client", reason="needs mainwatch[influx]")

ROOT = Path(__file__).parents[2]
T = 1_790_000_000_000


def configure(folder: Path, url: str) -> Path:
    path = folder / "server.toml"
    path.write_text(
        f"""[server]
data = "{folder}"
groups = ["demo"]
[influx]
url = "{url}"
bucket = "water"
timeout_s = 60
""",
        encoding="utf-8",
    )
    return path


@asynccontextmanager
async def process(config: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the sink's process, serving; kill it at the end."""
    sink = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mainwatch", "server", "--config", str(config)),
        *("--part", "influx"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert sink.stdout is not None
        assert await asyncio.wait_for(sink.stdout.readline(), 30)
        yield sink
    finally:
        if sink.returncode is None:
            sink.send_signal(signal.SIGKILL)
        await sink.wait()


async def until(said: object) -> None:
    """Wait until `said()`, looking at files that another process writes."""
    for _ in range(1_200):
        if said():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never came")


def test_a_batch_in_flight_at_the_kill_is_sent_again(tmp_path: Path):
    server = Scripted(script=[503, "hang"])
    writer = Writer(tmp_path)
    writer.say(3_000, at=T)

    async def run() -> None:
        async with server.serving():
            config = configure(tmp_path, server.url)
            async with process(config):
                await until(lambda: server.in_flight == 1 and not server.script)
                assert done_in(tmp_path / "influx.db").queue == 0
            async with process(config):
                await until(lambda: len(server.stored) == 3_000)
                await until(lambda: done_in(tmp_path / "influx.db").queue > 0)

    asyncio.run(run())
    writer.close()


def test_the_sink_ends_when_it_is_told_also_while_it_waits(tmp_path: Path):
    writer = Writer(tmp_path)
    writer.say(10, at=T)

    async def run() -> None:
        config = configure(tmp_path, f"http://127.0.0.1:{free_port()}")
        async with process(config) as sink:
            await until(lambda: (t := told_in(tmp_path / "influx.db")) and t.state == "waiting")
            sink.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(sink.wait(), 10) == 0

    asyncio.run(run())
    writer.close()


def test_the_sink_ends_when_it_is_told_also_while_a_request_hangs(tmp_path: Path):
    server = Scripted(script=["hang"])
    writer = Writer(tmp_path)
    writer.say(10, at=T)

    async def run() -> None:
        async with server.serving(), process(configure(tmp_path, server.url)) as sink:
            await until(lambda: server.in_flight == 1)
            sink.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(sink.wait(), 10) == 0

    asyncio.run(run())
    writer.close()


@needs_victoria
@pytest.mark.slow
def test_hours_without_a_server_and_kills_of_the_sink_lose_nothing(tmp_path: Path):
    """Hours of samples against a queue of minutes, then the engine comes and the sink is killed."""
    port, chance = free_port(), random.Random(11)
    url = f"http://127.0.0.1:{port}"
    writer = Writer(tmp_path, bytes_max=100_000)

    async def run() -> None:
        config = configure(tmp_path, url)
        async with process(config):
            for k in range(4 * 60):  # four hours, a minute at a time, twenty points
                writer.say(60 * 20, at=T + k * 60_000, step_ms=50, point=f"p-{k % 20}/pressure")
            await until(lambda: (t := told_in(tmp_path / "influx.db")) and t.state == "waiting")
        assert writer.counts()[1] >= 1, "the queue was too small for it, on purpose"
        with engine(victoria(tmp_path / "vm", port), port, tmp_path / "vm.log"):
            for _ in range(8):
                async with process(config):
                    await asyncio.sleep(chance.uniform(0.0, 0.3))
                    writer.say(50, at=writer_now(writer), point="live/pressure")
            async with process(config):
                await until(lambda: told_everything(tmp_path))
            get(f"{url}/internal/force_flush")
            assert _lines(_exported(url, "v"), _exported(url, "q")) == writer.lines

    asyncio.run(run())
    writer.close()


def writer_now(writer: Writer) -> int:
    return T + 10**9 + writer.offset * 1_000


def told_everything(folder: Path) -> bool:
    from server.history.sink_source import Source

    source = Source(folder / "historian.db")
    try:
        lag = source.lag(done_in(folder / "influx.db"))
        return lag.rows == 0 and not lag.is_reading_back
    finally:
        source.close()
