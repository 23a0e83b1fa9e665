"""The clocks: golden cases, pauses, variants, and what is not known yet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.servicecore.rules import clocks
from server.servicecore.rules.clocks import Facts, Happening, Verdict
from server.servicecore.rules.policy_form import ClockRule, LadderStep, Variant
from telemetry.instant import HOUR_MS, MINUTE_MS, SECOND_MS, Instant
from tests.support.books import book, local, shown

NOBODY_KNOWS = Facts()
requirement = pytest.mark.requirement


def reading(
    policy: str, clock: str, *events: Happening, facts=NOBODY_KNOWS, now: int | None = None
):
    rules = book(policy)
    rule = rules.policy.clock(clock)
    assert rule is not None
    at = events[-1].at if now is None else Instant(now)
    return clocks.read(rule, events, facts=facts, calendar=rules.calendar, now=at)


GOLDEN = [
    ("shangzhi-gas", "handover", "2026-09-30 16:30", "2026-10-08 09:30", ("R23", "R24")),
    ("shangzhi-gas", "handover", "2026-09-30 22:00", "2026-10-08 10:30", ("R24",)),
    ("shangzhi-gas", "handover", "2026-11-25 10:30", "2026-11-25 14:00", ("R23",)),
    ("shangzhi-gas", "contact_back", "2026-09-30 16:00", "2026-10-10 17:30", ("R25",)),
    ("hohhot-heating", "repair", "2026-10-03 02:15", "2026-10-04 02:15", ("R71",)),
    ("hohhot-heating", "onsite", "2026-10-03 02:15", "2026-10-03 03:15", ("R72",)),
    ("hotline-intake", "accept", "2026-10-03 02:15", "2026-10-03 02:35", ("R70",)),
    ("hotline-workflow", "cluster", "2026-10-09 17:00", "2026-10-10 17:30", ("R75",)),
    ("hotline-rules", "solve", "2026-10-09 17:00", "2026-10-10 17:30", ("R74",)),
    ("xinyang-water", "repair", "2026-10-03 02:15", "2026-10-04 02:15", ("R73",)),
    ("xinyang-water", "account", "2026-10-03 02:15", "2026-11-01 00:00", ("R82",)),
    ("xinyang-water", "account", "2026-12-31 23:59", "2027-01-01 00:00", ("R82",)),
    ("hohhot-heating", "form", "2026-10-03 09:00", "2026-10-18 09:00", ("R79",)),
    ("shangzhi-gas", "outreach", "2026-11-25 09:00", "2026-11-30 17:30", ("R78",)),
    ("shangzhi-gas", "project", "2026-11-02 09:00", "2026-11-16 17:30", ("R77",)),
    ("shangzhi-gas", "project_first", "2026-11-02 09:00", "2026-11-09 17:30", ("R77",)),
    ("shangzhi-gas", "project_second", "2026-11-09 17:30", "2026-11-12 17:30", ("R77",)),
    ("shangzhi-gas", "project_third", "2026-11-12 17:30", "2026-11-16 17:30", ("R77",)),
]


@pytest.mark.parametrize(
    ("policy", "clock", "start", "due"),
    [pytest.param(*case[:4], marks=requirement(*case[4])) for case in GOLDEN],
)
def test_a_golden_case_is_due_to_the_minute(policy: str, clock: str, start: str, due: str):
    rule = book(policy).policy.clock(clock)
    assert rule is not None

    found = reading(policy, clock, Happening(at=local(start), name=rule.start))

    assert found is not None
    assert shown(found.due) == due
    assert not found.is_provisional or due.startswith("2027")


@requirement("R25")
def test_a_limit_over_an_unpublished_year_is_provisional():
    found = reading(
        "shangzhi-gas", "contact_back", Happening(at=local("2026-12-30 10:00"), name="reported")
    )

    assert found is not None
    assert found.is_provisional
    assert shown(found.due) == "2027-01-05 17:30"


@requirement("R75")
def test_the_second_working_day_may_be_counted_either_way_and_strictly_is():
    rule = book("hotline-workflow").policy.clock("cluster")
    assert rule is not None
    assert rule.counts_first
    loose = rule.model_copy(update={"counts_first": False})
    start = Happening(at=local("2026-10-09 17:00"), name="cluster_found")

    found = clocks.read(
        loose,
        [start],
        facts=NOBODY_KNOWS,
        calendar=book("hotline-workflow").calendar,
        now=start.at,
    )

    assert found is not None
    assert shown(found.due) == "2026-10-12 17:30"


@requirement("R71", "R72")
def test_until_liability_is_known_both_clocks_of_hohhot_run():
    start = Happening(at=local("2026-10-03 02:15"), name="reported")

    def running(facts: Facts) -> list[str]:
        return [c for c in ("repair", "onsite") if reading("hohhot-heating", c, start, facts=facts)]

    assert running(Facts()) == ["repair", "onsite"]
    assert running(Facts(liability="own")) == ["repair"]
    assert running(Facts(liability="customer")) == ["onsite"]


@requirement("R80")
@pytest.mark.parametrize(("late_ms", "verdict"), [(0, Verdict.MET), (1, Verdict.MISSED)])
def test_done_exactly_at_the_limit_is_in_time(late_ms: int, verdict: Verdict):
    start = local("2026-10-03 02:15")

    found = reading(
        "hohhot-heating",
        "repair",
        Happening(at=start, name="reported"),
        Happening(at=Instant(start + 24 * HOUR_MS + late_ms), name="replied"),
    )

    assert found is not None
    assert found.verdict is verdict


@requirement("R80")
def test_the_clock_stops_at_the_reply_and_not_at_the_closing():
    start = local("2026-10-03 02:15")

    found = reading(
        "hohhot-heating",
        "repair",
        Happening(at=start, name="reported"),
        Happening(at=Instant(start + HOUR_MS), name="replied"),
        Happening(at=Instant(start + 90 * HOUR_MS), name="closed"),
    )

    assert found is not None
    assert (found.verdict, found.stopped_at) == (Verdict.MET, start + HOUR_MS)


def test_what_was_replied_before_a_reopening_does_not_count():
    start = local("2026-10-03 02:15")
    events = [
        Happening(at=start, name="reported"),
        Happening(at=Instant(start + HOUR_MS), name="replied"),
        Happening(at=Instant(start + 2 * HOUR_MS), name="reopened"),
    ]

    found = reading("hohhot-heating", "repair", *events)

    assert found is not None
    assert (found.verdict, found.stopped_at) == (Verdict.RUNNING, None)
    assert found.due == start + 24 * HOUR_MS


@requirement("R77")
def test_only_reasons_of_the_policy_pause_a_clock():
    start = local("2026-11-02 09:00")
    began = Happening(at=start, name="project_received")

    def due(code: str) -> str:
        found = reading(
            "shangzhi-gas",
            "project",
            began,
            Happening(at=local("2026-11-04 10:00"), name="waiting", code=code),
            Happening(at=local("2026-11-06 10:00"), name="resumed"),
        )
        assert found is not None
        return shown(found.due)

    assert due("waiting_customer") == "2026-11-18 17:30"
    assert due("waiting_parts") == "2026-11-16 17:30"


def test_a_paused_clock_does_not_run_out_and_tells_nobody():
    start = local("2026-11-02 09:00")

    found = reading(
        "shangzhi-gas",
        "project",
        Happening(at=start, name="project_received"),
        Happening(at=local("2026-11-04 10:00"), name="waiting", code="waiting_customer"),
        now=local("2026-12-25 10:00"),
    )

    assert found is not None
    assert (found.verdict, found.tell) == (Verdict.PAUSED, ())


def rule(**more: object) -> ClockRule:
    body = {
        "id": "repair",
        "purpose": "emergency",
        "start": "issued",
        "stop": "replied",
        "limit": "24h",
        "mode": "wall",
        "source": "default: of this test",
        **more,
    }
    return ClockRule.model_validate(body)


def variant(limit: str, **when: object) -> Variant:
    return Variant.model_validate({"limit": limit, "when": when, "source": "default: of this test"})


BY_SIZE = rule(limit=None, variant=(variant("24h", dn_mm_max=500), variant("48h", dn_mm_min=501)))
BY_PLACE = rule(limit="90min", variant=(variant("45min", place="inside_second_ring"),))
BY_NIGHT = rule(limit="60min", variant=(variant("90min", night=True),))


@pytest.mark.parametrize(
    ("by", "facts", "minutes"),
    [
        (BY_SIZE, Facts(dn_mm=500), 24 * 60),
        (BY_SIZE, Facts(dn_mm=501), 48 * 60),
        (BY_SIZE, Facts(), 24 * 60),
        (BY_PLACE, Facts(place="inside_second_ring"), 45),
        (BY_PLACE, Facts(place="outside"), 90),
        (BY_PLACE, Facts(), 45),
        (BY_NIGHT, Facts(night=True), 90),
        (BY_NIGHT, Facts(night=False), 60),
        (BY_NIGHT, Facts(), 60),
    ],
)
def test_a_limit_depends_on_size_place_and_night_and_never_on_hope(by, facts, minutes):
    limit = clocks.limit_for(by, facts)

    assert limit is not None
    assert limit.amount == minutes * MINUTE_MS


@pytest.mark.parametrize(
    ("time", "is_night"),
    [("21:59", False), ("22:00", True), ("02:15", True), ("05:59", True), ("06:00", False)],
)
def test_the_night_of_a_policy_goes_over_midnight(time, is_night):
    rules = book("demo-water")

    assert clocks.is_night(local(f"2026-10-03 {time}"), rules.night, calendar=rules.calendar) is (
        is_night
    )


def test_the_ladder_tells_each_step_in_its_turn():
    steps = tuple(
        LadderStep.model_validate({"at": at, "tell": [who]})
        for at, who in (("+24h", "leader"), ("80%", "holder"), ("100%", "head"), ("150%", "centre"))
    )
    start = local("2026-10-03 02:00")

    def told(minutes: int) -> tuple[str, ...]:
        found = clocks.read(
            rule(limit="60min", steps=steps),
            [Happening(at=start, name="issued")],
            facts=NOBODY_KNOWS,
            calendar=book("demo-water").calendar,
            now=Instant(start + minutes * MINUTE_MS),
        )
        assert found is not None
        return found.tell

    assert told(47) == ()
    assert told(48) == ("holder",)
    assert told(60) == ("holder", "head")
    assert told(90) == ("holder", "head", "centre")
    assert told(60 + 24 * 60) == ("holder", "head", "centre", "leader")


@requirement("R26", "R76")
def test_a_limit_that_a_leader_set_holds_instead_and_used_time_stays():
    start = local("2026-10-03 02:00")
    events = [
        Happening(at=start, name="issued"),
        Happening(at=Instant(start + 5), name="expedited", code="repair", due=Instant(start + 9)),
    ]

    found = clocks.read(
        rule(),
        events,
        facts=NOBODY_KNOWS,
        calendar=book("demo-water").calendar,
        now=Instant(start + 7),
    )

    assert found is not None
    assert (found.due, found.is_extended, found.started_at) == (start + 9, True, start)


@requirement("R97")
def test_the_queue_is_by_priority_then_time_left_and_never_by_age():
    start = local("2026-10-03 02:00")

    def at(age_h: int, limit: str) -> list[clocks.Reading]:
        found = clocks.read(
            rule(limit=limit),
            [Happening(at=Instant(start - age_h * HOUR_MS), name="issued")],
            facts=NOBODY_KNOWS,
            calendar=book("demo-water").calendar,
            now=start,
        )
        assert found is not None
        return [found]

    queue = {
        "old and easy": (3, at(30, "100h")),
        "new and urgent": (1, at(0, "24h")),
        "overdue": (3, at(3, "2h")),
        "newest": (3, at(0, "20min")),
        "no clock": (3, []),
    }

    order = sorted(queue, key=lambda name: clocks.queue_key(*queue[name]))

    assert order == ["new and urgent", "overdue", "newest", "old and easy", "no clock"]


EVENTS = st.lists(
    st.builds(
        lambda s, name: Happening(
            at=Instant(local("2026-09-29 08:00") + s * SECOND_MS),
            name=name,
            code="waiting_customer" if name == "waiting" else "",
        ),
        st.integers(0, 20 * 86_400),
        st.sampled_from(
            ["reported", "project_received", "waiting", "resumed", "replied", "handed_over"]
        ),
    ),
    max_size=8,
).map(lambda found: sorted(found, key=lambda e: e.at))


@given(EVENTS, st.integers(0, 40 * 86_400))
def test_a_clock_is_read_from_events_alone_and_time_only_makes_it_worse(events, after_s):
    rules = book("shangzhi-gas")
    now = Instant(local("2026-09-29 08:00") + after_s * SECOND_MS)
    until = [e for e in events if e.at <= now]
    for each in rules.policy.clocks:
        found = clocks.read(each, until, facts=NOBODY_KNOWS, calendar=rules.calendar, now=now)
        if found is None:
            continue
        later = clocks.read(
            each, until, facts=NOBODY_KNOWS, calendar=rules.calendar, now=Instant(now + HOUR_MS)
        )
        assert later is not None
        assert found.due >= found.started_at
        if found.verdict in (Verdict.OVERDUE, Verdict.MISSED, Verdict.MET):
            assert later.verdict is found.verdict
