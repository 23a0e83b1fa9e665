"""A gas grid: balanced, regulated, and honest about what leaks."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.core.events import Event, Kind
from firmware_sim.core.gas import Gas
from firmware_sim.core.gas_flow import AIR_BAR, Grid, Mode, resistance, solved
from firmware_sim.gas_file import gas_of
from telemetry.errors import ConfigError, RefusedCommand
from telemetry.instant import HOUR_MS, Instant

NETWORK = Path(__file__).parents[3] / "configs" / "demo-gas" / "network.toml"
BEGIN = Instant(1_790_000_000_000)
GROUND_C = 12.0


@pytest.fixture
def gas() -> Gas:
    found = gas_of(NETWORK, customers=("T-2",), ground_c=lambda _: GROUND_C)
    _solve(found)
    return found


def _solve(gas: Gas, multiplier: float = 1.0, *, after_ms: int = 0) -> None:
    ones = [multiplier] * len(gas.users)
    gas.solve(Instant(BEGIN + after_ms), ones, levels={}, pumping={})


def _event(kind: Kind, target: str = "", **numbers: float) -> Event:
    return Event(id=f"{kind}-{target}", kind=kind, begin=BEGIN, target=target, numbers=numbers)


def _pressures(gas: Gas) -> dict[str, float]:
    return {n: gas.pressure_kpa(n) for n in gas.names["node"]}


@pytest.mark.parametrize("multiplier", [0.2, 1.0, 1.8])
def test_what_comes_in_goes_out_at_every_node(gas: Gas, multiplier: float) -> None:
    _solve(gas, multiplier)
    taken = {n: gas.consumption_m3h(n) for n in gas.names["node"]}

    assert gas.flow_m3h("CITY-GATE") == pytest.approx(sum(taken.values()), abs=0.1)
    west = sum(m3h for n, m3h in taken.items() if gas.zone_of(n) == "west")
    assert gas.flow_m3h("DR-WEST") == pytest.approx(west, abs=0.1)
    assert gas.flow_m3h("W-01") - gas.flow_m3h("W-07") == pytest.approx(west, abs=0.1)


def test_pressures_are_those_of_a_grid(gas: Gas) -> None:
    found = _pressures(gas)

    assert found["GATE"] == pytest.approx(360, abs=0.01)
    assert found["W-1"] == found["E-1"] == pytest.approx(180, abs=0.01)
    for node, kpa in found.items():
        if gas.zone_of(node) == "west":
            assert 120 < kpa <= 180.01


def test_one_pipe_follows_renouard() -> None:
    # 1000 m of DN 100 at 4 bar absolute, 500 m³/h, worked by hand: 48.6·0.6·1000·500^1.82·100^-4.82
    grid = Grid(
        sources=((0, 4.0),),
        pipes=((0, 1),),
        resistance=np.array([resistance(1000.0, 100.0)]),
        regulators=(),
        set_bar=(),
        barred=(),
        demand=np.array([0.0, 500.0]),
        holes=np.zeros(2),
    )
    balance = solved(grid)
    drop = 48.6 * 0.6 * 1000 * 500**1.82 * 100**-4.82

    assert balance.is_solved
    assert balance.bar[1] ** 2 == pytest.approx(16 - drop, abs=1e-4)
    assert balance.pipe_flow[0] == pytest.approx(500, abs=0.01)


@given(
    st.lists(st.floats(0.0, 400.0), min_size=5, max_size=5),
    st.lists(st.floats(40.0, 200.0), min_size=7, max_size=7),
    st.floats(1.2, 6.0),
)
@settings(max_examples=60)
def test_any_looped_grid_finds_its_balance(
    demand: list[float], widths: list[float], bar: float
) -> None:
    pipes = ((0, 1), (1, 2), (2, 3), (3, 0), (1, 3), (3, 4), (4, 2))
    grid = Grid(
        sources=((0, bar),),
        pipes=pipes,
        resistance=np.array([resistance(300.0, w) for w in widths]),
        regulators=(),
        set_bar=(),
        barred=(),
        demand=np.array(demand),
        holes=np.array([0.0, 0.0, 3.0, 0.0, 0.0]),
    )
    balance = solved(grid)
    out = balance.taken + balance.let_out
    for (begin, end), flow in zip(pipes, balance.pipe_flow, strict=True):
        out[begin] += flow
        out[end] -= flow

    assert balance.is_solved
    assert np.abs(out[1:]).max() < 0.05
    assert balance.bar.min() >= AIR_BAR
    assert balance.bar.max() <= bar + 1e-6


@pytest.mark.parametrize(
    ("inlet", "wanted", "demand", "mode"),
    [
        (4.0, 2.0, 100.0, Mode.HOLDS),
        (4.0, 5.0, 100.0, Mode.OPEN),
    ],
)
def test_a_regulator_holds_opens_or_shuts(
    inlet: float, wanted: float, demand: float, mode: Mode
) -> None:
    grid = Grid(
        sources=((0, inlet),),
        pipes=((1, 2),),
        resistance=np.array([resistance(100.0, 100.0)]),
        regulators=((0, 1),),
        set_bar=(wanted,),
        barred=(False,),
        demand=np.array([0.0, 0.0, demand]),
        holes=np.zeros(3),
    )
    balance = solved(grid)

    assert balance.modes == (mode,)
    assert balance.bar[1] == pytest.approx(min(inlet, wanted))
    assert balance.regulator_flow[0] == pytest.approx(demand, abs=0.01)


def test_of_two_regulators_the_lower_one_shuts() -> None:
    grid = Grid(
        sources=((0, 6.0),),
        pipes=((1, 2),),
        resistance=np.array([resistance(10.0, 200.0)]),
        regulators=((0, 1), (0, 2)),
        set_bar=(3.0, 2.0),
        barred=(False, False),
        demand=np.array([0.0, 0.0, 200.0]),
        holes=np.zeros(3),
    )
    balance = solved(grid)

    assert balance.modes == (Mode.HOLDS, Mode.SHUT)
    assert balance.regulator_flow[1] == 0


@pytest.mark.parametrize(
    "event",
    [
        _event(Kind.BURST, "W-03", m3h=150.0),
        _event(Kind.BURST, "E-5", m3h=60.0),
        _event(Kind.LEAK, "M-03", m3h=100.0, grow_h=1.0),
        _event(Kind.HYDRANT, "W-4", m3h=40.0),
        _event(Kind.LARGE_DEMAND, "E-3", m3h=100.0),
        _event(Kind.CUSTOMER_LEAK, "E-3", m3h=10.0),
        _event(Kind.VALVE_CLOSED, "M-01"),
        _event(Kind.VALVE_CLOSED, "DR-EAST"),
        _event(Kind.PRV_SETPOINT, "DR-WEST", kpa=100.0),
        _event(Kind.POWER_FAILURE, "west"),
    ],
    ids=lambda e: e.id,
)
def test_when_it_is_over_everything_is_as_before(gas: Gas, event: Event) -> None:
    before = _pressures(gas)
    gas.begin(event)
    _solve(gas, after_ms=HOUR_MS)
    gas.finish(event)
    gas.finish(event)
    _solve(gas)

    assert gas.leaks() == []
    assert _pressures(gas) == pytest.approx(before, abs=1e-3)


def test_a_burst_lowers_the_pressure_nearby_and_is_seen_at_its_station(gas: Gas) -> None:
    before, west, east = _pressures(gas), gas.flow_m3h("DR-WEST"), gas.flow_m3h("DR-EAST")
    gas.begin(_event(Kind.BURST, "W-03", m3h=150.0))
    falls = {n: before[n] - kpa for n, kpa in _pressures(gas).items()}

    assert gas.leaks() == [("burst-W-03", pytest.approx(150, abs=1))]
    assert max(falls, key=lambda n: falls[n]) in {"W-3", "W-7"}
    assert falls["W-3"] > 5
    assert gas.flow_m3h("DR-WEST") == pytest.approx(west + 150, abs=2)
    assert gas.flow_m3h("DR-EAST") == pytest.approx(east, abs=0.5)


def test_a_leak_grows_evenly(gas: Gas) -> None:
    gas.begin(_event(Kind.LEAK, "W-03", m3h=40.0, grow_h=4.0))
    let_out = []
    for hour in range(6):
        _solve(gas, after_ms=hour * HOUR_MS)
        let_out.append(gas.leaks()[0][1])

    assert let_out == pytest.approx([0, 10, 20, 30, 40, 40], abs=1)


def test_two_leaks_at_one_node_share_what_it_lets_out(gas: Gas) -> None:
    gas.begin(_event(Kind.BURST, "E-5", m3h=30.0))
    gas.begin(_event(Kind.LEAK, "E-5", m3h=10.0))

    assert dict(gas.leaks()) == pytest.approx({"burst-E-5": 30, "leak-E-5": 10}, abs=0.5)


@pytest.mark.parametrize("kind", [Kind.LARGE_DEMAND, Kind.CUSTOMER_LEAK])
def test_a_customer_s_own_demand_is_on_its_meter(gas: Gas, kind: Kind) -> None:
    taken = gas.consumption_m3h("T-2")
    gas.begin(_event(kind, "T-2", m3h=120.0))

    assert gas.consumption_m3h("T-2") == pytest.approx(taken + 120, abs=0.1)


def test_a_district_without_its_station_runs_empty(gas: Gas) -> None:
    gas.begin(_event(Kind.VALVE_CLOSED, "DR-EAST"))

    assert gas.flow_m3h("DR-EAST") == 0
    assert all(kpa < 5 for n, kpa in _pressures(gas).items() if gas.zone_of(n) == "east")
    assert gas.pressure_kpa("W-3") > 120


def test_the_meter_turns_less_than_the_corrector_counts(gas: Gas) -> None:
    bar = (gas.pressure_kpa("T-1") + 101.325) / 101.325
    kelvin = (GROUND_C + 273.15) / 293.15

    assert gas.flow_m3h("DR-WEST@line") == pytest.approx(gas.flow_m3h("DR-WEST") / bar * kelvin)
    assert gas.zone_of("DR-WEST@line") == "west"
    assert gas.place(node=None, link="DR-WEST@line") == gas.place(node=None, link="DR-WEST")
    assert gas.temperature_c("T-1") == GROUND_C


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (_event(Kind.BURST, "W-33", m3h=5.0), r"a pipe or node of network.toml, was 'W-33'"),
        (_event(Kind.BURST, "W-03", m3h=90_000.0), r"W-03 cannot let out 90000 m3/h, at most"),
        (_event(Kind.BURST, "W-03", m3h=-1.0), r"m3h: expected more than 0, was -1"),
        (_event(Kind.PUMP_TRIP), r"pump_trip: the gas grid of network.toml has nothing such"),
        (_event(Kind.PRV_SETPOINT, "DR-WST", kpa=9), r"was 'DR-WST' \(near names: DR-WEST"),
    ],
)
def test_what_cannot_happen_is_refused_and_changes_nothing(
    gas: Gas, event: Event, sentence: str
) -> None:
    before = _pressures(gas)
    with pytest.raises(RefusedCommand, match=sentence):
        gas.begin(event)

    assert gas.leaks() == []
    assert _pressures(gas) == pytest.approx(before, abs=1e-3)


def test_a_pipe_is_open_once_at_a_time(gas: Gas) -> None:
    gas.begin(_event(Kind.BURST, "W-03", m3h=50.0))
    with pytest.raises(RefusedCommand, match="burst-W-03 has begun already"):
        gas.begin(_event(Kind.BURST, "W-03", m3h=50.0))
    with pytest.raises(RefusedCommand, match="W-03 is open already"):
        gas.begin(_event(Kind.LEAK, "W-03", m3h=5.0))


@given(
    st.lists(st.sampled_from([f"W-0{n}" for n in range(1, 9)] + ["M-01", "DR-WEST"]), unique=True),
    st.floats(20.0, 400.0),
    st.floats(0.1, 2.5),
)
@settings(max_examples=40)
def test_whatever_is_shut_the_grid_finds_its_balance_and_its_way_back(
    shut: list[str], kpa: float, multiplier: float
) -> None:
    gas = gas_of(NETWORK, customers=(), ground_c=lambda _: GROUND_C)
    _solve(gas)
    before = _pressures(gas)
    events = [_event(Kind.VALVE_CLOSED, name) for name in shut]
    events.append(_event(Kind.PRV_SETPOINT, "CITY-GATE", kpa=kpa))
    for event in events:
        gas.begin(event)
        _solve(gas, multiplier)
        assert all(kpa >= 0 for kpa in _pressures(gas).values())
    for event in events:
        gas.finish(event)
    _solve(gas)

    assert _pressures(gas) == pytest.approx(before, abs=1e-3)


_PIPE = '[[pipe]]\nid = "P"\nbegin = "A"\nend = "B"\nlength_m = 10\ndiameter_mm = 63\n'
_NODES = (
    '[[node]]\nid = "A"\nx_m = 0\ny_m = 0\nsource_kpa = 300\n[[node]]\nid = "B"\nx_m = 9\ny_m = 0\n'
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[node", r"^sim\.network: .*grid\.toml: "),
        (_PIPE, r"grid\.toml: node: "),
        (_NODES + _PIPE.replace('"B"', '"C"'), r"grid\.toml: P: expected a node, was 'C'"),
        (_NODES + _PIPE + _PIPE, r"link 'P' is there twice"),
        (_NODES.replace("source_kpa = 300\n", "") + _PIPE, r"expected one with source_kpa"),
        (_NODES + _PIPE.replace("63", "0"), r"P: expected length_m and diameter_mm above 0"),
        (_NODES + _PIPE.replace("diameter_mm", "bore"), r"pipe\.0\.diameter_mm: "),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        gas_of(path, customers=(), ground_c=lambda _: GROUND_C)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sim\.network: expected a network file, found none"):
        gas_of(tmp_path / "none.toml", customers=(), ground_c=lambda _: GROUND_C)
