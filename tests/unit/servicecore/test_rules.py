"""Routing, permissions, extensions, alarms, incidents: the pure rules and their refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.servicecore.rules import alarms, extension, incident, routing
from server.servicecore.rules.alarms import Axes, Condition, Raised, Shown
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
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, Instant
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


# --- alarms ---------------------------------------------------------------------------------------

LIMIT = 0.28


def follow(values: list[float | None], *, delay_ms: int = 0, deadband: float = 0.01) -> list[bool]:
    condition, active = Condition(), []
    for n, value in enumerate(values):
        condition = alarms.observe(
            condition,
            value,
            at=Instant(AT + n * MINUTE_MS),
            low=LIMIT,
            deadband=deadband,
            on_delay_ms=delay_ms,
        )
        active.append(condition.is_active)
    return active


@requirement("R01")
def test_exactly_the_limit_passes_and_a_kilopascal_less_does_not():
    assert follow([0.28, 0.279]) == [False, True]
    assert book("xinyang-water").policy.number("pressure.central.min_mpa") == LIMIT


def test_an_alarm_waits_for_its_delay_and_clears_above_its_deadband():
    assert follow([0.27, 0.27, 0.27], delay_ms=2 * MINUTE_MS) == [False, False, True]
    assert follow([0.27, 0.285, 0.291]) == [True, True, False]
    assert follow([0.27, 0.29, 0.27], delay_ms=MINUTE_MS) == [False, False, False]


def test_no_data_is_not_normal():
    assert follow([0.27, None, None]) == [True, True, True]


@given(st.lists(st.one_of(st.none(), st.floats(0.2, 0.4)), max_size=40), st.floats(0, 0.05))
def test_a_condition_is_active_only_after_a_value_below(values, deadband):
    for n, active in enumerate(follow(values, deadband=deadband)):
        if active:
            assert any(v is not None and v < LIMIT for v in values[: n + 1])


AXES = st.builds(
    Axes,
    is_active=st.booleans(),
    acknowledged_at=st.one_of(st.none(), st.just(AT)),
    shelved_until=st.one_of(st.none(), st.just(Instant(AT + HOUR_MS))),
    suppressed_by=st.sampled_from(["", "PW-1"]),
    is_out_of_service=st.booleans(),
)


@given(AXES, st.integers(0, 2 * HOUR_MS))
def test_the_axes_are_independent_and_only_the_uncovered_is_heard(axes: Axes, after_ms: int):
    at = Instant(AT + after_ms)
    state = alarms.shown(axes, at=at)

    if state in (Shown.OUT_OF_SERVICE, Shown.SUPPRESSED, Shown.SHELVED):
        assert not alarms.sounds(axes, at=at, decided=False, realarm_ms=0)
    else:
        assert not (axes.is_out_of_service or axes.suppressed_by)
        assert alarms.sounds(axes, at=at, decided=True, realarm_ms=None) == (
            axes.is_active and axes.acknowledged_at is None
        )


def test_a_seen_alarm_that_nobody_decides_is_heard_again():
    axes = Axes(is_active=True, acknowledged_at=AT)
    late = Instant(AT + 30 * MINUTE_MS)

    assert not alarms.sounds(axes, at=Instant(late - 1), decided=False, realarm_ms=30 * MINUTE_MS)
    assert alarms.sounds(axes, at=late, decided=False, realarm_ms=30 * MINUTE_MS)
    assert not alarms.sounds(axes, at=late, decided=True, realarm_ms=30 * MINUTE_MS)


def test_a_shelf_has_a_reason_and_an_end_and_ends_by_itself():
    axes = Axes(is_active=True)
    until = Instant(AT + 8 * HOUR_MS)

    shelved = alarms.shelve(axes, "A-1", until=until, at=AT, max_h=8, reason="flushing")

    assert alarms.shown(shelved, at=AT) is Shown.SHELVED
    assert alarms.shown(shelved, at=until) is Shown.UNACKNOWLEDGED
    assert alarms.unshelve(shelved, "A-1", at=AT) == axes
    for end, reason, words in (
        (until, " ", "say why"),
        (until + 1, "x", "within 8 hours"),
        (AT, "x", "within 8 hours"),
    ):
        with pytest.raises(Refused, match=words):
            alarms.shelve(axes, "A-1", until=Instant(end), at=AT, max_h=8, reason=reason)
    with pytest.raises(Refused, match="is not shelved"):
        alarms.unshelve(shelved, "A-1", at=until)


def raised(minute: float, name: str = "A", **more) -> Raised:
    at = Instant(AT + int(minute * MINUTE_MS))
    return Raised(alarm=name, at=at, cleared_at=more.pop("cleared", at), severity=3, **more)


def test_ten_alarms_in_ten_minutes_are_a_flood_and_nine_are_not():
    ten = [raised(n, f"A-{n}") for n in range(10)]
    end = Instant(AT + DAY_MS)

    def measured(found):
        return alarms.figures(found, start=AT, end=end, dispatchers=1, shelved=2)

    assert measured(ten).floods == 1
    assert measured(ten).flood_share == pytest.approx(10 / (24 * 60))
    assert measured(ten[:9]).floods == 0
    assert measured(ten).per_dispatcher_day == 10
    assert measured(ten).per_dispatcher_10min_max == 10
    assert measured(ten).shelved == 2
    assert alarms.in_flood([r.at for r in ten], at=ten[-1].at)
    assert not alarms.in_flood([r.at for r in ten[1:]], at=ten[-1].at)


def test_chattering_standing_and_the_worst_ten_are_named_and_drills_are_not():
    found = [
        *(raised(0.2 * n, "chatter") for n in range(3)),
        raised(1, "standing", cleared=None),
        raised(2, "drill", cleared=None, is_drill=True),
    ]

    figures = alarms.figures(
        found, start=AT, end=Instant(AT + 2 * DAY_MS), dispatchers=2, shelved=0
    )

    assert figures.chattering == ("chatter",)
    assert figures.standing == ("standing",)
    assert figures.top10_share == 1.0
    assert figures.per_dispatcher_day == 1.0
    assert figures.severity_shares == {3: 1.0}


def test_nothing_raised_is_no_figure():
    figures = alarms.figures([], start=AT, end=AT, dispatchers=0, shelved=0)

    assert (figures.per_dispatcher_day, figures.top10_share, figures.flood_share) == (
        None,
        None,
        None,
    )


# --- incidents ------------------------------------------------------------------------------------


def member(*, active: bool = False, cleared: int | None = AT, silent: bool = False):
    at = None if cleared is None else Instant(cleared)
    return incident.Member(id="A-1", is_active=active, cleared_at=at, is_silent=silent)


@pytest.mark.parametrize(
    ("members", "doubt"),
    [
        ([member(active=True, cleared=None)], "A-1 is active"),
        ([member(active=True, cleared=None, silent=True)], "A-1 has no data"),
        ([member(cleared=AT + 1)], "A-1 is not calm for long enough"),
        ([member()], ""),
    ],
)
def test_telemetry_verifies_only_what_is_calm_for_long_enough(members, doubt):
    now = Instant(AT + 10 * MINUTE_MS)

    def verify(waiver: str) -> None:
        incident.check_verified("INC-1", members, now=now, quiet_ms=10 * MINUTE_MS, waiver=waiver)

    if doubt:
        with pytest.raises(Refused, match=doubt):
            verify(" ")
        verify("seen by the crew")
    else:
        verify("")


def test_merge_and_split_keep_something_on_either_side():
    with pytest.raises(Refused, match="cannot be merged"):
        incident.check_merge("INC-1", "INC-1", incident.State.OPEN)
    with pytest.raises(Refused, match="already closed"):
        incident.check_merge("INC-1", "INC-2", incident.State.CLOSED)
    incident.check_merge("INC-1", "INC-2", incident.State.WORKING)
    incident.check_split("INC-1", ["A-1", "A-2"], ["A-2"])
    for taken, words in ((["A-3"], "there is no A-3"), ([], "keeps"), (["A-1", "A-2"], "keeps")):
        with pytest.raises(Refused, match=words):
            incident.check_split("INC-1", ["A-1", "A-2"], taken)
    with pytest.raises(Refused, match="planned_work"):
        incident.check_explanation("INC-1", "weather")
