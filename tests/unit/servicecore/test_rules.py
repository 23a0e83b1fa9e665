"""Routing, permissions and extensions: the pure rules and their refusals."""

import pytest

from server.servicecore.rules import extension, routing
from server.servicecore.rules.clocks import Reading, Verdict
from server.servicecore.rules.permissions import (
    RIGHTS,
    STEP_RIGHTS,
    Actor,
    Right,
    Role,
    actor_of,
    check,
    may,
)
from server.servicecore.rules.policy_form import Purpose
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.routing import Category, Duty, Unit
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from tests.support.books import book

requirement = pytest.mark.requirement
AT = Instant(1_800_000_000_000)


def unit(name: str, kind: str, *zones: str, parent: str = "") -> Unit:
    return Unit(id=name, kind=kind, name=name, parent=parent, zones=zones)


UNITS = (
    unit("north-branch", "branch", "north"),
    unit("east-branch", "branch", "east"),
    unit("division", "repair_division"),
    unit("leak-team", "leak_team"),
    unit("lab", "laboratory"),
    unit("inspectors", "enforcement"),
    unit("engineering", "engineering"),
    unit("operations", "operations"),
    unit("owner", "technical_owner"),
    unit("instruments", "instrument"),
    unit("control-room", "operators"),
    unit("department", "department"),
    unit("north-crew", "crew", parent="north-branch"),
)
DUTIES = (
    *(
        Duty(unit=u.id, person=f"{u.id} liaison", role="liaison", since=AT, until=Instant(AT + 9))
        for u in UNITS
        if u.kind != "crew"
    ),
    Duty(unit="north-crew", person="Zhao", role="crew", since=AT, until=Instant(AT + 9)),
    Duty(unit="north-branch", person="Sun", role="representative", since=AT, until=Instant(AT + 9)),
)


def to(category: Category, zone: str = "north", *, policy: str = "hotline-workflow", **more):
    return routing.route(
        category,
        zone,
        policy=book(policy).policy,
        units=more.pop("units", UNITS),
        duties=more.pop("duties", DUTIES),
        at=more.pop("at", AT),
        **more,
    )


@pytest.mark.parametrize(
    ("policy", "category", "desk"),
    [
        pytest.param("hotline-workflow", c, d, marks=requirement(r))
        for r, c, d in (
            ("R50", Category.LEAK, "north-branch"),
            ("R50", Category.NO_WATER, "north-branch"),
            ("R50", Category.LOW_PRESSURE, "north-branch"),
            ("R52", Category.UNKNOWN_CAUSE, "north-branch"),
            ("R54", Category.BILLING, "north-branch"),
            ("R55", Category.QUALITY, "lab"),
            ("R56", Category.THEFT, "inspectors"),
        )
    ]
    + [
        pytest.param("hotline-rules", c, d, marks=requirement("R58"))
        for c, d in (
            (Category.LEAK, "engineering"),
            (Category.LOW_PRESSURE, "engineering"),
            (Category.REPAIR, "engineering"),
            (Category.VALVE_WELL, "engineering"),
            (Category.CONNECTION, "engineering"),
            (Category.QUALITY, "operations"),
            (Category.METERING, "operations"),
            (Category.BILLING, "operations"),
        )
    ]
    + [
        pytest.param("hohhot-heating", Category.NO_HEAT, "north-branch", marks=requirement("R51")),
        pytest.param("changchun-water", Category.LINEAR_PROJECT, "owner", marks=requirement("R66")),
        pytest.param("cn-water", Category.PUMP_OPERATION, "control-room", marks=requirement("R60")),
        pytest.param("cn-water", Category.INSTRUMENT, "instruments", marks=requirement("R11")),
    ],
)
def test_a_category_goes_where_the_text_says(policy: str, category: Category, desk: str):
    assert to(category, policy=policy).desk == desk


@requirement("R57")
def test_a_complaint_goes_by_its_nature_and_the_centre_hears_too():
    assert to(Category.COMPLAINT, nature=Category.QUALITY).desk == "lab"
    assert to(Category.COMPLAINT).desk == "north-branch"
    assert routing.feedback_to(Category.COMPLAINT) == ("requester", "centre")
    assert routing.feedback_to(Category.LEAK) == ("requester",)


@requirement("R59", "R68")
def test_the_desk_has_its_crew_at_once_and_shows_the_representative():
    found = to(Category.LEAK)

    assert (found.crew, found.liaison) == ("north-crew", "north-branch liaison")
    assert found.representative == "Sun"
    assert to(Category.LEAK, "east").because == "no crew of the desk is on duty"


@requirement("R50")
def test_an_area_that_nobody_serves_is_refused_with_those_served():
    with pytest.raises(Refused, match="no branch unit serves south; areas served: east, north"):
        to(Category.LEAK, "south")


@requirement("R61")
def test_a_desk_without_a_liaison_on_duty_is_refused_with_those_manned():
    manned = tuple(d for d in DUTIES if d.unit != "north-branch")

    with pytest.raises(Refused, match=r"north-branch has no liaison on duty; on duty now: .*lab"):
        to(Category.LEAK, duties=manned)
    with pytest.raises(Refused, match="no liaison"):
        to(Category.LEAK, at=Instant(AT + 9))  # the shift is over
    assert routing.without_liaison(UNITS, manned, at=AT) == ("north-branch",)


@requirement("R11")
def test_a_category_that_there_is_not_is_refused_with_those_there_are():
    with pytest.raises(Refused, match="there is no category weather; categories: burst, leak"):
        routing.category_of("weather")
    wanted = {
        *("pump_operation", "low_pressure", "billing", "metering", "inspection", "approval"),
        *("design", "construction", "acceptance", "quality"),
    }
    assert wanted <= {str(c) for c in Category}


def test_an_emergency_is_never_an_enquiry():
    assert {routing.purpose_of(c) for c in routing.EMERGENCIES} == {Purpose.EMERGENCY}
    assert routing.purpose_of(Category.BILLING) is Purpose.ENQUIRY
    assert routing.purpose_of(Category.PROJECT) is Purpose.PROJECT


@requirement("R62")
def test_one_incident_of_fushun_gives_orders_to_several_units():
    policy = book("fushun-water").policy

    outdoor = [(c.id, c.to) for c in routing.children_of(policy, place="outdoor")]
    indoor = [(c.id, c.to) for c in routing.children_of(policy, place="indoor")]

    assert outdoor == [
        ("hidden_leak", "branch"),
        ("outdoor_main", "repair_division"),
        ("valves", "branch"),
    ]
    assert indoor == [("indoor", "branch")]
    assert {c.to for c in policy.children} == {"branch", "repair_division", "leak_team"}
    assert policy.demands("feedback.mandatory")


@requirement("R67")
@pytest.mark.parametrize(("flow", "is_large"), [(10.0, False), (10.01, True), (9.0, False)])
def test_exactly_ten_cubic_metres_is_small(flow, is_large):
    assert routing.is_large_customer(flow, book("shangzhi-gas").policy) is is_large


@requirement("R65")
@pytest.mark.parametrize(("cny", "is_major"), [(50_000_000, True), (49_999_999, False)])
def test_exactly_fifty_million_is_major(cny, is_major):
    assert routing.is_major_project(cny, book("changchun-water").policy) is is_major


@requirement("R65")
def test_sensitive_customers_raise_an_order_in_the_queue():
    assert routing.priority(3, affects_sensitive=True) == 2
    assert routing.priority(1, affects_sensitive=True) == 1
    assert routing.priority(3, affects_sensitive=False) == 3


@requirement("R75")
def test_three_contacts_in_two_hours_are_a_cluster_and_two_are_not():
    policy = book("demo-water").policy
    at = [Instant(AT), Instant(AT + HOUR_MS), Instant(AT + 2 * HOUR_MS)]

    assert routing.is_cluster(at, policy)
    assert not routing.is_cluster(at[:2], policy)
    assert not routing.is_cluster([*at[:2], Instant(AT + 2 * HOUR_MS + 1)], policy)
    assert not routing.is_cluster(at, book("xinyang-water").policy)


# --- extensions and notices -----------------------------------------------------------------------


def running(due: int, *, verdict: Verdict = Verdict.RUNNING) -> Reading:
    return Reading(
        clock="repair",
        started_at=AT,
        due=Instant(due),
        stopped_at=None,
        verdict=verdict,
        is_provisional=False,
        is_extended=False,
        left_ms=0,
        tell=(),
    )


def ask(now: int, *, due: int = AT + HOUR_MS, expected: int = AT + DAY_MS, texts=("rock", "drill")):
    extension.check_request(
        "T-1",
        running(due),
        clock="repair",
        running=("repair",),
        expected=Instant(expected),
        texts=texts,
        now=Instant(now),
    )


@requirement("R76")
def test_an_extension_is_asked_for_before_the_limit_and_not_at_it():
    ask(AT + HOUR_MS - 1)

    for late in (AT + HOUR_MS, AT + HOUR_MS + 1):
        with pytest.raises(Refused, match="asked for before the limit"):
            ask(late)


@requirement("R76")
def test_an_extension_has_a_reason_a_plan_and_a_later_date():
    for texts in (("", "drill"), ("rock", " ")):
        with pytest.raises(Refused, match="reason, plan"):
            ask(AT, texts=texts)
    with pytest.raises(Refused, match="expected a date after"):
        ask(AT, expected=AT + HOUR_MS)
    with pytest.raises(Refused, match="no running clock"):
        extension.check_request(
            "T-1",
            None,
            clock="repair",
            running=("accept",),
            expected=AT,
            texts=("a", "b"),
            now=AT,
        )


def test_a_long_extension_is_a_leaders():
    assert not extension.is_long(running(AT), Instant(AT + DAY_MS))
    assert extension.is_long(running(AT), Instant(AT + DAY_MS + 1))


@requirement("R26")
def test_an_expedite_only_shortens():
    extension.check_expedite(running(AT + 9), "T-1", clock="repair", due=Instant(AT + 8))

    with pytest.raises(Refused):
        extension.check_expedite(running(AT + 9), "T-1", clock="repair", due=Instant(AT + 9))
    with pytest.raises(Refused, match="no running clock"):
        extension.check_expedite(None, "T-1", clock="repair", due=AT)


@pytest.mark.parametrize(
    ("hours_ms", "needed"), [(4 * HOUR_MS, False), (4 * HOUR_MS + 1, True), (HOUR_MS, False)]
)
def test_exactly_four_hours_need_no_notice(hours_ms, needed):
    policy = book("hotline-rules").policy

    assert extension.needs_notice(policy, AT, Instant(AT + hours_ms)) is needed
    assert not extension.needs_notice(book("xinyang-water").policy, AT, Instant(AT + DAY_MS))


@requirement("R30")
def test_records_are_kept_for_five_years_whatever_the_policy_says():
    for name in ("shangzhi-gas", "xinyang-water"):
        until = extension.keeps_until(AT, book(name).policy, years_min=5)
        assert until - AT == 5 * 366 * DAY_MS


# --- permissions ----------------------------------------------------------------------------------


def actor(*roles: Role, unit: str = "") -> Actor:
    return Actor(name="Li", roles=frozenset(roles), unit=unit)


@pytest.mark.parametrize(
    ("role", "right", "allowed"),
    [
        (Role.CALL_TAKER, Right.CONTACT, True),
        (Role.CALL_TAKER, Right.ISSUE, False),
        (Role.DISPATCHER, Right.SHELVE, True),
        (Role.DISPATCHER, Right.SHELVE_LONG, False),
        (Role.DISPATCHER, Right.CLOSE, False),
        (Role.SHIFT_LEADER, Right.SHELVE_LONG, True),
        (Role.SHIFT_LEADER, Right.EXTEND, True),
        (Role.SHIFT_LEADER, Right.EXTEND_LONG, False),
        (Role.LEADER, Right.EXPEDITE, True),
        (Role.LEADER, Right.ISSUE, False),
        (Role.CENTRE, Right.CLOSE, True),
        (Role.CREW, Right.FIELD, True),
        (Role.CREW, Right.CLOSE, False),
        (Role.ENGINEER, Right.OUT_OF_SERVICE, True),
        (Role.ADMIN, Right.CLOSE, False),
        (Role.AUDITOR, Right.AUDIT, True),
        (Role.AUDITOR, Right.URGE, False),
    ],
)
def test_a_role_may_what_the_table_says(role, right, allowed):
    assert may(actor(role), right) is allowed


def test_the_administrator_takes_no_step_on_a_ticket():
    assert not RIGHTS[Role.ADMIN] & set(STEP_RIGHTS.values())
    assert set(RIGHTS) == set(Role)
    assert {r for rights in RIGHTS.values() for r in rights} == set(Right)


def test_a_desk_acts_on_its_own_orders_and_no_others():
    mine = actor(Role.DESK, unit="north-branch")

    assert may(mine, Right.ACCEPT, unit="north-branch")
    assert not may(mine, Right.ACCEPT, unit="east-branch")
    with pytest.raises(Refused, match="the role desk may not do this"):
        check(mine, Right.ACCEPT, unit="east-branch")


def test_a_name_without_sign_in_is_trusted_as_before():
    assert may(actor_of("Li"), Right.CLOSE, unit="anywhere")
    assert not may(actor_of(actor(Role.AUDITOR)), Right.CLOSE)
