"""What `[influx]` may say, what the server refuses to start with, and what its status tells."""

import asyncio
from pathlib import Path

import pytest

from mainwatch.load import load
from server.config import ServerConfig, problems
from server.history.influx_client import problems_at_start
from server.history.sink_ledger import AtWork, Done, Ledger, Told
from server.history.sink_standing import SILENT_AFTER_MS, standing
from server.web.feed import Feed
from telemetry.errors import ConfigError
from telemetry.instant import Instant
from tests.support.influx import Writer, section
from tests.support.plant import ManualClock

T = 1_795_000_000_000


def read(folder: Path, influx: str) -> ServerConfig:
    path = folder / "server.toml"
    path.write_text(f'[server]\ndata = "d"\ngroups = ["g"]\n[influx]\n{influx}\n', encoding="utf-8")
    return load(path, ServerConfig)


@pytest.mark.parametrize(
    ("influx", "said"),
    [
        ('url = "http://127.0.0.1:8086"\nbucket = "b"', None),
        ('url = "http://[::1]:8086/"\nbucket = "b"', None),
        ('url = "https://influx.works.example"\nbucket = "b"', None),
        ('url = "http://10.0.0.7"\nbucket = "b"\nallow_plain_http = true', None),
        ('url = "http://10.0.0.7:8086"\nbucket = "b"', "influx.url: expected https"),
        ('url = "ftp://localhost"\nbucket = "b"', "influx.url: expected http(s)"),
        ('url = "localhost:8086"\nbucket = "b"', "influx.url: expected http(s)"),
        ('url = "http://localhost:x"\nbucket = "b"', "influx.url: expected http(s)"),
        ('url = "http://[::1"\nbucket = "b"', "influx.url: expected http(s)"),
        ('url = "https://me:pw@h.example"\nbucket = "b"', "influx.url: expected no user"),
        ('url = "https://h.example?token=x"\nbucket = "b"', "influx.url: expected no user"),
        ('url = "http://localhost"\nbucket = "b"\nca_file = "ca.pem"', "influx.ca_file: expected"),
    ],
)
def test_where_influxdb_may_be(tmp_path: Path, influx: str, said: str | None):
    found = problems(read(tmp_path, influx))

    assert [p.split(" ")[0] for p in found] == ([] if said is None else [said.split(" ")[0]])
    assert said is None or found[0].startswith(said)
    assert "pw" not in str(found)


@pytest.mark.parametrize(
    ("influx", "said"),
    [
        ('url = "http://localhost"', "influx.bucket: required key is missing"),
        ('url = "http://localhost"\nbucket = "b"\ntoken = "x"', "influx.token: unknown key"),
        ('url = "http://localhost"\nbucket = "b"\nbatch_lines = 5001', "influx.batch_lines"),
    ],
)
def test_a_mistake_in_influx_is_told_by_its_key(tmp_path: Path, influx: str, said: str):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, influx)

    assert said in str(caught.value)


def test_a_secret_that_is_not_there_is_told_before_anything_starts(tmp_path: Path):
    pytest.importorskip("influxdb_client", reason="needs mainwatch[influx]")
    there = section("http://localhost", token_file=tmp_path / "none")

    assert problems_at_start(there) == [
        f"influx.token_file: expected a file, {tmp_path}/none: No such file or directory"
    ]
    (tmp_path / "none").touch()
    assert problems_at_start(there) == []


def test_the_status_says_how_far_behind_it_is_and_falls_silent_with_the_sink(tmp_path: Path):
    writer = Writer(tmp_path)
    writer.say(8, at=T)
    history, ledger = tmp_path / "historian.db", tmp_path / "influx.db"
    assert standing(history, ledger, Instant(T)) is None
    sink = Ledger(ledger)
    told = Told(state="waiting", because="503", since=T, written_at=T, delivered=3)
    sink.settle(done=Done(), at_work=None, told=told)

    now = standing(history, ledger, Instant(T + 4_000))
    later = standing(history, ledger, Instant(T + SILENT_AFTER_MS + 1))

    assert now is not None and later is not None
    assert (now.state, now.because, now.lag_rows, now.lag_s) == ("waiting", "503", 8, 4.0)
    assert (later.state, later.since) == ("silent", T)
    sink.close()
    writer.close()


def test_a_feed_without_a_sink_has_nothing_to_say_of_it(tmp_path: Path):
    clock = ManualClock(T)

    assert asyncio.run(Feed(tmp_path / "historian.db", clock).sink()) is None
    sink = tmp_path / "influx.db"
    assert asyncio.run(Feed(tmp_path / "historian.db", clock, sink=sink).sink()) is None


def test_a_ledger_comes_back_as_it_was_written(tmp_path: Path):
    done = Done(queue=9, owed=4, owed_n=100, owed_to=T)
    at_work = AtWork(owed=5, n=7, arrived_from=1, arrived_to=2, at=3, at_to=4)
    told = Told(state="stopped", because="401", delivered=5)
    first = Ledger(tmp_path / "influx.db")
    first.settle(done=done, at_work=at_work, told=told)
    first.close()

    again = Ledger(tmp_path / "influx.db")

    assert (again.done, again.at_work, again.told) == (done, at_work, told)
    again.close()
