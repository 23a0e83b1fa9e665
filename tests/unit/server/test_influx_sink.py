"""The sink before a server that does everything a server may do: nothing is lost, all is told."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from server.history.influx import STOPPED_S, Sink
from server.history.influx_client import Influx
from server.history.sink_ledger import Ledger
from tests.support.influx import Scripted, Writer, certificate, section, sinking
from tests.support.plant import ManualClock
from tests.support.ports import free_port

pytest.importorskip("influxdb_client", reason="needs mainwatch[influx]")

T = 1_795_000_000_000


class Plant:
    """A historian with something to say, a scripted server, and a sink whose pauses are noted."""

    def __init__(self, folder: Path, server: Scripted) -> None:
        self.folder, self.server = folder, server
        self.writer = Writer(folder)
        self.pauses: list[float] = []
        self.on_pause: Callable[[], Awaitable[None]] | None = None

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if self.on_pause is not None:
            await self.on_pause()
        await asyncio.sleep(0)

    async def drain(self, sink: Sink) -> None:
        while await sink.deliver_next():
            pass


def play(
    folder: Path,
    server: Scripted,
    act: Callable[[Plant, Sink], Awaitable[None]],
    host: str = "127.0.0.1",
    **config: object,
) -> Ledger:
    """Let a sink loose on a server; return its ledger as it is afterwards."""
    plant = Plant(folder, server)

    async def run() -> None:
        clock = ManualClock(T)
        async with server.serving():
            there = section(server.url.replace("127.0.0.1", host), **config)
            influx = Influx(there, clock)
            try:
                async with (
                    sinking(folder, influx, there, clock=clock, pause=plant.pause) as sink,
                    asyncio.timeout(60),
                ):
                    await act(plant, sink)
            finally:
                await influx.close()

    asyncio.run(run())
    plant.writer.close()
    ledger = Ledger(folder / "influx.db")
    ledger.close()
    return ledger


async def say_and_drain(plant: Plant, sink: Sink) -> None:
    plant.writer.say(10, at=T)
    await plant.drain(sink)
    stored = {k + b" " + f + b" " + at for (k, at), f in _split(plant.server)}
    assert stored == plant.writer.lines - plant.server.wrong


def _split(server: Scripted) -> list[tuple[tuple[bytes, bytes], bytes]]:
    return [(tuple(key.rsplit(b" ", 1)), fields) for key, fields in server.stored.items()]


def test_lines_arrive_with_bucket_organisation_precision_and_token(tmp_path: Path):
    (tmp_path / "token").write_text("s3cret\n", encoding="utf-8")
    server = Scripted(token="s3cret")

    told = play(tmp_path, server, say_and_drain, token_file=tmp_path / "token").told

    assert server.queries[0] == {"org": ["works"], "bucket": ["water"], "precision": ["ms"]}
    assert (told.state, told.delivered, told.refused) == ("delivering", 10, 0)


@pytest.mark.parametrize(
    "trouble",
    [
        503, 500, 429, "hang", "reset", (503, {"Retry-After": "7"}, b""), (502, {}, b"<html>"),
        (429, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, b""),
    ],
)  # fmt: skip
def test_a_server_in_trouble_is_waited_for(tmp_path: Path, trouble, caplog):
    caplog.set_level(logging.INFO)
    pauses: list[float] = []

    async def act(plant: Plant, sink: Sink) -> None:
        await say_and_drain(plant, sink)
        pauses.extend(plant.pauses)

    told = play(tmp_path, Scripted(script=[trouble] * 3), act, timeout_s=0.2).told

    assert len(pauses) == 3
    if isinstance(trouble, tuple) and "7" in trouble[1].values():
        assert pauses == [7.0] * 3
    else:
        assert pauses[0] <= 0.5 and pauses[1] <= 1.0 and pauses[2] <= 2.0
    assert (told.state, told.delivered) == ("delivering", 10)
    edges = [r.message for r in caplog.records if r.name == "mainwatch.influx"]
    assert len(edges) == 2, "the edges alone"
    assert "away" in edges[0] and "again" in edges[1]


def test_a_server_that_is_not_there_is_waited_for_until_it_is(tmp_path: Path):
    server = Scripted(port=free_port())
    plant = Plant(tmp_path, server)
    plant.writer.say(10, at=T)

    async def run() -> None:
        clock = ManualClock(T)
        there = section(server.url)
        influx = Influx(there, clock)
        async with (
            asyncio.TaskGroup() as tasks,
            sinking(tmp_path, influx, there, clock=clock, pause=plant.pause) as sink,
        ):
            three = asyncio.Event()

            async def count() -> None:
                if len(plant.pauses) >= 3:
                    three.set()
                    await up.wait()

            up = asyncio.Event()
            plant.on_pause = count
            delivering = tasks.create_task(sink.deliver_next())
            await three.wait()
            before = Ledger(tmp_path / "influx.db")
            assert before.told.state == "waiting"
            assert "no answer" in before.told.because
            before.close()
            async with server.serving():
                up.set()
                assert await delivering
                await influx.close()

    asyncio.run(run())
    plant.writer.close()
    assert len(server.stored) == 10


@pytest.mark.parametrize("status", [401, 403, 404, 200, 302])
def test_what_a_person_must_put_right_stops_it_and_is_told(tmp_path: Path, status, caplog):
    server = Scripted(script=[(status, {"Location": "/elsewhere"}, b'{"message":"no such thing"}')])

    async def act(plant: Plant, sink: Sink) -> None:
        async def look() -> None:
            ledger = Ledger(tmp_path / "influx.db")
            assert ledger.told.state == "stopped"
            assert str(status) in ledger.told.because
            assert ledger.done.queue == 0, "nothing is given up"
            ledger.close()

        plant.on_pause = look
        await say_and_drain(plant, sink)
        assert plant.pauses == [STOPPED_S]

    assert play(tmp_path, server, act).told.state == "delivering"
    assert len([r for r in caplog.records if "needs a person" in r.message]) == 1


def test_a_new_token_needs_no_restart_and_none_is_ever_told(tmp_path: Path, caplog):
    file = tmp_path / "token"
    file.write_text("wr0ng-token", encoding="utf-8")
    server = Scripted(token="right-t0ken", script=[(401, {}, b'{"message":"bad wr0ng-token"}')])

    async def act(plant: Plant, sink: Sink) -> None:
        async def put_right() -> None:
            if len(plant.pauses) == 2:
                file.write_text("right-t0ken", encoding="utf-8")

        plant.on_pause = put_right
        await say_and_drain(plant, sink)
        assert plant.pauses == [STOPPED_S] * 2

    play(tmp_path, server, act, token_file=file)
    said = caplog.text + (tmp_path / "influx.db").read_bytes().decode("latin-1")
    assert "unauthorized" in said or "bad ***" in said
    assert "wr0ng" not in said and "t0ken" not in said


def test_a_wrong_line_is_put_aside_and_the_others_go_on(tmp_path: Path):
    server = Scripted()

    async def act(plant: Plant, sink: Sink) -> None:
        plant.writer.say(500, at=T)
        server.wrong = {sorted(plant.writer.lines)[k] for k in (0, 250, 251, 499)}
        await plant.drain(sink)
        assert len(server.stored) == 496
        plant.writer.say(1, at=T + 5_000_000)
        await plant.drain(sink)
        assert len(server.stored) == 497

    ledger = play(tmp_path, server, act)
    ledger = Ledger(tmp_path / "influx.db")
    assert {line.encode() for _at, line, _why in ledger.refused()} == server.wrong
    assert all("field type conflict" in why for _at, _line, why in ledger.refused())
    assert (ledger.told.refused, ledger.told.delivered) == (4, 497)
    ledger.close()


def test_when_every_line_is_wrong_it_stops_and_puts_nothing_aside(tmp_path: Path):
    server = Scripted()

    async def act(plant: Plant, sink: Sink) -> None:
        plant.writer.say(1_000, at=T)
        server.wrong = set(plant.writer.lines)

        async def put_right() -> None:
            server.wrong = set()

        plant.on_pause = put_right
        await plant.drain(sink)
        assert len(server.stored) == 1_000

    assert play(tmp_path, server, act).told.refused == 0


def test_too_large_a_request_is_halved_and_stays_so(tmp_path: Path):
    server = Scripted(bytes_max=4_000)

    async def act(plant: Plant, sink: Sink) -> None:
        plant.writer.say(1_000, at=T)
        await plant.drain(sink)
        assert len(server.stored) == 1_000
        plant.writer.say(1_000, at=T + 9_000_000)
        refusals = len(server.queries) - len(server.bodies)
        await plant.drain(sink)
        assert len(server.queries) - len(server.bodies) == refusals

    assert play(tmp_path, server, act).told.delivered == 2_000


def test_points_older_than_the_bucket_keeps_are_counted(tmp_path: Path):
    said = b'{"message":"partial write: points beyond retention policy dropped=10"}'

    async def act(plant: Plant, sink: Sink) -> None:
        plant.writer.say(10, at=T)
        await plant.drain(sink)

    told = play(tmp_path, Scripted(script=[(422, {}, said)]), act).told

    assert (told.expired, told.delivered, told.refused) == (10, 0, 0)


def test_one_request_is_in_flight_and_none_has_more_lines_than_it_may(tmp_path: Path):
    server = Scripted()

    async def act(plant: Plant, sink: Sink) -> None:
        for k in range(30):
            plant.writer.say(777, at=T + k * 777_000)
        await plant.drain(sink)
        assert len(server.stored) == 30 * 777

    play(tmp_path, server, act, batch_lines=1_000)
    assert server.in_flight_max == 1
    assert max(body.count(b"\n") + 1 for body in server.bodies) <= 1_000


def test_what_a_server_says_in_another_form_is_told_too(tmp_path: Path):
    body = b'{"error":"partial write of line protocol occurred","data":[]}'  # as InfluxDB 3 does
    server = Scripted(script=[(400, {}, body)])

    async def act(plant: Plant, sink: Sink) -> None:
        plant.writer.say(1, at=T)
        await plant.drain(sink)

    play(tmp_path, server, act)
    ledger = Ledger(tmp_path / "influx.db")
    assert ledger.refused()[0][2] == body.decode()
    ledger.close()


def test_lines_to_another_machine_are_compressed(tmp_path: Path):
    server = Scripted()

    async def act(plant: Plant, sink: Sink) -> None:
        await say_and_drain(plant, sink)

    play(tmp_path, server, act, host="0.0.0.0", allow_plain_http=True)
    assert server.compressed == 1


def test_a_certificate_is_checked_against_the_authority_that_the_file_names(tmp_path: Path):
    good, other = certificate(tmp_path, "good"), certificate(tmp_path, "other")
    server = Scripted(tls=good)

    async def act(plant: Plant, sink: Sink) -> None:
        await say_and_drain(plant, sink)

    async def refused(plant: Plant, sink: Sink) -> None:
        class EnoughError(Exception): ...

        async def look() -> None:
            raise EnoughError

        plant.on_pause = look
        plant.writer.say(1, at=T)
        with pytest.raises(EnoughError):
            await plant.drain(sink)
        assert server.stored == {}

    for name, ca, does in (("wrong", other, refused), ("right", good, act)):
        (tmp_path / name).mkdir()
        ledger = play(tmp_path / name, server, does, ca_file=ca[0])
        if name == "wrong":
            assert ledger.told.state == "waiting"
            assert "certificate" in ledger.told.because.lower()


def test_samples_without_a_value_are_told_by_their_quality_and_counted(tmp_path: Path):
    from tests.support.influx import accepted

    server = Scripted()

    async def act(plant: Plant, sink: Sink) -> None:
        plant.writer.take(accepted(("a/p", T, None, 0), ("a/p", T + 1, 2.0, 192), at=T))
        await plant.drain(sink)

    assert play(tmp_path, server, act).told.without_value == 1
    assert server.stored[b"telemetry,point=a/p %d" % T] == b"q=0i"
