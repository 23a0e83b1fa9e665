"""The live stream: what changed, and only that; a heartbeat; a page that comes back."""

import asyncio
import json
from collections.abc import AsyncIterator

from mainwatch.wall_clock import WallClock
from server.servicecore.desk import Desk
from server.servicecore.rules.workorder import Step
from server.web.feed import Feed
from server.web.live import Live
from server.web.render import SECTIONS, Renderer
from server.web.screen import Viewer
from telemetry.instant import Instant
from tests.support.plant import AT, registry

VIEWER = Viewer(language="en", pressure_unit="kPa", operator="")
WITHIN_S = 10


def parsed(text: str) -> tuple[str, str, dict]:
    fields = dict(line.split(": ", 1) for line in text.strip().splitlines())
    return fields.get("event", ""), fields.get("id", ""), json.loads(fields.get("data", "{}"))


async def until(stream: AsyncIterator[str], name: str) -> tuple[str, dict, list[str]]:
    """Return the id and body of the next event of that name, and the names of those before it."""
    before = []
    async with asyncio.timeout(WITHIN_S):
        async for text in stream:
            event, number, body = parsed(text)
            if event == name:
                return number, body, before
            before.append(event)
    raise AssertionError(f"the stream ended without {name}")


def play(plant, act):
    async def run():
        clock = WallClock()
        desk = await Desk.open(plant / "desk.db", journal=plant / "journal.db", clock=clock)
        await desk.registry_acts.seed(registry())
        await desk.catch_up()
        stop = asyncio.Event()
        feed = Feed(plant / "historian.db", clock)
        live = Live(desk, feed, Renderer(), clock=clock, stop=stop)
        try:
            return await act(desk, live, stop)
        finally:
            await desk.close()

    return asyncio.run(run())


def test_a_new_page_gets_every_section_the_values_and_a_heartbeat(plant):
    async def act(desk, live, stop):
        stream = live.stream(VIEWER, -1)
        return [await until(stream, name) for name in ("sections", "values", "heartbeat")]

    (number, sections, _), (_, values, _), (_, beat, _) = play(plant, act)

    assert set(sections) == set(SECTIONS)
    assert int(number) > 0
    assert values["north-12/pressure"] == {
        "at": AT - 1_000,
        "arrived_at": AT - 1_000,
        "value": 281.25,
        "change": None,
        "quality": 192,
        "reason": "",
        "time_quality": "synchronised",
    }
    assert (beat["newest"], beat["engine"]) == (AT - 1_000, False)


def test_only_what_changed_is_sent_again(plant):
    async def act(desk, live, stop):
        stream = live.stream(VIEWER, -1)
        await until(stream, "heartbeat")
        await desk.step("T-000001", Step.ACCEPT, actor="Li")
        return await until(stream, "sections")

    _, sections, _ = play(plant, act)

    assert set(sections) == {"incidents", "tickets"}  # both name the ticket's state


def test_a_heartbeat_says_what_is_heard_and_follows_a_change_at_once(plant):
    async def act(desk, live, stop):
        stream = live.stream(VIEWER, -1)
        _, first, _ = await until(stream, "heartbeat")
        await desk.cases.set_service("A-000001", actor="Li", is_out=True, reason="broken")
        await until(stream, "sections")
        _, beat, before = await until(stream, "heartbeat")
        return first["heard"], before, beat["heard"]

    first, between, then = play(plant, act)

    assert set(first) == {"A-000001", "A-000002"}
    assert (between, set(then)) == (["values"], {"A-000002"})


def test_what_time_alone_changes_is_sent_too(plant, monkeypatch):
    async def act(desk, live, stop):
        await desk.cases.shelve(
            "A-000001", actor="Li", until=Instant(WallClock().now() + 700), reason="work"
        )
        stream = live.stream(VIEWER, -1)
        _, shelved, _ = await until(stream, "sections")
        revision = desk.changes.revision
        _, ended, _ = await until(stream, "sections")
        return shelved["alarms"], ended, desk.changes.revision - revision

    monkeypatch.setattr("server.web.live.HEARTBEAT_MS", 200)
    shelved, ended, changes = play(plant, act)

    assert "shelved by Li until" in shelved
    assert "shelved by Li" not in ended["alarms"]
    assert 'data-unseen="A-000001"' in ended["alarms"]
    assert (set(ended), changes) == ({"alarms"}, 0)


def test_a_page_that_comes_back_with_what_it_shows_is_sent_nothing_old(plant):
    async def act(desk, live, stop):
        stream = live.stream(VIEWER, desk.changes.revision)
        _, _, before = await until(stream, "heartbeat")
        return before

    assert "sections" not in play(plant, act)


def test_the_revision_outlives_a_restart(plant):
    async def act(desk, live, stop):
        await desk.catch_up()
        return desk.changes.revision

    assert play(plant, act) == play(plant, act)


def test_a_quiet_stream_still_beats(plant):
    async def act(desk, live, stop):
        stream = live.stream(VIEWER, desk.changes.revision)
        first = await until(stream, "heartbeat")
        second = await until(stream, "heartbeat")
        return second[1]["now"] - first[1]["now"], second[2]

    apart_ms, between = play(plant, act)

    assert 1_500 <= apart_ms <= 5_000
    assert between == []


def test_the_end_of_the_server_ends_the_streams(plant):
    async def act(desk, live, stop):
        stream = live.stream(VIEWER, desk.changes.revision)
        await until(stream, "heartbeat")
        stop.set()
        async with asyncio.timeout(WITHIN_S):
            return [parsed(text)[0] async for text in stream]

    assert play(plant, act) == []
