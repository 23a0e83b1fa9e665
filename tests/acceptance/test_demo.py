"""The whole plant as a user starts it: real processes, a real broker, real sockets, SIGKILL."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mainwatch.broker import find_mosquitto
from tests.acceptance.demo_run import DemoRun

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

WITHIN_MS = 20_000
"""From the burst to the ticket, with 1-s polling."""


@pytest.fixture(scope="module")
def begin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., DemoRun]]:
    """Return a function that begins a demo, which is ended after the last test if it still runs."""
    runs = []

    def start(name: str, *arguments: str, counted_at: str = "") -> DemoRun:
        run = DemoRun(tmp_path_factory.mktemp(name), list(arguments), counted_at)
        runs.append(run.start())
        return run

    yield start
    for run in runs:
        run.kill()


@pytest.fixture(scope="module")
def bursting(begin: Callable[..., DemoRun]) -> DemoRun:
    """Return a demo that bursts, and that nobody disturbs."""
    arguments = ("--for", "64", "--burst-after", "40", "--days", "7")
    return begin("bursting", *arguments, counted_at="burst open")


@pytest.fixture(scope="module")
def calm(begin: Callable[..., DemoRun]) -> DemoRun:
    """Return a demo with the other broker, and without a burst."""
    return begin("calm", "--for", "20", "--broker", "amqtt", "--days", "1")


@pytest.mark.xdist_group("demo")
@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
def test_sigkill_of_every_part_loses_nothing_and_opens_no_ticket_twice(begin, bursting, calm):
    # The demos of the tests below wait for most of their time, and do it meanwhile. This one begins
    # when the burst of the other is 40 s away: what is killed here is started again well after it.
    bursting.wait_for("Ctrl-C", 150)
    run = begin("killed", "--for", "88", "--burst-after", "42", "--days", "3")
    run.wait_for("Ctrl-C", 150)
    run.wait_for("a burst of", 1)
    run.part("mainwatch", "gateway").kill()
    run.wait_for("burst open", 60)
    run.part("mainwatch", "server", "intake").kill()
    run.part("mainwatch", "server", "desk").kill()
    run.wait_for("ticket", 60)
    run.part("mainwatch", "server", "intake").kill()
    run.part("mainwatch", "gateway").kill()
    run.part("mainwatch", "server", "desk").kill()
    report = run.finish(180)

    assert (report["lost"], report["duplicates"]) == (0, 0)
    assert report["ticket_id"] is not None
    assert [line for line in run.lines if "ticket" in line and "opened" in line] == [
        line for line in run.lines if f"ticket {report['ticket_id']}" in line and "opened" in line
    ]


@pytest.mark.xdist_group("demo")
def test_a_burst_becomes_a_ticket_and_nothing_is_left_behind(bursting):
    report = bursting.finish(300)

    assert report["broker"] == ("mosquitto" if find_mosquitto() else "amqtt")
    assert (report["lost"], report["duplicates"]) == (0, 0)
    assert report["samples_stored"] == report["samples_sent"] > 1_000
    assert 0 < report["alarm_at"] - report["burst_at"] <= WITHIN_MS
    assert 0 < report["ticket_at"] - report["burst_at"] <= WITHIN_MS
    assert report["incident_id"].startswith("INC-")
    assert report["ticket_id"].startswith("T-")
    assert report["zone"] in {"north", "east", "south"}
    assert report["located_m"] < 1_500
    assert 0 < sum(bursting.memory_mb.values()) < 500, bursting.memory_mb
    assert len(bursting.family) >= 5, bursting.family
    assert not [p for p in bursting.family if p.is_running()]
    for zone in ("network", "north", "east", "south"):  # something is promised in each
        assert f'<tr id="compliance-{zone}">' in bursting.figures


@pytest.mark.xdist_group("demo")
def test_the_demo_runs_without_mosquitto(calm):
    report = calm.finish(300)

    assert report["broker"] == "amqtt"
    assert (report["lost"], report["duplicates"]) == (0, 0)
    assert report["samples_stored"] > 300
    assert report["ticket_id"] is None


def test_a_page_port_in_use_is_told_in_one_sentence_and_nothing_is_started(tmp_path: Path):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "mainwatch", "demo", "--port", str(port)],
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    assert ended.returncode == 2
    assert f"--port {port}: expected a free port for the page" in ended.stderr
    assert "simulator" not in ended.stdout


def test_headless_without_an_end_is_refused():
    ended = subprocess.run(
        [sys.executable, "-m", "mainwatch", "demo", "--headless"],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert ended.returncode == 2
    assert ended.stderr.startswith("mainwatch: --headless: expected --for S")
