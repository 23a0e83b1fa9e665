"""The figures: exact numerators and denominators, nothing of nothing, drills nowhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.servicecore.rules import kpi
from server.servicecore.rules.kpi import Case, Pressure
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, Instant
from tests.support.books import book

requirement = pytest.mark.requirement
START = Instant(1_800_000_000_000 - 1_800_000_000_000 % HOUR_MS)
END = Instant(START + 30 * DAY_MS)


def case(number: int, **more) -> Case:
    body = {
        "unit": "north",
        "category": "leak",
        "cause": "frost",
        "assigned_at": START,
        "is_repair": True,
        "is_complaint": False,
        **more,
    }
    return Case(number=f"T-{number}", **body)


def test_each_share_has_its_own_denominator():
    cases = [
        case(1, in_time=True, settled_at=START, was_called=True, is_satisfied=True),
        case(2, in_time=False, settled_at=START),
        case(3, is_repair=False, is_complaint=True, in_time=True, settled_at=START),
        case(
            4,
            is_repair=False,
            is_complaint=True,
            in_time=True,
            settled_at=START,
            was_called=True,
            is_satisfied=True,
        ),
        case(5, is_repair=False, is_complaint=True),
        case(6, is_telemetry=True, is_false_alarm=True),
        case(7, is_drill=True, in_time=False),
    ]

    found = {name: (len(r.good), len(r.of)) for name, r in monthly(cases).items()}

    assert found == {
        "repair_timeliness": (1, 3),
        "satisfaction": (2, 2),
        "complaint_timeliness": (2, 3),
        "complaint_settled": (2, 3),
        "complaint_satisfaction": (1, 3),
        "complaint_handled": (2, 3),
        "called_back": (2, 4),
        "false_dispatch": (1, 1),
    }


def monthly(cases):
    return kpi.monthly(cases, start=START, end=END)


def test_nothing_of_nothing_is_no_figure():
    assert {r.value for r in monthly([]).values()} == {None}
    assert monthly([])["satisfaction"].meets(0.98) is None


def test_a_target_is_met_by_exactly_itself():
    ratio = kpi.Ratio(good=tuple("abcdefghij"), of=tuple("abcdefghij"))
    assert ratio.meets(1.0)
    assert kpi.Ratio(good=("a",) * 49, of=("a",) * 50).meets(
        book("xinyang-water").policy.number("satisfaction.target") or 0
    )


def test_a_ticket_counts_in_the_month_it_was_assigned_in():
    cases = [case(1, assigned_at=Instant(START - 1)), case(2), case(3, assigned_at=END)]

    assert monthly(cases)["repair_timeliness"].of == ("T-2",)


@requirement("R98")
def test_a_unit_is_congested_when_more_comes_than_goes_and_something_is_late():
    late = [case(n, in_time=False) for n in range(3)]
    done = [case(9, unit="east", settled_at=Instant(START + 5), in_time=True)]

    loads = kpi.loads([*late, *done], start=START, end=END)

    assert (loads["north"].open, loads["north"].overdue, loads["north"].arrived) == (3, 3, 3)
    assert loads["north"].is_congested
    assert not loads["east"].is_congested


@requirement("R95")
def test_urges_returns_and_transfers_are_counted_by_unit():
    loads = kpi.loads(
        [case(1, urges=2, returns=1), case(2, urges=1, transfers=1, extensions=1, reopens=1)],
        start=START,
        end=END,
    )["north"]

    assert (loads.urges, loads.returns, loads.transfers) == (3, 1, 1)
    assert (loads.extensions, loads.reopens) == (1, 1)


def test_the_monthly_table_has_department_count_cause_nature_handling_percent_and_promise():
    cases = [case(1, settled_at=START, in_time=True), case(2, in_time=False), case(3, cause="age")]

    rows = kpi.analysis(cases, start=START, end=END)

    assert [(r["cause"], r["count"], r["handled"], r["still_open"]) for r in rows] == [
        ("age", 1, 0, 1),
        ("frost", 2, 1, 1),
    ]
    assert [r["promise_kept"] for r in rows] == [None, 0.5]
    assert sum(float(r["percent"] or 0) for r in rows) == pytest.approx(1)


def test_percentiles_are_nearest_rank():
    assert kpi.percentile([1, 2, 3, 4, None], 0.5) == 2
    assert kpi.percentile(range(1, 101), 0.9) == 90
    assert kpi.percentile([], 0.5) is None


def test_detection_lead_is_positive_when_telemetry_was_first():
    cases = [
        case(1, opened_at=START, first_contact_at=Instant(START + 9)),
        case(2, opened_at=START, first_contact_at=Instant(START - 5)),
        case(3, opened_at=START),
    ]

    assert kpi.detection_lead_ms(cases) == [9, -5]


# --- pressure -------------------------------------------------------------------------------------


def pressures(*values: float | None, excluded: str = "", every_ms: int = HOUR_MS) -> list[Pressure]:
    return [
        Pressure(
            at=Instant(START + n * every_ms), value_kpa=v, lasts_ms=every_ms, excluded=excluded
        )
        for n, v in enumerate(values)
    ]


def compliance(samples, method: str = "hourly", **more):
    return kpi.compliance(
        samples,
        min_kpa=more.pop("min_kpa", 280),
        method=method,
        exclude=("force_majeure_burst", "source_shortage"),
        expected=more.pop("expected", 100),
    )


@requirement("R02")
@pytest.mark.parametrize("method", ["hourly", "sample_ratio", "time_weighted"])
def test_exactly_the_promised_pressure_complies(method: str):
    assert compliance(pressures(280, 280), method).value == 1.0
    assert compliance(pressures(279, 280), method).value == 0.5


@requirement("R02")
@pytest.mark.parametrize(("good", "meets"), [(97, True), (96, False)])
def test_exactly_ninety_seven_percent_is_enough(good, meets):
    found = compliance(pressures(*[300] * good, *[200] * (100 - good)))

    assert found.meets(book("xinyang-water").policy.number("compliance.target") or 0) is meets
    assert found.availability == 1.0


@requirement("R02")
def test_a_network_is_the_sum_over_points_and_no_mean_of_shares():
    busy = compliance(pressures(*[200] * 90, *[300] * 0), "sample_ratio", expected=90)
    idle = compliance(pressures(*[300] * 10), "sample_ratio", expected=90)

    whole = kpi.network([busy, idle])

    assert whole.value == pytest.approx(0.1)
    assert whole.availability == pytest.approx(100 / 180)


@requirement("R02")
def test_what_is_excluded_is_published_with_and_without():
    samples = [
        *pressures(300, 300),
        *(
            Pressure(
                at=Instant(START + (5 + n) * HOUR_MS),
                value_kpa=100,
                lasts_ms=HOUR_MS,
                excluded="force_majeure_burst",
            )
            for n in range(2)
        ),
    ]

    for method in ("hourly", "sample_ratio", "time_weighted"):
        found = compliance(samples, method)
        assert (found.value, found.without_exclusions) == (1.0, 0.5)


@requirement("R02")
def test_what_is_not_valid_counts_neither_way_but_in_the_availability():
    found = compliance(pressures(300, None, None, 200), "sample_ratio", expected=4)

    assert (found.value, found.availability) == (0.5, 0.5)
    assert compliance(pressures(None)).value is None


@requirement("R02")
def test_a_month_that_cannot_reach_its_target_any_more_is_known_before_its_end():
    found = compliance(pressures(*[200] * 10, *[300] * 40))

    assert found.value == 0.8
    assert kpi.best_possible(found, elapsed_share=0.5) == pytest.approx(0.9)
    assert kpi.best_possible(compliance([]), elapsed_share=0.5) is None


@requirement("R10")
def test_steadiness_is_deviation_and_range():
    assert kpi.steadiness([300, None, 500]) == (pytest.approx(100), pytest.approx(200))
    assert kpi.steadiness([None]) is None


@requirement("R07")
def test_run_hours_and_starts_come_from_executed_orders():
    orders = [
        ("start", START),
        ("start", Instant(START + MINUTE_MS)),  # it runs already
        ("stop", Instant(START + 2 * HOUR_MS)),
        ("start", Instant(START + 4 * HOUR_MS)),
    ]

    assert kpi.run_hours(orders, end=Instant(START + 5 * HOUR_MS)) == (3.0, 2)
    assert kpi.run_hours([], end=END) == (0.0, 0)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=60))
def test_no_method_makes_a_share_beyond_one(values):
    for method in ("hourly", "sample_ratio", "time_weighted"):
        found = compliance(pressures(*values, every_ms=17 * MINUTE_MS), method)
        assert found.value is None or 0 <= found.value <= 1
        assert found.good <= found.valid <= found.valid_all
