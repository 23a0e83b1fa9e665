"""Alarms and incidents as rules: axes, shelves, floods, figures, and what verifies an end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.servicecore.rules import alarms, incident
from server.servicecore.rules.alarms import Axes, Raised, Shown
from server.servicecore.rules.refusal import Refused
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, Instant

requirement = pytest.mark.requirement
AT = Instant(1_800_000_000_000)

# --- alarms ---------------------------------------------------------------------------------------

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


def test_one_sound_stands_for_a_failure_of_supply_flood_or_not():
    heard = {"A-1": None, "A-2": None, "A-3": None}
    incidents = {"A-1": "INC-1", "A-2": "INC-1", "A-3": "INC-2"}

    found = alarms.sounding(heard, incidents=incidents, is_flood=False, together=["INC-1"])

    assert found == {"A-1": "INC-1", "A-2": "INC-1", "A-3": "A-3"}
