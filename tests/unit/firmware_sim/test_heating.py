"""A district's heating: warm, late, and leaking into its make-up."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.core.events import Event, Kind
from firmware_sim.core.heat import Current, HeatingCurve, HeatMain, Pipe, return_c
from firmware_sim.core.weather import Climate, Weather
from firmware_sim.heating import Heating
from firmware_sim.hydraulics import Hydraulics
from telemetry.errors import ConfigError, RefusedCommand
from telemetry.instant import DAY_MS, HOUR_MS, MINUTE_MS, Instant

CONFIGS = Path(__file__).parents[3] / "configs"
NETWORK = CONFIGS / "demo-heating" / "network.inp"
CURVE = HeatingCurve(design_outdoor_c=-17, design_supply_c=95, design_return_c=55, mild_supply_c=45)
JANUARY = Instant(1_768_953_600_000)
"""2026-01-21."""


class Winter:
    """The loop, moved on by `run`."""

    def __init__(self, begin: Instant) -> None:
        self.at = begin
        self.loop = Heating(
            Hydraulics(NETWORK),
            pump="PU-1",
            curve=CURVE,
            weather=Weather(Climate(mean_c=7, season_c=16, day_c=4.5), seed=1),
            seed=1,
            offset_ms=lambda _: 0,
        )
        self.run(0)

    def run(self, hours: float, *, step_ms: int = 5 * MINUTE_MS) -> None:
        for _ in range(max(1, round(hours * HOUR_MS / step_ms))):
            self.at = Instant(self.at + (step_ms if hours else 0))
            ones = [1.0] * len(self.loop.users)
            self.loop.solve(self.at, ones, levels={}, pumping={})

    def begin(self, kind: Kind, target: str = "", **numbers: float) -> Event:
        event = Event(id="it", kind=kind, begin=self.at, target=target, numbers=numbers)
        self.loop.begin(event)
        return event


@pytest.fixture
def winter() -> Iterator[Winter]:
    found = Winter(JANUARY)
    yield found
    found.loop.close()


def test_the_loop_is_warm_and_under_pressure(winter: Winter) -> None:
    winter.run(24)
    loop = winter.loop

    assert 70 < loop.temperature_c("S-PLANT") < 97
    assert 35 < loop.temperature_c("R-PLANT") < 60
    for station in ("11", "22", "42"):
        assert loop.temperature_c("S-PLANT") > loop.temperature_c(f"S-{station}") > 65
        assert loop.temperature_c(f"R-{station}") < 60
        assert loop.pressure_kpa(f"S-{station}") > loop.pressure_kpa(f"R-{station}") + 200
        assert 300 < loop.pressure_kpa(f"R-{station}") < 450
    assert loop.flow_m3h("PU-1") == pytest.approx(475, abs=5)
    assert loop.flow_m3h("MAKE-UP") == pytest.approx(1.2, abs=0.1)


def test_heat_is_neither_made_nor_lost_on_the_way_but_a_little(winter: Winter) -> None:
    stations = ("11", "12", "21", "22", "31", "32", "41", "42")
    loop = winter.loop

    def heat(link: str, supply: str, back: str) -> float:
        drop = loop.temperature_c(supply) - loop.temperature_c(back)
        return loop.flow_m3h(link) * drop

    winter.run(24)
    sent = taken = 0.0
    for _ in range(48):
        winter.run(0.5)
        sent += heat("PU-1", "S-PLANT", "R-PLANT")
        taken += sum(heat(f"SS-{n}", f"S-{n}", f"R-{n}") for n in stations)

    assert 0.93 < taken / sent < 0.995


def test_summer_is_lukewarm() -> None:
    summer = Winter(Instant(JANUARY + 182 * DAY_MS))
    summer.run(24)

    assert summer.loop.temperature_c("S-PLANT") == pytest.approx(45, abs=2)
    assert summer.loop.temperature_c("R-PLANT") > 38
    summer.loop.close()


def test_warmth_arrives_at_the_far_end_long_after_it_was_sent(winter: Winter) -> None:
    winter.run(24)
    trip = winter.begin(Kind.PUMP_TRIP, "PU-1")
    winter.run(36)
    winter.loop.finish(trip)
    winter.run(0.5)
    near, far = winter.loop.temperature_c("S-PLANT"), winter.loop.temperature_c("S-42")
    winter.run(4)

    assert far < near - 5
    assert winter.loop.temperature_c("S-42") > near - 3


def test_without_the_pump_supply_and_return_stand_at_one_pressure(winter: Winter) -> None:
    trip = winter.begin(Kind.PUMP_TRIP, "PU-1")
    winter.run(1)
    heads = [
        winter.loop.pressure_kpa(f"S-{n}") - winter.loop.pressure_kpa(f"R-{n}")
        for n in ("11", "42")
    ]
    winter.loop.finish(trip)
    winter.run(1)

    assert heads == pytest.approx([0, 0], abs=1)
    assert winter.loop.flow_m3h("PU-1") > 400


@pytest.mark.parametrize("pipe", ["PS-21", "PR-42"])
def test_what_leaks_out_comes_in_through_the_make_up(winter: Winter, pipe: str) -> None:
    winter.run(2)
    before = winter.loop.flow_m3h("MAKE-UP")
    pressure = winter.loop.pressure_kpa("S-22")
    leak = winter.begin(Kind.BURST, pipe, m3h=30.0)
    winter.run(0.5)

    assert winter.loop.leaks() == [("it", pytest.approx(30, abs=2))]
    assert winter.loop.flow_m3h("MAKE-UP") == pytest.approx(before + 30, abs=2)
    assert winter.loop.pressure_kpa("S-22") < pressure - 5
    winter.loop.finish(leak)
    winter.run(0.5)
    assert winter.loop.flow_m3h("MAKE-UP") == pytest.approx(before, abs=0.1)


def test_a_closed_branch_cools_down_slowly(winter: Winter) -> None:
    winter.run(24)
    before = winter.loop.temperature_c("S-21")
    winter.begin(Kind.VALVE_CLOSED, "PS-21")
    winter.run(12)

    assert abs(winter.loop.flow_m3h("SS-21")) < 0.1
    assert winter.loop.temperature_c("S-21") <= before + 3
    assert winter.loop.flow_m3h("SS-22") > 40


def test_a_step_of_a_second_and_of_five_minutes_tell_the_same_story() -> None:
    found = []
    for step_ms in (10_000, 5 * MINUTE_MS):
        winter = Winter(JANUARY)
        winter.run(3, step_ms=step_ms)
        found.append([winter.loop.temperature_c(n) for n in ("S-42", "R-42", "R-PLANT")])
        winter.loop.close()

    assert found[0] == pytest.approx(found[1], abs=1.0)


def test_an_event_of_nothing_is_refused(winter: Winter) -> None:
    with pytest.raises(RefusedCommand, match=r"expected a pipe or junction .*was 'PS-20'"):
        winter.begin(Kind.BURST, "PS-20", m3h=5.0)


@pytest.mark.parametrize(
    ("network", "pump", "sentence"),
    [
        (NETWORK, "PU-2", r"heating\.pump: expected a pump of .*, was 'PU-2' \(near names: PU-1\)"),
        (CONFIGS / "demo" / "network.inp", "PU-1", None),
    ],
)
def test_a_network_that_is_no_loop_is_one_sentence(
    network: Path, pump: str, sentence: str | None
) -> None:
    def opened() -> Heating:
        return Heating(
            Hydraulics(network),
            pump=pump,
            curve=CURVE,
            weather=Weather(Climate(), seed=1),
            seed=1,
            offset_ms=lambda _: 0,
        )

    if sentence is None:
        opened().close()  # its one TCV passes for a substation; nothing worse happens
        return
    with pytest.raises(ConfigError, match=sentence):
        opened()


@given(st.lists(st.tuples(st.floats(0.01, 30), st.floats(20, 120)), min_size=1, max_size=60))
@settings(max_examples=60)
def test_a_pipe_gives_back_all_the_heat_it_got(pushes: list[tuple[float, float]]) -> None:
    pipe = Pipe(volume_m3=20.0, diameter_m=0.3, filled_c=60.0)
    got, gave = 20.0 * 60.0, 0.0
    for m3, warmth in pushes:
        got += m3 * warmth
        gave += m3 * (pipe.push(m3, warmth, forward=True) or 0.0)
    left = pipe.push(20.0, 0.0, forward=True)

    assert left is not None
    assert gave + 20.0 * left == pytest.approx(got, rel=1e-6)


def test_water_turns_round_in_a_pipe() -> None:
    pipe = Pipe(volume_m3=10.0, diameter_m=0.3, filled_c=60.0)
    pipe.push(5.0, 90.0, forward=True)

    assert pipe.push(5.0, 20.0, forward=False) == pytest.approx(90.0)
    assert pipe.push(5.0, 20.0, forward=False) == pytest.approx(60.0)
    assert pipe.push(0.0, 20.0, forward=False) is None


def test_a_pipe_cools_towards_the_ground() -> None:
    pipe = Pipe(volume_m3=10.0, diameter_m=0.1, filled_c=90.0)
    pipe.cool(24.0, ground_c=8.0)
    day = pipe.push(5.0, 50.0, forward=True)
    pipe.cool(10_000.0, ground_c=8.0)

    assert day is not None
    assert 40 < day < 80
    assert pipe.push(5.0, 50.0, forward=True) == pytest.approx(8.0)


def test_streams_mix_by_their_volumes() -> None:
    main = HeatMain({}, filled={"hot": 80.0, "cold": 20.0, "mix": 50.0})
    flows = [
        Current(link="a", begin="hot", end="mix", m3=3.0, head_m=2.0),
        Current(link="b", begin="cold", end="mix", m3=1.0, head_m=2.0),
    ]
    main.move(flows, hours=1.0, ground_c=8.0, fixed={}, taken_kw={})

    assert main.temperatures["mix"] == pytest.approx(65.0)


def test_a_substation_cannot_take_more_than_its_rooms_allow() -> None:
    assert return_c(80.0, 1150.0, 25.0) == pytest.approx(40.0)
    assert return_c(80.0, 9e9, 25.0) == pytest.approx(28.0)
    assert return_c(80.0, 1150.0, 0.0) == pytest.approx(28.0)
    assert return_c(25.0, 1150.0, 10.0) == pytest.approx(25.0)
