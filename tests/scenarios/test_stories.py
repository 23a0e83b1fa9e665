"""Every story of the library, written down without wires: does it happen, and what is said of it?

Each is written twice, with its events and without; what happened is the difference. A town without
events is the same whoever tells of it, so that stories which begin together share it, and its past.
"""

from datetime import datetime
from functools import cache

import numpy as np
import pytest

from firmware_sim.core.events import Kind, Truth
from firmware_sim.core.moments import duration_ms
from tests.scenarios.control_room import listen
from tests.scenarios.signs import sign_of
from tests.scenarios.stories import CONFIGS, STORIES, Series, head, lines, story, town, write

PAST_DAYS = 3
LONG_PAST_DAYS = 12
LONG_PAST = (
    *("burst-behind-meter", "customer-leak", "frozen-counter"),
    *("meter-scale", "meter-stopped", "reverse-flow"),
)
"""Stories of meters, of which nothing is told before they are known for a week."""
NAMES = [path.stem for path in STORIES]


def setting(name):
    """Return what a story shares with others: where and when it begins, and how it is written.

    One that takes days begins on another day than a longer one.
    """
    told = story(name).scenario
    return told.town, told.starts, told.cadence_s, told.lasts if told.cadence_s > 1 else ""


def together(names):
    """Return the names so that stories of one setting are told by one worker, one after another."""
    return [
        pytest.param(name, marks=pytest.mark.xdist_group(f"stories {setting(name)}"))
        for name in names
    ]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return a function that writes a story down: with events, without, and its past."""
    base = tmp_path_factory.mktemp("stories")

    @cache
    def without(where):
        longest = max(
            (told for told in map(story, NAMES) if setting(told.scenario.name) == where),
            key=lambda told: duration_ms(told.scenario.lasts),
        )
        quiet = longest.model_copy(update={"event": (), "expect": type(longest.expect)()})
        return write(base / f"{longest.scenario.name}-quiet", quiet)

    @cache
    def past(town_name, begin, days):
        folder = base / f"{town_name}-{days}-days-before-{begin}"
        return write(folder, None, town_name=town_name, days=days, ending=begin)

    def written(name):
        told = story(name)
        with_events = write(base / name, told)
        begin = instant(head(with_events)["recording"]["from"])
        days = LONG_PAST_DAYS if name in LONG_PAST else PAST_DAYS
        return with_events, without(setting(name)), past(told.scenario.town, begin, days)

    return written


def instant(stamp) -> int:
    if isinstance(stamp, str):
        stamp = datetime.fromisoformat(stamp)
    return round(stamp.timestamp() * 1000)


@pytest.mark.parametrize("name", together(NAMES))
def test_a_story_happens_and_is_judged_as_it_says(name, folders):
    told = story(name)
    with_events, without, past = folders(name)
    truth = {row["id"]: row for row in lines(with_events)}

    told_kinds = {e.id: Kind(e.kind) for e in told.event}
    assert set(truth) == {i for i, k in told_kinds.items() if k.truth is not Truth.NONE} | {
        e.id for e in told.event if e.planned
    }
    assert {row["id"] for row in lines(with_events, "operations.jsonl")} == {
        e.id for e in told.event if e.planned
    }
    ours = Series(with_events)
    quiet = Series(without, rows=len(ours.at))
    assert np.array_equal(ours.at, quiet.at)
    context = {"config": town(told.scenario.town), "folder": with_events}
    for event in told.event:
        begin, end = span(event, truth, ours)
        zone = truth.get(event.id, {}).get("zone")
        sign = sign_of(Kind(event.kind))
        sign(event, ours, quiet, begin=begin, end=end, zone=zone, **context)

    server = CONFIGS / told.scenario.town / "server.toml"
    said = listen(with_events, server, past=past, cadence_s=told.scenario.cadence_s)
    explained = {e.id for e in told.event if e.planned}
    assert {s.explained_by for s in said} <= explained | {""}
    kinds = {s.kind for s in said if not s.explained_by}
    assert kinds.isdisjoint(told.expect.must_not_say), said
    assert len({s.incident for s in said if s.kind == "supply"}) <= 1, said
    for say in told.expect.must_say:
        if say.later:
            continue
        begin = instant(truth[say.after or told.event[0].id]["from"])
        heard = [s for s in said if s.kind == say.kind and say.zone in {None, s.zone}]
        assert any(0 <= s.at - begin <= 1000 * say.within_s for s in heard), (say, said)


def span(event, truth, series):
    """Return from when until when an event was on, as truth.jsonl tells, or the whole."""
    row = truth.get(event.id)
    if row is None:
        return int(series.at[0]), int(series.at[-1])
    return instant(row["from"]), instant(row["to"]) if row["to"] else int(series.at[-1])


def test_there_are_stories_of_every_layer_and_every_kind():
    told = [Kind(e.kind) for name in NAMES for e in story(name).event]

    assert len(NAMES) >= 25
    assert set(Kind) - set(told) == {Kind.PIT_FLOODED, Kind.DOOR_OPEN}


@pytest.mark.parametrize("name", NAMES)
def test_a_story_is_named_after_its_file_and_says_what_must_be_said(name):
    told = story(name)

    assert told.scenario.name == name
    assert told.scenario.title.zh
    assert told.scenario.title.en
    assert told.expect.must_say or told.expect.must_not_say
