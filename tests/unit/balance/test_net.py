"""The net inflow of a zone: signs, tanks, children and customers; a missing meter is never zero."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.balance.hours import Hours, PointHours
from server.balance.layout import layout_of
from server.balance.net import net_of, pressure_of
from server.engine.registry import Inflow, Storage
from telemetry.instant import Instant
from telemetry.point import PointId, ZoneId
from telemetry.units import Quantity
from tests.unit.balance.town import of_flow, of_level, point, registry, zone

BEGIN = Instant(0)
VALUES = st.lists(st.floats(-100, 100), min_size=4, max_size=4)


def edge(*meters: tuple[str, int]) -> tuple[Inflow, ...]:
    return tuple(Inflow(point=PointId(p), sign=s) for p, s in meters)


def flows(**series: list[float]) -> Hours:
    points = {f"{name}/flow": of_flow(np.array(m3h)) for name, m3h in series.items()}
    return Hours(begin=BEGIN, length=4, points=points)


def points_of(*names: str, zone_of: str = "north"):
    return tuple(point(f"{n}/flow", Quantity.FLOW, zone=ZoneId(zone_of)) for n in names)


@given(VALUES, VALUES)
def test_meters_add_up_with_their_signs(one, two):
    known = registry(zone(inflow=edge(("a/flow", 1), ("b/flow", -1))), points=points_of("a", "b"))

    found = net_of(layout_of(known, "north"), flows(a=one, b=two))

    assert found.net == pytest.approx(np.array(one) - np.array(two))


@given(VALUES, VALUES)
def test_what_leaves_one_zone_for_another_is_lost_by_neither(one, two):
    known = registry(
        zone(inflow=edge(("a/flow", 1), ("b/flow", -1))),
        zone("south", inflow=edge(("b/flow", 1))),
        points=points_of("a", "b"),
    )
    found = flows(a=one, b=two)

    north, south = (net_of(layout_of(known, z), found).net for z in ("north", "south"))

    assert north + south == pytest.approx(np.array(one))


def test_a_missing_meter_is_not_taken_for_zero():
    known = registry(zone(inflow=edge(("a/flow", 1), ("b/flow", 1))), points=points_of("a", "b"))
    nan = float("nan")

    found = net_of(layout_of(known, "north"), flows(a=[5, 5, nan, 5], b=[1, nan, 1, 1]))

    assert found.net[[0, 3]].tolist() == [6.0, 6.0]
    assert np.isnan(found.net[[1, 2]]).all()
    assert found.unknown["b/flow"].tolist() == [False, True, False, False]


def test_without_a_meter_nothing_is_known():
    known = registry(zone(inflow=()), points=points_of("a"))

    found = net_of(layout_of(known, "north"), flows(a=[1, 1, 1, 1]))

    assert np.isnan(found.net).all()


def test_what_a_tank_takes_has_not_flowed_into_the_zone():
    tank = (Storage(point=PointId("t/level"), area_m2=50.0),)
    known = registry(
        zone(inflow=edge(("a/flow", 1)), storage=tank),
        points=(*points_of("a"), point("t/level", Quantity.LEVEL)),
    )
    found = flows(a=[10, 10, 10, 10])
    found.points["t/level"] = of_level(np.array([1.0, 1.2, 1.2, 1.1, np.nan]))

    net = net_of(layout_of(known, "north"), found)

    assert net.net[:3] == pytest.approx([0.0, 10.0, 15.0])
    assert np.isnan(net.net[3])


def family(taken_off: tuple[tuple[str, int], ...] = ()):
    """Return a parent with one child of two meters, a tank and a customer each."""
    tanks = [(Storage(point=PointId(f"{z}/level"), area_m2=1.0),) for z in ("north", "child")]
    points = (
        *points_of("in", "north-customer"),
        *points_of("c1", "c2", "child-customer", zone_of="child"),
        point("north/level", Quantity.LEVEL),
        point("child/level", Quantity.LEVEL, zone=ZoneId("child")),
    )
    child_edge = edge(("c1/flow", 1), ("c2/flow", 1))
    return registry(
        zone(inflow=edge(("in/flow", 1), *taken_off), storage=tanks[0]),
        zone("child", inflow=child_edge, storage=tanks[1], parent=ZoneId("north")),
        points=points,
    )


def test_a_parent_has_its_childs_water_tanks_and_customers():
    layout = layout_of(family(), "north")

    assert layout.children == ("child",)
    assert {p for p, _ in layout.storage} == {"north/level", "child/level"}
    assert {p for p, _ in layout.customers} == {"north-customer/flow", "child-customer/flow"}


def test_a_child_that_the_parents_meters_take_off_is_no_part_of_it():
    layout = layout_of(family((("c1/flow", -1), ("c2/flow", -1))), "north")

    assert layout.children == ()
    assert {p for p, _ in layout.storage} == {"north/level"}
    assert {p for p, _ in layout.customers} == {"north-customer/flow"}


def test_a_child_that_is_taken_off_by_half_is_told():
    layout = layout_of(family((("c1/flow", -1),)), "north")

    assert layout.children == ("child",)
    assert [n.code for n in layout.notes] == ["half_taken_off"]


def test_parents_in_a_circle_end():
    north, south = ZoneId("north"), ZoneId("south")
    known = registry(zone(parent=south), zone("south", inflow=edge(("b/flow", 1)), parent=north))

    assert layout_of(known, "north").children == ("south",)


def test_a_meter_with_both_signs_is_told():
    known = registry(zone(inflow=edge(("a/flow", 1), ("a/flow", -1))), points=points_of("a"))

    assert [n.code for n in layout_of(known, "north").notes] == ["both_signs"]


def test_a_customer_with_two_points_at_one_place_counts_once_and_an_inlets_volume_never():
    assert layout_of(registry(), "north").customers == (
        ("one/volume", Quantity.VOLUME),
        ("two/flow", Quantity.FLOW),
    )


def test_a_house_of_many_meters_at_one_place_keeps_them_all():
    points = tuple(
        point(f"{n}/{q}", q, x=1.0, y=2.0)
        for n in range(5)
        for q in (Quantity.FLOW, Quantity.VOLUME)
    )

    customers = layout_of(registry(zone(inflow=()), points=points), "north").customers

    assert [p for p, _ in customers] == [f"{n}/volume" for n in range(5)]


def test_customers_as_the_utility_lists_them_win():
    layout = layout_of(registry(), "north", customers=["two/flow", "nobody/flow"])

    assert layout.customers == (("two/flow", Quantity.FLOW),)
    assert [(n.code, n.blanks) for n in layout.notes] == [
        ("unknown_customer", {"point": "nobody/flow"})
    ]


def test_a_pressure_point_that_goes_silent_does_not_move_the_mean_of_the_zone():
    points = (point("low/pressure", Quantity.PRESSURE), point("high/pressure", Quantity.PRESSURE))
    low = np.array([200.0, 210.0, 200.0, 210.0])
    high = np.array([400.0, 410.0, np.nan, np.nan])
    found = Hours(
        begin=BEGIN,
        length=4,
        points={"low/pressure": of_flow(low), "high/pressure": of_flow(high)},
    )

    mean = pressure_of(layout_of(registry(zone(inflow=()), points=points), "north"), found)

    assert mean == pytest.approx([300.0, 310.0, 300.0, 310.0])


def test_an_hour_of_few_samples_is_not_known_unless_few_are_usual():
    count = np.array([12, 12, 2, 0, 12])
    here = PointHours(count=count, mean=count * 1.0, low=count * 1.0, high=count * 1.0)

    assert here.known(300_000).tolist() == [True, True, False, False, True]
    rare = replace(here, count=np.array([1, 1, 2, 0, 1]))
    assert rare.known(300_000).tolist() == [True, True, True, False, True]
