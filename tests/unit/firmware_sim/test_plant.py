"""The plant in time: tanks, pumps and counters, with water that is easy to reckon with."""

from collections.abc import Mapping, Sequence

import pytest

from firmware_sim.core.events import Event, Kind, full_numbers
from firmware_sim.core.instruments import Instrument, Site, instrument
from firmware_sim.core.plant import Plant, Tank, TankRule, Where
from firmware_sim.core.town import Habit, Town, Users
from telemetry.errors import RefusedCommand
from telemetry.instant import HOUR_MS, MINUTE_MS, Instant
from telemetry.point import PointId, ZoneId
from telemetry.register_map import Form, Register

BEGIN = Instant(1_790_000_000_000)
TANK = Tank(area_m2=100.0, minimum_m=0.5, maximum_m=5.0, start_m=3.0)
RULES = (
    TankRule(tank="T", pumps=("PU",), on_below_m=2.0, off_above_m=4.0),
    TankRule(tank="U", pumps=("PV", "PW"), on_below_m=1.0, off_above_m=3.5),
)


class StillWater:
    """60 m³/h always flow out of a tank, and 160 in while its pump works."""

    users = (Users(name="all", habit=Habit.RESIDENTIAL, alone=False),)
    tanks = {"T": TANK, "U": TANK}  # noqa: RUF012  nobody changes it
    names = {"tank": ("T", "U")}  # noqa: RUF012  nobody changes it

    def __init__(self) -> None:
        self.pumping: dict[str, bool] = {}
        self.multipliers: list[float] = []
        self.told: list[str] = []

    def solve(
        self,
        at: Instant,
        multipliers: Sequence[float],
        *,
        levels: Mapping[str, float],
        pumping: Mapping[str, bool],
    ) -> None:
        assert all(0.5 <= level <= 5.0 for level in levels.values())
        self.pumping = dict(pumping)
        self.multipliers = list(multipliers)

    def pressure_kpa(self, node: str) -> float:
        return 312.0

    def temperature_c(self, node: str) -> float:
        return 11.5

    def consumption_m3h(self, node: str) -> float:
        return 6.0

    def flow_m3h(self, link: str) -> float:
        return 60.0

    def tank_inflow_m3h(self, tank: str) -> float:
        pumps = {"T": ["PU"], "U": ["PV", "PW"]}[tank]
        return 100.0 if all(self.pumping.get(p) for p in pumps) else -60.0

    def zone_of(self, name: str) -> str:
        return "north"

    def place(self, *, node: str | None, link: str | None) -> tuple[float, float]:
        return 0.0, 0.0

    def where(self, event: Event) -> Where:
        return Where(zone="north", pipe=event.target)

    def check(self, event: Event) -> None:
        if event.target == "nowhere":
            raise RefusedCommand("expected a pipe, was 'nowhere'")

    def begin(self, event: Event) -> None:
        self.told.append(f"begin {event.id}")

    def finish(self, event: Event) -> None:
        self.told.append(f"finish {event.id}")

    def leaks(self) -> list[tuple[str, float]]:
        return [("one", 5.0)]

    def close(self) -> None:
        pass


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


def _plant(*instruments: Instrument, water: StillWater | None = None) -> Plant:
    water = water or StillWater()
    town = Town(water.users, seed=1, offset_ms=lambda _: 0)
    return Plant(at=BEGIN, water=water, town=town, rules=RULES, instruments=instruments, seed=1)


def _event(kind: Kind, target: str = "", *, end_ms: int | None = None, **told: float) -> Event:
    return Event(
        id=f"{kind}",
        kind=kind,
        begin=BEGIN,
        end=None if end_ms is None else Instant(BEGIN + end_ms),
        target=target,
        numbers=full_numbers(kind, told),
    )


def test_pumps_work_between_the_levels_of_their_own_tank() -> None:
    plant = _plant()
    seen = []
    for n in range(8 * 60):
        plant.advance(Instant(BEGIN + n * MINUTE_MS), step_ms=MINUTE_MS)
        seen.append((dict(plant.levels), dict(plant.pumping)))

    for tank, low, high in (("T", 2.0, 4.0), ("U", 1.0, 3.5)):
        course = [levels[tank] for levels, _ in seen]
        assert max(course) == pytest.approx(high, abs=0.05)
        assert min(course[240:]) == pytest.approx(low, abs=0.05)
    assert {pumping["PU"] for _, pumping in seen} == {True, False}
    assert all(pumping["PV"] is pumping["PW"] for _, pumping in seen)


def test_a_tank_is_emptied_within_the_time_and_fills_again() -> None:
    plant = _plant()
    event = _event(Kind.TANK_EMPTIED, "T", end_ms=2 * HOUR_MS, m=1.0)
    plant.begin(event)
    plant.advance(Instant(BEGIN + HOUR_MS), step_ms=5 * MINUTE_MS)
    half, other = plant.levels["T"], plant.levels["U"]
    plant.advance(Instant(BEGIN + 2 * HOUR_MS), step_ms=5 * MINUTE_MS)
    empty = plant.levels["T"]
    plant.finish(event)
    plant.advance(Instant(BEGIN + 4 * HOUR_MS), step_ms=5 * MINUTE_MS)

    assert half == pytest.approx(2.0, abs=0.1)
    assert empty == pytest.approx(1.0, abs=0.1)
    assert other > 3.0
    assert plant.levels["T"] > 2.0


def test_a_tank_is_never_emptier_than_it_can_be() -> None:
    plant = _plant()
    plant.begin(_event(Kind.TANK_EMPTIED, end_ms=HOUR_MS))
    plant.advance(Instant(BEGIN + HOUR_MS), step_ms=5 * MINUTE_MS)

    assert plant.level_m == 0.5


def test_weather_and_holidays_are_the_towns_and_settle_slowly() -> None:
    water = StillWater()
    plant, usual = _plant(water=water), _plant()
    plant.begin(_event(Kind.WEATHER, factor=1.4))
    ratios = []
    for n in range(1, 7):
        at = Instant(BEGIN + n * 30 * MINUTE_MS)
        plant.advance(at, step_ms=MINUTE_MS)
        ratios.append(water.multipliers[0] / usual.town.multipliers(at)[0])

    assert ratios == sorted(ratios)
    assert ratios[0] < 1.2
    assert ratios[-1] == pytest.approx(1.4)
    assert water.told == []


def test_other_events_are_the_waters() -> None:
    water = StillWater()
    plant = _plant(water=water)
    burst = _event(Kind.BURST, "P", m3h=5.0)
    plant.begin(burst)
    plant.finish(burst)

    assert water.told == ["begin burst", "finish burst"]
    assert plant.leaks() == [("one", 5.0)]
    assert plant.where(burst) == Where(zone="north", pipe="P")


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (_event(Kind.TANK_EMPTIED, "V"), r"expected a tank, was 'V' \(there are: T, U\)"),
        (_event(Kind.BURST, "nowhere", m3h=5.0), "expected a pipe, was 'nowhere'"),
    ],
)
def test_an_event_of_nothing_is_refused(event: Event, sentence: str) -> None:
    water = StillWater()
    plant = _plant(water=water)
    with pytest.raises(RefusedCommand, match=sentence):
        plant.begin(event)

    assert water.told == []


def test_a_probe_shows_the_temperature() -> None:
    probe = _instrument("degC", Site(node="J", link=None))

    assert _plant(probe).truths() == [11.5]


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
