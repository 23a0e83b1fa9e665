"""What a policy promises at places of a kind: at which points it holds, and when it changes."""

import asyncio
from dataclasses import replace

import pytest

from server.engine.registry import Registry
from server.servicecore.desk import Desk
from server.servicecore.registry_acts import PointEdit, Promised
from server.servicecore.rulebook import RuleBook
from server.servicecore.rules import promises
from server.servicecore.rules import registry_edits as rules
from server.servicecore.rules.kpi import Pressure
from server.servicecore.rules.permissions import Actor, Role
from server.servicecore.rules.policy_form import Sourced, place_of
from server.servicecore.rules.refusal import Refused
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from tests.support.books import book
from tests.support.plant import AT, registry

P, OTHER, FLOW = "north-12/pressure", "east-12/pressure", "north-inlet/flow"
KEY = "pressure.central.min_mpa"
ENGINEER = Actor(name="Eng", roles=frozenset({Role.ENGINEER}))
SECOND = Actor(name="Chen", roles=frozenset({Role.ENGINEER}))


def promising(mpa: float | None) -> RuleBook:
    """Return a rule book that promises so much in the centre."""
    known = book("xinyang-water")
    values = {k: v for k, v in known.policy.values.items() if k != KEY}
    if mpa is not None:
        values[KEY] = Sourced(value=mpa, source="default: of a test")
    return replace(known, policy=replace(known.policy, values=values, revision=f"{mpa}"))


def central(*points: str, own: float | None = None) -> Registry:
    known = registry()
    for name in points:
        known = rules.with_point(
            known, replace(known.points[name], place="central", promise_kpa=own)
        )
    return known


def wanted(**more) -> PointEdit:
    return PointEdit(zone="north", name_zh="压力", name_en="Pressure", **more)


@pytest.fixture
def with_book(tmp_path, journal, clock):
    """Return a function that opens the desk under a rule book, as a restart does, and uses it."""

    def use(rule_book: RuleBook, act=None, file: Registry | None = None):
        async def inside():
            desk = await Desk.open(
                tmp_path / "desk.db",
                journal=tmp_path / "journal.db",
                clock=clock,
                book=rule_book,
            )
            try:
                if not await desk.registry_acts.seed(file or central(P, OTHER)):
                    await desk.registry_acts.follow_policy()
                return None if act is None else await act(desk)
            finally:
                await desk.close()

        return asyncio.run(inside())

    return use


async def promised(desk: Desk, point: str = P) -> tuple[float | None, str]:
    found = (await desk.registry()).points[point]
    return found.promise_kpa, found.promise_by


async def states(desk: Desk) -> list[tuple[str, str, list[str]]]:
    return [(c.subject, c.state, c.loosened) for c in await desk.registry_acts.changes()]


@pytest.mark.requirement("R01")
def test_a_point_of_the_centre_is_promised_what_the_policy_says_and_others_nothing():
    known = central(P, OTHER)
    known = rules.with_point(known, replace(known.points[OTHER], promise_kpa=250.0))
    found = known.promised(book("xinyang-water").promises)

    assert (found.points[P].promise_kpa, found.points[P].promise_by) == (
        280.0,
        f"xinyang-water: {KEY}",
    )
    assert (found.points[OTHER].promise_kpa, found.points[OTHER].promise_by) == (250.0, "")
    assert found.points["north-27/pressure"].promise_kpa is None
    assert found.promised({}) == known
    assert Registry.from_json(found.to_json()) == found


@pytest.mark.parametrize("key", ["pressure..min_mpa", "pressure.a.b.min_mpa", "pressure.x.max_mpa"])
def test_a_key_that_names_no_place_promises_nothing(key):
    assert place_of(key) == ""


@pytest.mark.requirement("R01")
def test_a_stricter_policy_holds_at_once_and_the_engine_is_told(with_book):
    async def act(desk: Desk):
        queued = [(c.verb, c.subject, c.actor) for c in await desk.commands()]
        return await promised(desk), await states(desk), queued, await desk.trail_break()

    with_book(promising(0.28))
    found, changes, queued, broken = with_book(promising(0.30), act)

    assert found == (300.0, f"xinyang-water: {KEY}")
    assert changes == [("policy xinyang-water", "done", [])]
    assert queued == [("change_registry", "policy xinyang-water", "mainwatch")]
    assert broken is None


@pytest.mark.parametrize("less", [0.25, None])
def test_a_looser_policy_is_asked_once_and_holds_when_an_engineer_agrees(with_book, less):
    async def look(desk: Desk):
        return await promised(desk), await states(desk), len(await desk.commands())

    async def agree(desk: Desk):
        [row] = await desk.registry_acts.waiting()
        await desk.registry_acts.decide(row.id, actor=ENGINEER, is_agreed=True)
        return await promised(desk), await promised(desk, OTHER)

    with_book(promising(0.28))
    first = with_book(promising(less), look)
    again = with_book(promising(less), look)
    agreed = with_book(promising(less), agree)
    after = with_book(promising(less), look)

    asked = [f"{p} promise" for p in sorted((P, OTHER))]
    waits = [("policy xinyang-water", "waiting", asked)]
    assert first == ((280.0, f"xinyang-water: {KEY}"), waits, 0)
    assert again == first
    expected = (250.0, f"xinyang-water: {KEY}") if less else (None, "")
    assert agreed == (expected, expected)
    assert after[1] == [("policy xinyang-water", "done", asked)]


def test_what_was_declined_stays_promised_and_is_not_asked_again(with_book):
    async def decline(desk: Desk):
        [row] = await desk.registry_acts.waiting()
        await desk.registry_acts.decide(row.id, actor=ENGINEER, is_agreed=False, text="not here")

    async def look(desk: Desk):
        return await promised(desk), [s for _, s, _ in await states(desk)]

    with_book(promising(0.28))
    with_book(promising(0.25), decline)

    assert with_book(promising(0.25), look) == (
        (280.0, f"xinyang-water: {KEY}"),
        ["declined"],
    )


def test_what_a_policy_asked_for_is_withdrawn_when_it_is_no_longer_in_force(with_book):
    async def look(desk: Desk):
        return [s for _, s, _ in await states(desk)], len(await desk.registry_acts.waiting())

    with_book(promising(0.28))
    with_book(promising(0.25))

    assert with_book(promising(0.28), look) == (["declined"], 0)
    assert with_book(promising(0.25), look) == (["waiting", "declined"], 1)


def test_agreeing_leaves_a_point_alone_that_has_moved_on(with_book):
    async def move_and_agree(desk: Desk):
        acts = desk.registry_acts
        own = Promised(place="central", own_kpa=290.0)
        edit = replace(wanted(promised=own), zone="north")
        await acts.edit_point(P, edit, actor=ENGINEER, reason="stricter here")
        [row] = await acts.waiting()
        await acts.decide(row.id, actor=SECOND, is_agreed=True)
        return await promised(desk), await promised(desk, OTHER)

    with_book(promising(0.28))

    assert with_book(promising(0.25), move_and_agree) == (
        (290.0, ""),
        (250.0, f"xinyang-water: {KEY}"),
    )


def test_an_edit_of_something_else_leaves_a_promise_as_it_is(with_book):
    async def rename(desk: Desk):
        told = Promised(place="central", own_kpa=None)
        edit = wanted(promised=told, low=200.0)
        await desk.registry_acts.edit_point(P, edit, actor=ENGINEER, reason="a limit")
        return await promised(desk), (await states(desk))[0][1]

    with_book(promising(0.28))

    assert with_book(promising(0.25), rename) == ((280.0, f"xinyang-water: {KEY}"), "done")


def test_taking_a_point_out_of_the_centre_needs_two_persons_and_a_flow_has_no_promise(with_book):
    async def act(desk: Desk):
        acts = desk.registry_acts
        told = Promised(place="suburb")
        change = await acts.edit_point(P, wanted(promised=told), actor=ENGINEER, reason="re-cut")
        before = await promised(desk)
        await acts.decide(change, actor=SECOND, is_agreed=True)
        for name, own in ((FLOW, None), (OTHER, 0.0)):
            edit = wanted(promised=Promised(place="central", own_kpa=own))
            with pytest.raises(Refused, match=r"is no pressure|expected a number"):
                await acts.edit_point(name, edit, actor=ENGINEER, reason="x")
        return before, await promised(desk)

    assert with_book(promising(0.28), act) == ((280.0, f"xinyang-water: {KEY}"), (None, ""))


@pytest.mark.requirement("R02")
def test_a_month_is_held_to_what_was_promised_at_each_time(with_book, clock):
    async def pressures(point: str, start: Instant, end: Instant):
        hours = range(-(-start // HOUR_MS) * HOUR_MS, end, HOUR_MS)
        said = [Pressure(at=Instant(at), value_kpa=280.0, lasts_ms=HOUR_MS) for at in hours]
        return said, (end - start) / HOUR_MS

    async def month(desk: Desk):
        start, end = Instant(AT - DAY_MS), Instant(AT + DAY_MS)
        found = await desk.figures.compliance(pressures, start, end)
        return found["north"].value, found["north"].availability

    only = central(P)
    with_book(promising(0.28), file=only)
    before = with_book(promising(0.28), month)
    clock.at += 12 * HOUR_MS
    half = with_book(promising(0.30), month)

    assert before == (1.0, pytest.approx(1.0, abs=0.03))
    assert half[0] == pytest.approx(36 / 48)
    assert half[1] == pytest.approx(1.0, abs=0.03)


def test_what_was_not_promised_yet_is_not_judged():
    point = replace(registry().points[P], promise_kpa=280.0)
    edits = [
        promises.Edit(at=Instant(20), subject=f"point {P}", before={"promise_kpa": None}),
        promises.Edit(at=Instant(30), subject=f"point {OTHER}", before={"promise_kpa": 1.0}),
        promises.Edit(at=Instant(40), subject="server.toml", before={"promises": {P: [250.0, ""]}}),
    ]
    found = list(promises.spans_of(point, edits, start=Instant(0), end=Instant(100)))

    assert [(s.start, s.end, s.kpa) for s in found] == [(40, 100, 280.0), (20, 40, 250.0)]


def test_a_point_that_was_accepted_lately_is_judged_as_it_was_first_known():
    point = replace(registry().points[P], promise_kpa=280.0)
    accepted = promises.Edit(at=Instant(20), subject=f"point {P}", before={})
    found = list(promises.spans_of(point, [accepted], start=Instant(0), end=Instant(100)))

    assert [(s.start, s.end, s.kpa) for s in found] == [(0, 100, 280.0)]
