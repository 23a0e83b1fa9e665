"""Does the scorer count what a person with paper and pencil counts?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.history.labels import TruthFlow
from server.replay.matching import Outcome
from server.replay.network import network_of
from server.replay.score import score, summary_of
from telemetry.instant import DAY_MS, HOUR_MS
from tests.unit.replay.facts import BEGIN, END, ZONES, said, truth

MAINS = network_of(
    "[JUNCTIONS]\n a 1\n b 1\n c 1\n d 1\n"
    "[PIPES]\n ab a b 200 100 0.1\n bc b c 200 100 0.1\n cd c d 200 100 0.1\n"
    "[COORDINATES]\n a 0 0\n b 200 0\n c 200 200\n d 0 200\n"
)


def scored(lines, truths, **more):
    facts = {"begin": BEGIN, "end": END, "zones": ZONES} | more
    return score(lines, truths, **facts)


def outcomes(found):
    return [str(v.outcome) for v in found.verdicts]


def test_a_near_proposal_in_time_finds_a_leak():
    found = scored([said(day=10.5, x=300.0)], [truth(day=10)])

    assert (found.found, found.missed, found.late, found.false.count) == (1, 0, 0, 0)
    assert found.truths[0].detect_ms == DAY_MS / 2
    assert found.truths[0].distance_m == 300.0


def test_a_proposal_beyond_300_m_is_false_and_the_leak_is_missed():
    found = scored([said(x=300.1)], [truth()])

    assert (found.found, found.missed, found.false.count) == (0, 1, 1)
    assert (found.verdicts[0].nearest, found.verdicts[0].distance_m) == (0, 300.1)


def test_a_proposal_without_a_place_is_false_where_the_truth_has_one():
    found = scored([said(x=None, y=None)], [truth()])

    assert (found.found, found.missed, found.false.count) == (0, 1, 1)
    assert (found.verdicts[0].nearest, found.verdicts[0].distance_m) == (0, None)


def test_a_truth_without_a_place_is_found_by_its_zone():
    lines = [said("INC-1", zone="east"), said("INC-2", day=11, x=None, y=None)]
    found = scored(lines, [truth(x=None, y=None)])

    assert outcomes(found) == ["false", "found"]
    assert found.truths[0].by == "INC-2"


def test_a_proposal_before_the_onset_or_after_the_repair_is_false():
    lines = [said("INC-1", day=9.9), said("INC-2", day=12.1)]
    found = scored(lines, [truth(day=10, days=2)])

    assert outcomes(found) == ["false", "false"]


def test_an_incident_that_opened_during_the_leak_may_be_proposed_after_its_repair():
    lines = [said(day=11.9, event="incident"), said(day=12.1)]
    found = scored(lines, [truth(day=10, days=2)])

    assert outcomes(found) == ["found"]


@pytest.mark.parametrize(
    ("type_", "day", "expected"),
    [("abrupt", 17, "found"), ("abrupt", 17.1, "late"), ("incipient", 70, "found"),
     ("incipient", 70.1, "late"), (None, 70, "found")],
)  # fmt: skip
def test_what_grows_may_be_found_in_60_days_and_what_breaks_in_7(type_, day, expected):
    found = scored([said(day=day)], [truth(day=10, type=type_)])

    assert outcomes(found) == [expected]
    assert (found.found, found.late) == ((1, 0) if expected == "found" else (0, 1))
    assert (found.missed, found.false.count) == (0, 0)


def test_the_second_proposal_for_a_leak_is_a_repeat():
    found = scored([said("INC-1"), said("INC-2", day=12)], [truth()])

    assert outcomes(found) == ["found", "repeat"]
    assert (found.repeats, found.false.count) == (1, 0)


def test_a_proposal_claims_the_nearest_leak_and_leaves_the_other_to_the_next():
    lines = [said("INC-1", x=90.0), said("INC-2", day=11, x=10.0)]
    found = scored(lines, [truth("far", x=0.0), truth("near", x=100.0)])

    assert [(s.truth.id, s.by, s.distance_m) for s in found.truths] == [
        ("far", "INC-2", 10.0),
        ("near", "INC-1", 10.0),
    ]


def test_distances_are_along_the_mains_where_there_is_a_network():
    # a and d are 200 m apart, but 600 m along the mains.
    at_pipe = truth(pipe="ab", x=100.0, y=0.0)

    assert scored([said(node="c", x=None, y=None)], [at_pipe], network=MAINS).truths[
        0
    ].distance_m == pytest.approx(300.0)
    assert outcomes(scored([said(node="d")], [at_pipe], network=MAINS)) == ["false"]
    assert scored([said(pipe="ab")], [at_pipe], network=MAINS).truths[0].distance_m == 0.0
    assert scored([said(x=210.0, y=0.0)], [at_pipe], network=MAINS).truths[0].distance_m == 110.0


def test_the_time_to_detect_a_burst_is_that_of_its_alarm():
    lines = [
        said("A-1", event="alarm", kind="silent", day=10.01),
        said("A-2", event="alarm", kind="burst", day=10.02),
        said("INC-1", kind="burst", day=10.03),
    ]
    found = scored(lines, [truth(kind="burst")])

    assert found.truths[0].detect_ms == round(0.02 * DAY_MS)
    assert found.truths[0].dispatch_at == BEGIN + round(10.03 * DAY_MS)


def test_dispatches_of_one_incident_at_one_place_are_one_proposal():
    lines = [
        said("INC-1", kind="pressure_drop", x=None, y=None, day=10.0),
        said("INC-1", kind="burst", mode="auto", day=10.01),
        said("INC-2", kind="burst", x=5000.0, day=10.1),
        said("INC-2", kind="burst", x=9000.0, day=10.2),
        said("INC-3", kind="burst", x=5000.0, day=20.0),
        said("INC-3", kind="burst", x=5000.0, day=21.1),
    ]
    found = scored(lines, [truth(kind="burst")])

    assert outcomes(found) == ["found", "false", "false", "false", "false"]
    assert found.truths[0].mode == "auto"


def test_false_proposals_are_counted_by_mode_and_zone_year():
    lines = [said("INC-1", x=1e4, mode="auto"), said("INC-2", x=1e4), said("INC-3", x=1e4)]
    found = scored(lines, [truth()], begin=BEGIN, end=BEGIN + round(365.25 * DAY_MS))

    assert found.zone_years == 2.0
    assert (found.false.count, found.false_auto.count, found.false_confirm.count) == (3, 1, 2)
    assert found.false.per_year == 1.5
    assert found.false.low == pytest.approx(0.6187 / 2, abs=1e-4)  # Garwood's table: 3
    assert found.false.high == pytest.approx(8.7673 / 2, abs=1e-4)


def test_water_is_counted_before_and_after_the_proposal():
    hours = np.arange(0, 48)
    flow = TruthFlow(
        ids=("t1",),
        at=(BEGIN + 10 * DAY_MS + hours * HOUR_MS).astype(np.int64),
        label=np.zeros(48, dtype=np.int32),
        m3h=np.where(hours < 24, 10.0, 20.0),
    )
    found = scored([said(day=11.25)], [truth(day=10, days=2), truth("t2", day=50)], flow=flow)

    assert found.truths[0].lost_before_m3 == pytest.approx(24 * 10 + 6 * 20)
    assert found.truths[0].lost_after_m3 == pytest.approx(18 * 20)
    assert found.truths[1].lost_before_m3 is None
    assert found.lost_m3 == pytest.approx(24 * 30)


def test_all_water_of_a_missed_leak_is_lost_before():
    flow = TruthFlow(
        ids=("t1",),
        at=np.array([BEGIN + 10 * DAY_MS, BEGIN + 10 * DAY_MS + HOUR_MS]),
        label=np.zeros(2, dtype=np.int32),
        m3h=np.array([3.0, 5.0]),
    )
    found = scored([], [truth(day=10)], flow=flow)

    assert (found.lost_before_m3, found.lost_after_m3) == (8.0, 0.0)


def test_a_leak_older_than_the_recording_is_not_missed():
    found = scored([], [truth(day=-5)])

    assert (found.missed, found.older) == (0, 1)
    assert [g.truths for g in found.groups if g.name == "all"] == [0]


def test_truths_of_other_zones_and_times_are_not_looked_at():
    truths = [truth("t1", zone="west"), truth("t2", day=101), truth("t3", day=-20, days=10)]

    assert scored([], truths).truths == ()


def test_a_supply_failure_and_a_fault_are_found_by_their_own_kinds():
    lines = [
        said("INC-1", kind="supply", x=None, y=None, day=10.1),
        said("INC-2", kind="sensor_fault", day=20.1, x=None, y=None, points=("north-1/pressure",)),
        said("INC-3", kind="sensor_fault", day=20.1, x=None, y=None, points=("north-2/pressure",)),
    ]
    truths = [
        truth("s", kind="supply", x=None, y=None, days=1),
        truth("f", kind="fault", day=20, point="north-1/pressure"),
    ]
    found = scored(lines, truths)

    assert outcomes(found) == ["found", "found", "false"]
    assert (found.found, found.missed, found.false.count, found.proposals) == (0, 0, 0, 0)


def test_faults_called_leaks_and_leaks_called_faults_are_told():
    lines = [
        said("INC-1", kind="leak", day=20.1, points=("north-1/pressure",)),
        said("INC-2", kind="sensor_fault", day=41),
    ]
    truths = [
        truth("f", kind="fault", day=20, days=1, point="north-1/pressure"),
        truth("l", day=40),
    ]
    found = scored(lines, truths).confusion

    assert (found.faults, found.faults_called_leak) == (1, 1)
    assert (found.leaks, found.leaks_called_fault) == (1, 1)


def test_what_the_samples_themselves_show_is_not_judged():
    lines = [said("INC-1", kind="silent"), said("INC-2", kind="pressure_low")]

    assert outcomes(scored(lines, [])) == ["not_judged", "not_judged"]


def test_groups_are_by_type_and_size():
    truths = [
        truth("a", peak_m3h=6.0),
        truth("b", day=30, peak_m3h=4.0, x=2000.0),
        truth("c", day=40, type="incipient", peak_m3h=20.0, x=4000.0),
    ]
    found = scored([said(day=10.25)], truths, inflow_m3h={"north": 100.0})
    groups = {g.name: (g.truths, g.found) for g in found.groups}

    assert groups == {
        "all": (3, 1),
        "abrupt": (2, 1),
        "abrupt >= 5 m3/h": (1, 1),
        "incipient": (1, 0),
        "2.0 m3/h to < 5.0 m3/h": (1, 0),
        "5.0 m3/h to < 10.0 m3/h": (1, 1),
        ">= 10.0 m3/h": (1, 0),
        "2% of inflow to < 5% of inflow": (1, 0),
        "5% of inflow to < 10% of inflow": (1, 1),
        ">= 10% of inflow": (1, 0),
    }
    assert found.groups[0].detect_h_median == 6.0


def test_a_radius_that_holds_the_leak_is_told():
    lines = [said("INC-1", x=100.0, radius_m=120.0), said("INC-2", day=31, x=100.0, radius_m=90.0)]
    found = scored(lines, [truth("a", days=5), truth("b", day=30)])

    assert [s.is_in_radius for s in found.truths] == [True, False]


def test_the_summary_is_plain_and_dated():
    plain = summary_of(scored([said()], [truth()]))

    assert plain["begin"] == "2023-11-14T22:13:20Z"
    assert plain["truths"][0]["outcome"] == Outcome.FOUND
    assert plain["verdicts"][0]["truth"] == "t1"


places = st.sampled_from([0.0, 200.0, 900.0, 5000.0])
days = st.floats(0, 99).map(lambda d: round(d, 2))
truths_drawn = st.lists(
    st.tuples(days, st.sampled_from([1.0, 20.0]), places, st.sampled_from(["abrupt", "incipient"])),
    max_size=5,
).map(
    lambda rows: [
        truth(f"t{n}", day=day, days=lasts, x=x, type=type_)
        for n, (day, lasts, x, type_) in enumerate(rows)
    ]
)
lines_drawn = st.lists(st.tuples(days, places), max_size=6).map(
    lambda rows: sorted(
        (said(f"INC-{n}", day=day, x=x) for n, (day, x) in enumerate(rows)), key=lambda s: s.at
    )
)


@settings(max_examples=200, deadline=None)
@given(lines_drawn, truths_drawn, days)
def test_one_more_false_proposal_never_improves_the_score(lines, truths, day):
    before = scored(lines, truths)
    wrong = said("INC-X", day=day, x=9e5)
    after = scored(sorted([*lines, wrong], key=lambda s: s.at), truths)

    assert (after.found, after.late, after.missed) == (before.found, before.late, before.missed)
    assert after.truths == before.truths
    assert after.false.count == before.false.count + 1


@settings(max_examples=200, deadline=None)
@given(lines_drawn, truths_drawn)
def test_every_proposal_and_every_truth_is_counted_once(lines, truths):
    found = scored(lines, truths)
    counts = [v.outcome for v in found.verdicts]

    assert len(counts) == len(lines) == found.proposals
    assert counts.count(Outcome.FOUND) == found.found
    assert counts.count(Outcome.LATE) == found.late
    assert counts.count(Outcome.FALSE) == found.false.count
    assert found.found + found.late + found.missed + found.older == len(found.truths)


@settings(max_examples=100, deadline=None)
@given(truths_drawn)
def test_a_perfect_replay_finds_everything_and_says_nothing_false(truths):
    apart = [truth(t.id, day=10 + n, x=1000.0 * n, days=9) for n, t in enumerate(truths)]
    lines = [
        said(f"INC-{n}", day=10 + n + 0.01, x=1000.0 * n, kind="leak") for n in range(len(apart))
    ]
    found = scored(lines, apart)

    assert (found.found, found.missed, found.late) == (len(apart), 0, 0)
    assert (found.false.count, found.repeats) == (0, 0)


@settings(max_examples=150, deadline=None)
@given(lines_drawn, truths_drawn, days, places)
def test_one_more_proposal_never_loses_a_leak(lines, truths, day, x):
    before = scored(lines, truths)
    after = scored(sorted([*lines, said("INC-X", day=day, x=x)], key=lambda s: s.at), truths)

    assert after.missed <= before.missed
