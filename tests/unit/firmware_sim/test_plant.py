"""The plant in time: tank, pump and counters, with water that is easy to reckon with."""

from collections.abc import Sequence

import pytest

from firmware_sim.core.instruments import Instrument, Site, instrument
from firmware_sim.core.plant import Plant, TankRule
from firmware_sim.core.town import Habit, Town, Users
from telemetry.instant import HOUR_MS, MINUTE_MS, Instant
from telemetry.point import PointId, ZoneId
from telemetry.register_map import Form, Register

BEGIN = Instant(1_790_000_000_000)
RULE = TankRule(
    area_m2=100.0, minimum_m=0.5, maximum_m=5.0, start_m=3.0, on_below_m=2.0, off_above_m=4.0
)


class StillWater:
    """60 m³/h always flow out of the tank, and 160 in while the pump works."""

    def __init__(self) -> None:
        self.is_pumping = False

    def solve(self, _multipliers: Sequence[float], *, level_m: float, is_pumping: bool) -> None:
        assert 0.5 <= level_m <= 5.0
        self.is_pumping = is_pumping

    def pressure_kpa(self, _node: str) -> float:
        return 312.0

    def consumption_m3h(self, _node: str) -> float:
        return 6.0

    def flow_m3h(self, _link: str) -> float:
        return 60.0

    def tank_inflow_m3h(self) -> float:
        return 100.0 if self.is_pumping else -60.0


def _instrument(unit: str, site: Site, *, seed: int = 1) -> Instrument:
    return instrument(
        seed=seed,
        device="device",
        zone=ZoneId("north"),
        point=PointId(f"place/{unit[:2]}"),
        register=Register(name="r", address=0, form=Form.UINT32, unit=unit, scale=0.1),
        site=site,
        flow_point=None,
    )


def _plant(*instruments: Instrument) -> Plant:
    users = (Users(name="all", habit=Habit.RESIDENTIAL, alone=False),)
    town = Town(users, seed=1, offset_ms=lambda _: 0)
    return Plant(
        at=BEGIN, water=StillWater(), town=town, tank=RULE, instruments=instruments, seed=1
    )


def test_the_pump_works_between_its_levels() -> None:
    plant = _plant()
    seen = []
    for n in range(6 * 60):
        plant.advance(Instant(BEGIN + n * MINUTE_MS), step_ms=MINUTE_MS)
        seen.append((plant.is_pumping, plant.level_m))

    assert max(level for _, level in seen) == pytest.approx(4.0, abs=0.05)
    assert min(level for _, level in seen[120:]) == pytest.approx(2.0, abs=0.05)
    assert {pumping for pumping, _ in seen} == {True, False}


def test_a_counter_adds_up_what_flows() -> None:
    meter = _instrument("m3", Site(node="J", link=None))
    plant = _plant(meter)
    (before,) = plant.truths()
    plant.advance(Instant(BEGIN + 2 * HOUR_MS), step_ms=1000)

    assert plant.truths()[0] - before == pytest.approx(12.0 * meter.gain)
    assert before > 6.0 * 24 * 365


def test_the_size_of_the_steps_does_not_change_the_sum() -> None:
    coarse, fine = (_plant(_instrument("m3", Site(node=None, link="P"))) for _ in range(2))
    coarse.advance(Instant(BEGIN + HOUR_MS), step_ms=5 * MINUTE_MS)
    fine.advance(Instant(BEGIN + HOUR_MS), step_ms=1000)

    assert coarse.truths() == pytest.approx(fine.truths())


def test_time_never_goes_back() -> None:
    plant = _plant()
    plant.advance(Instant(BEGIN - HOUR_MS), step_ms=1000)

    assert plant.at == BEGIN


def test_flow_and_total_of_one_meter_err_alike() -> None:
    site = Site(node=None, link="P")

    assert _instrument("m3/h", site).gain == _instrument("m3", site).gain


def test_a_reading_errs_a_little_and_by_its_seed() -> None:
    site = Site(node="J", link=None)
    gauge = _instrument("kPa", site)
    shown = [gauge.reading(312.0, Instant(BEGIN + n * 1000)) for n in range(500)]

    assert all(abs(value - 312.0) < 5 for value in shown)
    assert len(set(shown)) > 3
    assert shown == [gauge.reading(312.0, Instant(BEGIN + n * 1000)) for n in range(500)]
    assert shown[0] != _instrument("kPa", site, seed=2).reading(312.0, BEGIN)
