"""Do real engines take our lines as we mean them? Those from Debian, and one that is pointed at.

VictoriaMetrics has InfluxDB's own route but another engine behind it; InfluxDB 1.6 has the engine
but not the route, so a shim of a few lines stands before it.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from server.history.influx import Sink
from server.history.influx_client import Influx
from server.history.line_protocol import MEASUREMENT
from server.history.sink_ledger import Ledger
from tests.support.influx import (
    Shim,
    Writer,
    accepted,
    engine,
    get,
    influxd,
    influxql,
    section,
    sinking,
    victoria,
    which,
)
from tests.support.plant import ManualClock
from tests.support.ports import free_port

pytest.importorskip("influxdb_client", reason="needs mainwatch[influx]")

T = 1_790_000_000_000
TOKEN = "a-token"
POINTS = ("wenhua-road-12/pressure", "inlet a,b=c/flow", "文化路/total")

needs_victoria = pytest.mark.skipif(
    which("victoria-metrics") is None, reason="needs Debian's victoria-metrics"
)
needs_influxd = pytest.mark.skipif(which("influxd") is None, reason="needs Debian's influxdb")


def fill(folder: Path, *, n: int = 3_000) -> Writer:
    """Return a writer that has taken in samples of every kind."""
    writer = Writer(folder)
    for k in range(3):
        for point in POINTS:
            writer.say(n, at=T + k * n * 1_000, point=point)
    return writer


async def pause(_seconds: float) -> None:
    raise AssertionError("the engine was expected to take everything")


def drain(folder: Path, url: str, *, wait: Callable = pause, **config: object) -> None:
    async def run() -> None:
        there = section(url, **config)
        influx = Influx(there, ManualClock(T))
        try:
            async with sinking(folder, influx, there, clock=ManualClock(T), pause=wait) as sink:
                while await sink.deliver_next():
                    pass
        finally:
            await influx.close()

    asyncio.run(run())


def forget(folder: Path) -> None:
    """Lose the sink's ledger: everything in the queue is sent again."""
    for file in folder.glob("influx.db*"):
        file.unlink()


@needs_victoria
def test_victoriametrics_has_every_sample_once_also_after_a_second_delivery(tmp_path: Path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    writer = fill(tmp_path)
    writer.take(accepted(("bad/pressure", T, None, 0), at=T + 10_000_000, first_offset=10**6))
    with engine(victoria(tmp_path / "vm", port), port, tmp_path / "vm.log"):
        drain(tmp_path, url)
        forget(tmp_path)
        drain(tmp_path, url)
        get(f"{url}/internal/force_flush")
        values = _exported(url, "v")
        qualities = _exported(url, "q")
        metrics = get(f"{url}/metrics").decode()

    assert _lines(values, qualities) == writer.lines
    assert qualities["bad/pressure"] == {T: 0.0} and "bad/pressure" not in values
    assert 'vm_rows_invalid_total{type="influx"} 0' in metrics
    writer.close()


def _exported(url: str, field: str) -> dict[str, dict[int, float]]:
    match = f'{{__name__="{MEASUREMENT}_{field}"}}'
    answer = get(f"{url}/api/v1/export", **{"match[]": match}).decode()
    return {
        series["metric"]["point"]: dict(zip(series["timestamps"], series["values"], strict=True))
        for series in map(json.loads, answer.splitlines())
    }


def _lines(values: dict, qualities: dict) -> set[bytes]:
    from server.history.line_protocol import Encoder

    rows = [
        (point, at, value, int(qualities[point][at]))
        for point, series in values.items()
        for at, value in series.items()
    ]
    return set(Encoder().encode(rows).lines)


def on_influxd(
    folder: Path, act: Callable[[str, str], Awaitable[None]], *, create: bool = True
) -> None:
    """Run `act(shim, influxd)` while both are up."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    (folder / "token").write_text(TOKEN, encoding="utf-8")
    with engine(influxd(folder / "tsm", port, free_port()), port, folder / "influxd.log"):
        if create:
            influxql(url, "CREATE DATABASE water", "", method="POST")

        async def run() -> None:
            async with Shim(url, TOKEN).serving() as shim:
                await act(shim, url)

        asyncio.run(run())


def rows_of(url: str) -> set[bytes]:
    found = influxql(url, f"SELECT v, q FROM {MEASUREMENT} GROUP BY point", "water")
    values = {s["tags"]["point"]: {r[0]: float(r[1]) for r in s["values"]} for s in found}
    qualities = {s["tags"]["point"]: {r[0]: r[2] for r in s["values"]} for s in found}
    return _lines(values, qualities)


@needs_influxd
def test_influxdb_16_has_every_sample_once_also_after_a_second_delivery(tmp_path: Path):
    writer = fill(tmp_path)

    async def act(shim: str, url: str) -> None:
        for _ in range(2):
            await asyncio.to_thread(drain, tmp_path, shim, token_file=tmp_path / "token")
            assert await asyncio.to_thread(rows_of, url) == writer.lines
            forget(tmp_path)

    on_influxd(tmp_path, act)
    writer.close()


@needs_influxd
def test_influxdb_16_keeps_the_types_and_a_line_that_it_cannot_store_is_put_aside(tmp_path: Path):
    writer = fill(tmp_path, n=100)
    beyond = [("a/pressure", T * 10**6, 1.5, 192), ("a/pressure", T, 2.0, 64)]

    async def act(shim: str, url: str) -> None:
        writer.take(accepted(*beyond, at=T + 10_000_000, first_offset=10**6))
        await asyncio.to_thread(drain, tmp_path, shim, token_file=tmp_path / "token")
        assert len(await asyncio.to_thread(rows_of, url) - writer.lines) == 1
        keys = f"SHOW FIELD KEYS FROM {MEASUREMENT}"
        types = await asyncio.to_thread(influxql, url, keys, "water")
        assert sorted(types[0]["values"]) == [["q", "integer"], ["v", "float"]]

    on_influxd(tmp_path, act)
    writer.close()
    ledger = Ledger(tmp_path / "influx.db")
    assert len(ledger.refused()) == 1
    assert "time outside range" in ledger.refused()[0][2]
    ledger.close()


@needs_influxd
def test_influxdb_16_with_our_measurement_in_another_type_stops_the_sink(tmp_path: Path):
    """One foreign integer there makes every line of ours wrong: no quarantine is large enough."""
    writer = fill(tmp_path, n=100)
    told: list[str] = []

    async def act(shim: str, url: str) -> None:
        foreign = f"{MEASUREMENT},point=x v=1i {T}".encode()
        await asyncio.to_thread(_post_raw, url, foreign)

        async def put_right(_seconds: float) -> None:
            ledger = Ledger(tmp_path / "influx.db")
            told.append(ledger.told.because)
            ledger.close()
            drop = f"DROP MEASUREMENT {MEASUREMENT}"
            await asyncio.to_thread(influxql, url, drop, "water", "POST")

        await asyncio.to_thread(
            drain, tmp_path, shim, wait=put_right, token_file=tmp_path / "token"
        )
        assert await asyncio.to_thread(rows_of, url) == writer.lines

    on_influxd(tmp_path, act)
    writer.close()
    assert len(told) == 1 and "already exists as type integer" in told[0]


def _post_raw(url: str, line: bytes) -> None:
    import urllib.request

    request = urllib.request.Request(f"{url}/write?db=water&precision=ms", data=line)
    urllib.request.urlopen(request, timeout=30).close()


@needs_influxd
@pytest.mark.parametrize("what", ["bucket", "token"])
def test_influxdb_16_without_the_bucket_or_the_token_stops_the_sink(tmp_path: Path, what: str):
    writer = fill(tmp_path, n=10)
    told: list[tuple[str, str]] = []

    async def act(shim: str, url: str) -> None:
        file = tmp_path / "token"
        if what == "token":
            file.write_text("wrong", encoding="utf-8")

        async def put_right(_seconds: float) -> None:
            ledger = Ledger(tmp_path / "influx.db")
            told.append((ledger.told.state, ledger.told.because))
            ledger.close()
            file.write_text(TOKEN, encoding="utf-8")
            await asyncio.to_thread(influxql, url, "CREATE DATABASE water", "", "POST")

        await asyncio.to_thread(drain, tmp_path, shim, wait=put_right, token_file=file)
        assert await asyncio.to_thread(rows_of, url) == writer.lines

    on_influxd(tmp_path, act, create=what == "token")
    writer.close()
    state, because = told[0]
    assert state == "stopped"
    assert ("404: database not found" if what == "bucket" else "401") in because


@needs_influxd
def test_influxdb_16_killed_in_the_middle_has_everything_afterwards(tmp_path: Path):
    """SIGKILL of the engine, thrice, while lines go in; what it acknowledged it has on disk."""
    writer = Writer(tmp_path)
    for k in range(30):
        writer.say(2_000, at=T + k * 2_000_000, point=POINTS[k % 3])
    port, rpc = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    (tmp_path / "token").write_text(TOKEN, encoding="utf-8")
    start = influxd(tmp_path / "tsm", port, rpc)

    async def run() -> None:
        there = section("http://unused", allow_plain_http=True, token_file=tmp_path / "token")
        async with Shim(url, TOKEN).serving() as shim:
            there = there.model_copy(update={"url": shim})
            influx = Influx(there, ManualClock(T))

            async def short(seconds: float) -> None:
                await asyncio.sleep(min(seconds, 0.05))

            async with sinking(tmp_path, influx, there, clock=ManualClock(T), pause=short) as sink:
                for round_ in range(4):
                    await asyncio.to_thread(_round, sink, asyncio.get_running_loop(), round_)
            await influx.close()

    def _round(sink: Sink, loop: asyncio.AbstractEventLoop, round_: int) -> None:
        with engine(start, port, tmp_path / "influxd.log") as process:
            influxql(url, "CREATE DATABASE water", "", method="POST")
            batches = 3 if round_ < 3 else 10**6
            for n in range(batches):
                delivering = asyncio.run_coroutine_threadsafe(sink.deliver_next(), loop)
                if n == batches - 1:  # the last of the round meets a dying engine
                    process.kill()
                    process.wait()
                    cut.append(delivering)
                    return
                if cut:
                    assert cut.pop().result(60)
                    continue
                if not delivering.result(60):
                    break
            assert rows_of(url) == writer.lines

    cut: list = []
    asyncio.run(run())
    writer.close()


def test_an_influxdb_that_is_pointed_at_takes_and_gives_back(tmp_path: Path, request):
    option = request.config.getoption
    if option("--influx-url") is None:
        pytest.skip("no --influx-url: InfluxDB 2 and 3 are NOT tried in this run")
    token = option("--influx-token-file")
    there = {"bucket": option("--influx-bucket"), "org": option("--influx-org")}
    writer = fill(tmp_path, n=200)

    drain(tmp_path, option("--influx-url"), token_file=token, allow_plain_http=True, **there)
    forget(tmp_path)
    drain(tmp_path, option("--influx-url"), token_file=token, allow_plain_http=True, **there)

    secret = Path(token).read_text(encoding="utf-8").strip() if token else ""
    query = f"SELECT v, q FROM {MEASUREMENT} WHERE time >= {T - 10**7}ms GROUP BY point"
    found = influxql(option("--influx-url"), query, there["bucket"], token=secret)
    kept = {s["tags"]["point"]: len(s["values"]) for s in found}
    assert {p: kept.get(p) for p in POINTS} == dict.fromkeys(POINTS, 600)
    writer.close()
