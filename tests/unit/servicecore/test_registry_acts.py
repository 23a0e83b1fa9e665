"""Edits of the registry: whole, told to the engine, refused with reason, two persons where due."""

import asyncio
import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engine.registry import Registry
from server.servicecore.desk import Desk
from server.servicecore.door_client import DoorClient
from server.servicecore.plans import Planned
from server.servicecore.registry_acts import PointEdit, ZoneEdit
from server.servicecore.rules import registry_edits as rules
from server.servicecore.rules.permissions import Actor, Role
from server.servicecore.rules.refusal import Refused
from telemetry.instant import HOUR_MS
from tests.support.plant import AT, Journal, registry, seen

P, FLOW = "north-12/pressure", "north-inlet/flow"
ENGINEER = Actor(name="Eng", roles=frozenset({Role.ENGINEER}))
SECOND = Actor(name="Chen", roles=frozenset({Role.ENGINEER}))


def limited(low: float | None, high: float | None = None) -> Registry:
    known = registry()
    return rules.with_point(known, replace(known.points[P], low=low, high=high))


def wanted(**more) -> PointEdit:
    return PointEdit(**{"zone": "north", "name_zh": "压力", "name_en": "Pressure", **more})


async def seeded(desk: Desk, low: float | None = 280.0) -> None:
    await desk.registry_acts.seed(limited(low))


async def commands(desk: Desk) -> list[tuple[str, str, str]]:
    return [(c.verb, c.subject, c.actor) for c in await desk.commands()]


def test_an_edit_is_one_transaction_of_registry_trail_and_command(run):
    async def act(desk: Desk):
        await seeded(desk)
        edit = wanted(low=290.0, x=12.5, elevation_m=31.0, zone="east")
        change = await desk.registry_acts.edit_point(P, edit, actor=ENGINEER, reason="re-cut")
        entry = (await desk.looks.trail()).entries[0]
        point = (await desk.registry()).points[P]
        return change, point, entry, await commands(desk), desk.commands_waiting.is_set()

    change, point, entry, queued, is_told = run(act)

    assert (point.low, point.x, point.elevation_m, point.zone) == (290.0, 12.5, 31.0, "east")
    assert point.period_ms == registry().points[P].period_ms  # what is not edited stays
    assert queued == [("change_registry", f"point {P}", "Eng")]
    assert (entry.actor, entry.reason, entry.data["change"]) == ("Eng", "re-cut", change)
    assert (entry.data["before"]["low"], entry.data["after"]["low"]) == (280.0, 290.0)
    assert is_told


@pytest.mark.requirement("R01")
def test_loosening_a_limit_of_pressure_waits_for_a_second_person(run):
    async def act(desk: Desk):
        await seeded(desk)
        acts = desk.registry_acts
        change = await acts.edit_point(P, wanted(low=270.0), actor=ENGINEER, reason="complaints")
        before = (await desk.registry()).points[P].low, await commands(desk)
        with pytest.raises(Refused, match="another must decide"):
            await acts.decide(change, actor=ENGINEER, is_agreed=True)
        dispatcher = Actor(name="Li", roles=frozenset({Role.DISPATCHER}))
        with pytest.raises(Refused, match="may not do this"):
            await acts.decide(change, actor=dispatcher, is_agreed=True)
        (row,) = await acts.waiting()
        await acts.decide(change, actor=SECOND, is_agreed=True, version=row.version)
        with pytest.raises(Refused, match="is done"):
            await acts.decide(change, actor=SECOND, is_agreed=True)
        return before, row.loosened, (await desk.registry()).points[P].low, await commands(desk)

    before, loosened, low, queued = run(act)

    assert before == (280.0, [])
    assert loosened == [f"{P} low"]
    assert (low, queued) == (270.0, [("change_registry", f"point {P}", "Chen")])


def test_what_is_declined_changes_nothing_and_one_may_take_back_ones_own(run):
    async def act(desk: Desk):
        await seeded(desk)
        acts = desk.registry_acts
        change = await acts.edit_point(P, wanted(low=None), actor=ENGINEER, reason="quiet")
        with pytest.raises(Refused, match="say why"):
            await acts.decide(change, actor=SECOND, is_agreed=False)
        await acts.decide(change, actor=SECOND, is_agreed=False, text="it is a promise")
        other = await acts.edit_point(P, wanted(low=1.0), actor=ENGINEER, reason="slip")
        await acts.decide(other, actor=ENGINEER, is_agreed=False, text="a slip")
        states = [c.state for c in await acts.changes()]
        return states, (await desk.registry()).points[P].low, await commands(desk)

    assert run(act) == (["declined", "declined"], 280.0, [])


def test_an_agreement_to_what_has_moved_on_is_refused(run):
    async def act(desk: Desk):
        await seeded(desk)
        acts = desk.registry_acts
        change = await acts.edit_point(P, wanted(low=270.0), actor=ENGINEER, reason="x")
        other = "north-27/pressure"
        await acts.edit_point(other, wanted(low=200.0), actor=ENGINEER, reason="new limit")
        await acts.edit_point(P, wanted(low=285.0), actor=ENGINEER, reason="stricter")
        with pytest.raises(Refused, match="changed meanwhile"):
            await acts.decide(change, actor=SECOND, is_agreed=True)
        known = await desk.registry()
        return known.points[P].low, known.points[other].low, [c.state for c in await acts.changes()]

    assert run(act) == (285.0, 200.0, ["done", "done", "waiting"])


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (wanted(low=300.0, high=300.0), "must lie below"),
        (wanted(low=float("nan")), "expected a number"),
        (wanted(low=280.0, x=float("inf")), "expected a number"),
        (wanted(low=280.0, zone="nowhere"), "there is no zone nowhere; zones: east, north, south"),
        (wanted(low=280.0, name_en=" "), "needs a name in Chinese and one in English"),
    ],
)
def test_an_edit_that_the_engine_could_not_work_with_is_refused(run, edit, words):
    async def act(desk: Desk):
        await seeded(desk)
        with pytest.raises(Refused, match=words):
            await desk.registry_acts.edit_point(P, edit, actor=ENGINEER, reason="x")
        return await desk.registry() == limited(280.0), await commands(desk)

    assert run(act) == (True, [])


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"inflow": ((P, 1),)}, "is no flow point"),
        ({"inflow": ((FLOW, 1), (FLOW, -1))}, "is named twice"),
        ({"inflow": (("gone/flow", 1),)}, "is no flow point"),
        ({"timezone": "Asia/Nowhere"}, "expected a time zone"),
        ({"timezone": "../../etc/passwd"}, "expected a time zone"),
        ({"calendar": "mars"}, "allowed: cn, it, none"),
    ],
)
def test_a_zone_that_the_engine_could_not_work_with_is_refused(run, edit, words):
    facts = {"name_zh": "北", "name_en": "North", "timezone": "Asia/Shanghai", "calendar": "cn"}

    async def act(desk: Desk):
        await seeded(desk)
        with pytest.raises(Refused, match=words):
            await desk.registry_acts.edit_zone(
                "north", ZoneEdit(**{**facts, **edit}), actor=ENGINEER, reason="x"
            )
        return await desk.registry() == limited(280.0)

    assert run(act)


def test_a_stale_form_an_empty_edit_and_one_without_a_reason_are_refused(run):
    async def act(desk: Desk):
        await seeded(desk)
        acts = desk.registry_acts
        point = (await desk.registry()).points[P]
        same = PointEdit(zone="north", name_zh=point.name_zh, name_en=point.name_en, low=280.0)
        with pytest.raises(Refused, match="nothing would change"):
            await acts.edit_point(P, same, actor=ENGINEER, reason="x")
        with pytest.raises(Refused, match="say why"):
            await acts.edit_point(P, wanted(low=281.0), actor=ENGINEER, reason=" ")
        version = rules.fingerprint(point)
        await acts.edit_point(P, wanted(low=281.0), actor=ENGINEER, reason="x", version=version)
        with pytest.raises(Refused, match="changed meanwhile"):
            await acts.edit_point(P, wanted(low=282.0), actor=ENGINEER, reason="x", version=version)
        return (await desk.registry()).points[P].low

    assert run(act) == 281.0


def test_a_point_in_test_is_accepted_by_its_first_edit(run, journal: Journal):
    journal.record(seen("new/pressure", AT, status="in_test"))

    async def act(desk: Desk):
        await seeded(desk)
        with pytest.raises(Refused, match="there is no nobody"):
            await desk.registry_acts.edit_point("nobody", wanted(), actor=ENGINEER, reason="x")
        await desk.registry_acts.edit_point(
            "new/pressure", wanted(low=250.0), actor=ENGINEER, reason="commissioned"
        )
        return (await desk.registry()).points["new/pressure"]

    point = run(act)

    assert (point.quantity, point.period_ms, point.low) == ("pressure", 1000, 250.0)


def test_toml_seeds_an_empty_registry_only_and_is_taken_again_by_hand(run):
    file, looser = limited(280.0), limited(200.0)

    async def act(desk: Desk):
        acts = desk.registry_acts
        first = await acts.seed(file), await acts.differences()
        await acts.edit_point(P, wanted(low=300.0), actor=ENGINEER, reason="higher")
        again = await acts.seed(looser), await acts.differences()
        kept = (await desk.registry()).points[P].low
        change = await acts.adopt_file(actor=ENGINEER, reason="the file is right")
        await acts.decide(change, actor=SECOND, is_agreed=True)
        return first, again, kept, await desk.registry() == looser, await acts.differences()

    first, again, kept, is_file, left = run(act)

    assert (first, again) == ((True, ()), (False, (f"point {P}",)))
    assert (kept, is_file, left) == (300.0, True, ())


def new_zone(**more) -> ZoneEdit:
    facts = {"name_zh": "西区", "name_en": "West", "timezone": "Asia/Shanghai", "calendar": "cn"}
    return ZoneEdit(**{**facts, **more})


def test_a_zone_is_added_and_points_are_put_into_it(run):
    async def act(desk: Desk):
        await seeded(desk)
        acts = desk.registry_acts
        edit = new_zone(within="north", inflow=((FLOW, -1),))
        change = await acts.add_zone(" west ", edit, actor=ENGINEER, reason="a new estate")
        entry = (await desk.looks.trail()).entries[0]
        await acts.edit_point(P, wanted(zone="west", low=280.0), actor=ENGINEER, reason="re-cut")
        known = await desk.registry()
        return change, entry, known.zones["west"], known.points[P].zone, await commands(desk)

    change, entry, zone, of_point, queued = run(act)

    assert (zone.name_en, zone.timezone, zone.calendar) == ("West", "Asia/Shanghai", "cn")
    assert (zone.parent, [(i.point, i.sign) for i in zone.inflow]) == ("north", [(FLOW, -1)])
    assert of_point == "west"
    assert (entry.actor, entry.reason, entry.data["change"]) == ("Eng", "a new estate", change)
    assert (entry.data["before"], entry.data["after"]["name_en"]) == ({}, "West")
    assert queued[0] == ("change_registry", "zone west", "Eng")


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        ("north", {}, "there is a zone north already"),
        ("the west", {}, "expected 1 to 32 of A-Z"),
        (" ", {}, "expected 1 to 32 of A-Z"),
        ("west", {"name_zh": " "}, "west needs a name in Chinese and one in English"),
        ("west", {"timezone": "Beijing time"}, "expected a time zone"),
        ("west", {"calendar": ""}, "allowed: cn, it, none"),
        ("west", {"within": "atlantis"}, "that does not lie in it, found atlantis"),
        ("west", {"within": "west"}, "that does not lie in it, found west"),
        ("west", {"storage": ((P, 20.0),)}, "is no level point that is accepted"),
    ],
)
def test_a_new_zone_that_cannot_be_is_refused(run, name, edit, words):
    async def act(desk: Desk):
        await seeded(desk)
        with pytest.raises(Refused, match=words):
            await desk.registry_acts.add_zone(name, new_zone(**edit), actor=ENGINEER, reason="x")
        return await desk.registry() == limited(280.0), await commands(desk)

    assert run(act) == (True, [])


def test_zones_that_would_lie_in_each_other_are_refused(run):
    async def act(desk: Desk):
        await seeded(desk)
        acts = desk.registry_acts
        await acts.edit_zone("north", new_zone(within="east"), actor=ENGINEER, reason="x")
        with pytest.raises(Refused, match="east: expected another zone that does not lie in it"):
            await acts.edit_zone("east", new_zone(within="north"), actor=ENGINEER, reason="x")
        await acts.edit_zone("north", new_zone(name_en="N"), actor=ENGINEER, reason="renamed")
        kept = (await desk.registry()).zones["north"]
        await acts.edit_zone("north", new_zone(within=""), actor=ENGINEER, reason="alone")
        return kept, (await desk.registry()).zones["north"].parent

    kept, after = run(act)

    assert (kept.name_en, kept.parent, after) == ("N", "east", None)


def test_a_zone_is_retired_when_nothing_is_left_in_it_and_goes_on_when_it_comes_back(run):
    async def act(desk: Desk):
        await seeded(desk)
        acts = desk.registry_acts
        with pytest.raises(Refused, match=r"north is still in use: north-12/pressure, .*"):
            await acts.retire_zone("north", actor=ENGINEER, reason="re-cut")
        await acts.add_zone("west", new_zone(), actor=ENGINEER, reason="x")
        await acts.edit_zone("east", new_zone(within="west"), actor=ENGINEER, reason="x")
        with pytest.raises(Refused, match="west is still in use: east"):
            await acts.retire_zone("west", actor=ENGINEER, reason="re-cut")
        await acts.edit_zone("east", new_zone(within=""), actor=ENGINEER, reason="x")
        with pytest.raises(Refused, match="say why"):
            await acts.retire_zone("west", actor=ENGINEER, reason=" ")
        with pytest.raises(Refused, match="changed meanwhile"):
            await acts.retire_zone("west", actor=ENGINEER, reason="x", version=1)
        await acts.retire_zone("west", actor=ENGINEER, reason="a slip")
        gone = "west" in (await desk.registry()).zones
        with pytest.raises(Refused, match="there is no west"):
            await acts.retire_zone("west", actor=ENGINEER, reason="x")
        await acts.add_zone("west", new_zone(), actor=ENGINEER, reason="after all")
        return gone, "west" in (await desk.registry()).zones, await commands(desk)

    gone, back, queued = run(act)

    assert (gone, back) == (False, True)
    assert [s for _, s, _ in queued].count("zone west") == 3


def test_a_zone_in_which_something_is_under_way_is_not_retired(run, clock):
    async def act(desk: Desk):
        await seeded(desk)
        acts = desk.registry_acts
        await acts.add_zone("west", new_zone(), actor=ENGINEER, reason="x")
        work = await desk.plans.plan(
            Planned(zone="west", start=AT, end=AT + HOUR_MS, cause="main", plan="by night"),
            actor="Li",
        )
        with pytest.raises(Refused, match=f"west is still in use: {work}"):
            await acts.retire_zone("west", actor=ENGINEER, reason="x")
        await desk.plans.call_off(work, actor="Li", text="not now")
        order = await desk.plans.order(
            kind="valve", station="V", unit="1", act="close", actor="Li", reason="x", zone="west"
        )
        await desk.plans.execute(order, actor="Li", by="Wang", at=AT)
        with pytest.raises(Refused, match=f"west is still in use: {order}"):
            await acts.retire_zone("west", actor=ENGINEER, reason="x")
        clock.at += 4 * HOUR_MS  # what it did is habit by then
        await acts.retire_zone("west", actor=ENGINEER, reason="x")
        return "west" in (await desk.registry()).zones

    assert not run(act)


def test_only_engineers_add_and_retire_zones(run):
    async def act(desk: Desk):
        await seeded(desk)
        dispatcher = Actor(name="Li", roles=frozenset({Role.DISPATCHER}))
        with pytest.raises(Refused, match="may not do this"):
            await desk.registry_acts.add_zone("west", new_zone(), actor=dispatcher, reason="x")
        with pytest.raises(Refused, match="may not do this"):
            await desk.registry_acts.retire_zone("south", actor=dispatcher, reason="x")

    run(act)


def test_a_point_is_retired_by_two_where_it_has_a_must_alarm_limit(run):
    async def act(desk: Desk):
        await seeded(desk)
        acts, other = desk.registry_acts, "north-27/pressure"
        with pytest.raises(Refused, match=f"north: {FLOW} is no flow point"):
            await acts.retire_point(FLOW, actor=ENGINEER, reason="x")
        await acts.retire_point(other, actor=ENGINEER, reason="dismantled")
        change = await acts.retire_point(P, actor=ENGINEER, reason="dismantled")
        waits = P in (await desk.registry()).points
        await acts.decide(change, actor=SECOND, is_agreed=True)
        known = await desk.registry()
        return waits, {P, other} & set(known.points), len(known.points), await commands(desk)

    waits, left, count, queued = run(act)

    assert (waits, left, count) == (True, set(), len(registry().points) - 2)
    assert [s for _, s, _ in queued] == ["point north-27/pressure", f"point {P}"]


LIMIT = st.one_of(st.none(), st.floats(0, 999))


@given(LIMIT, LIMIT, LIMIT, LIMIT)
def test_a_limit_is_loosened_exactly_when_some_value_would_alarm_no_more(low, high, low2, high2):
    before, after = limited(low, high), limited(low2, high2)

    def alarms(value: float, least: float | None, most: float | None) -> tuple[bool, bool]:
        return least is not None and value < least, most is not None and value > most

    values = [v + d for v in (low, high, low2, high2) if v is not None for d in (-0.5, 0.0, 0.5)]
    values += [-1.0, 1e6]
    values += [(a + b) / 2 for a in values for b in values]
    lost = set()
    for value in values:
        old, new = alarms(value, low, high), alarms(value, low2, high2)
        lost |= {n for n, o, w in zip(("low", "high"), old, new, strict=True) if o and not w}

    assert set(rules.loosened(before, after)) == {f"{P} {which}" for which in lost}
    assert rules.loosened(before, before) == ()


def test_a_point_that_goes_takes_its_limits_with_it():
    known = limited(280.0)
    gone = Registry(zones=known.zones, points={p: v for p, v in known.points.items() if p != P})

    assert rules.loosened(known, gone) == (f"{P} low",)
    assert rules.differing(known, gone) == (f"point {P}",)


def test_the_door_is_told_the_whole_registry_with_the_command(tmp_path, run):
    lines: list[dict] = []

    async def act(desk: Desk):
        await seeded(desk)
        await desk.registry_acts.edit_point(P, wanted(low=290.0), actor=ENGINEER, reason="x")
        stop = asyncio.Event()

        async def serve(reader, writer):
            lines.extend([json.loads(await reader.readline()) for _ in range(2)])
            stop.set()
            writer.close()

        server = await asyncio.start_unix_server(serve, tmp_path / "door.sock", limit=10**7)
        async with asyncio.timeout(10), server:
            await DoorClient(desk, tmp_path / "door.sock").run(stop)
        return await desk.registry()

    known = run(act)

    assert [line["actor"] for line in lines] == ["mainwatch", "Eng"]
    assert [Registry.from_json(line["registry"]) for line in lines] == [known, known]


def test_no_edit_can_be_deleted(tmp_path, run):
    async def act(desk: Desk):
        await seeded(desk)
        await desk.registry_acts.edit_point(P, wanted(low=290.0), actor=ENGINEER, reason="x")

    run(act)
    with (
        closing(sqlite3.connect(tmp_path / "desk.db")) as db,
        pytest.raises(sqlite3.IntegrityError, match="nothing is changed or deleted"),
    ):
        db.execute("DELETE FROM registry_change")
