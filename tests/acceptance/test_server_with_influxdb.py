"""The whole server with InfluxDB beside it: its own process, which may die and disturbs nobody."""

import asyncio
import json
import signal
import sys
import urllib.request
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.influx import Scripted
from tests.support.ports import free_port
from tests.unit.gateway.field import mosquitto, until

pytest.importorskip("influxdb_client", reason="needs mainwatch[influx]")
pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
AT = 1_790_000_000_000
ROWS = 300


def recorded(folder: Path) -> Path:
    (folder / "winter/samples").mkdir(parents=True)
    head = """[recording]
version = 1
name = "winter"
source = "a test"
licence = "none"
timezone = "Asia/Shanghai"
calendar = "none"
from = 2026-09-21T00:00:00Z
to = 2026-09-22T00:00:00Z
cadence_s = 1
[[zone]]
id = "north"
name = "North"
kind = "dma"
[[point]]
id = "a/pressure"
zone = "north"
quantity = "pressure"
unit = "kPa"
"""
    (folder / "winter/recording.toml").write_text(head, encoding="utf-8")
    table = {
        "at": pa.array([AT + k * 1_000 for k in range(ROWS)], pa.timestamp("ms", "UTC")),
        "point": ["a/pressure"] * ROWS,
        "value": [280.0 + k / 8 for k in range(ROWS)],
        "quality": pa.array([192] * ROWS, pa.uint8()),
    }
    pq.write_table(pa.table(table), folder / "winter/samples/day.parquet")
    return folder / "winter"


def configured(folder: Path, broker: int, page: int, influx: str) -> Path:
    (folder / "data").mkdir()
    (folder / "token").write_text("a-token", encoding="utf-8")
    path = folder / "server.toml"
    path.write_text(
        f"""[server]
data = "{folder}/data"
groups = ["demo"]
[broker]
port = {broker}
[page]
port = {page}
[history]
bootstrap = "{recorded(folder)}"
[influx]
url = "{influx}"
bucket = "water"
token_file = "{folder}/token"
""",
        encoding="utf-8",
    )
    return path


def status(page: int) -> dict:
    with urllib.request.urlopen(f"http://127.0.0.1:{page}/api/v1/status", timeout=10) as answer:
        return json.loads(answer.read())


def test_history_reaches_influxdb_and_a_killed_sink_disturbs_nobody(tmp_path: Path):
    server, page = Scripted(token="a-token"), free_port()

    async def run() -> None:
        async with server.serving(), mosquitto(tmp_path) as broker:
            config = configured(tmp_path, broker, page, server.url)
            whole = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "mainwatch", "server", "--config", str(config)),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
            )
            try:
                assert whole.stdout is not None
                assert await asyncio.wait_for(whole.stdout.readline(), 60)
                await until(lambda: len(server.stored) == ROWS, within_s=60)
                await until(lambda: _told(page)["lag_rows"] == 0, within_s=30)
                assert _told(page)["state"] == "delivering"
                assert _told(page)["delivered"] >= ROWS

                parts = {p.cmdline()[-1]: p for p in psutil.Process(whole.pid).children()}
                others = {parts["intake"].pid, parts["desk"].pid}
                parts["influx"].send_signal(signal.SIGKILL)
                await until(lambda: _again(whole.pid, parts["influx"].pid), within_s=60)
                assert others <= {p.pid for p in psutil.Process(whole.pid).children()}

                whole.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(whole.wait(), 60) == 0
            finally:
                if whole.returncode is None:
                    whole.kill()
                    await whole.wait()

    def _told(port: int) -> dict:
        return status(port)["influx"]

    def _again(pid: int, dead: int) -> bool:
        alive = psutil.Process(pid).children()
        return any(p.pid != dead and "influx" in p.cmdline()[-1:] for p in alive)

    asyncio.run(run())


def test_a_server_without_its_token_file_says_so_and_does_not_start(tmp_path: Path):
    async def run() -> None:
        config = configured(tmp_path, free_port(), free_port(), "http://127.0.0.1:8086")
        (tmp_path / "token").unlink()
        whole = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mainwatch", "server", "--config", str(config)),
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
        assert whole.stderr is not None
        said = (await asyncio.wait_for(whole.stderr.read(), 60)).decode()

        assert await whole.wait() == 2
        assert f"{config}: influx.token_file: expected a file" in said

    asyncio.run(run())
