"""The engine really reacts: a burst is hydraulics, not a script."""

from pathlib import Path

import pytest

from firmware_sim.core.events import Event, Kind
from firmware_sim.core.town import Course, Habit
from firmware_sim.hydraulics import Hydraulics
from telemetry.errors import ConfigError, RefusedCommand, Unavailable
from telemetry.instant import HOUR_MS, Instant

NETWORK = Path(__file__).parents[3] / "configs" / "demo" / "network.inp"
INLETS = {"north": "PRV-NORTH", "east": "TCV-EAST", "south": "PRV-SOUTH"}
PIPES = [("north", "P-NORTH-030"), ("east", "P-EAST-030"), ("south", "P-SOUTH-030")]
BEGIN = Instant(1_790_000_000_000)


def _solve(water: Hydraulics, multiplier: float = 1.0, *, after_ms: int = 0) -> None:
    water.solve(
        Instant(BEGIN + after_ms),
        [multiplier] * len(water.users),
        levels={name: tank.start_m for name, tank in water.tanks.items()},
        pumping={"PU-1": True},
    )


def _event(kind: Kind, target: str = "", **numbers: float) -> Event:
    return Event(id=f"{kind}-{target}", kind=kind, begin=BEGIN, target=target, numbers=numbers)


def _burst(pipe: str, m3h: float) -> Event:
    return _event(Kind.BURST, pipe, m3h=m3h)


def _inflows(water: Hydraulics) -> dict[str, float]:
    return {zone: water.flow_m3h(link) for zone, link in INLETS.items()}


@pytest.mark.parametrize("multiplier", [0.4, 1.0, 1.6])
@pytest.mark.parametrize(("zone", "pipe"), PIPES)
def test_a_burst_lowers_pressure_nearby_and_raises_the_inflow_of_its_zone_only(
    water: Hydraulics, zone: str, pipe: str, multiplier: float
) -> None:
    _solve(water, multiplier)
    before, near = _inflows(water), water.inp.ends(pipe)[1]
    pressure = water.pressure_kpa(near)
    water.begin(_burst(pipe, 40.0))
    rises = {z: flow - before[z] for z, flow in _inflows(water).items()}

    assert 3 < pressure - water.pressure_kpa(near) < 40
    assert rises.pop(zone) == pytest.approx(40, abs=1)
    assert all(abs(rise) < 0.1 for rise in rises.values())


@pytest.mark.parametrize(
    "event",
    [
        _burst("P-NORTH-030", 40.0),
        _burst("J-NORTH-030", 40.0),
        _event(Kind.LEAK, "P-EAST-030", m3h=8.0, grow_h=2.0),
        _event(Kind.HYDRANT, "J-SOUTH-020", m3h=60.0),
        _event(Kind.LARGE_DEMAND, "J-NORTH-028", m3h=25.0),
        _event(Kind.VALVE_CLOSED, "PRV-NORTH"),
        _event(Kind.VALVE_CLOSED, "P-EAST-010"),
        _event(Kind.PUMP_TRIP, "PU-1"),
        _event(Kind.POWER_FAILURE),
        _event(Kind.PRV_SETPOINT, "PRV-SOUTH", kpa=200.0),
    ],
    ids=lambda e: e.id,
)
def test_when_it_is_over_everything_is_as_before(water: Hydraulics, event: Event) -> None:
    _solve(water)
    before, pressures = _inflows(water), _pressures(water)
    water.begin(event)
    _solve(water, after_ms=HOUR_MS)
    water.finish(event)
    water.finish(event)
    _solve(water)

    assert water.leaks() == []
    assert _inflows(water) == pytest.approx(before, abs=0.01)
    assert _pressures(water) == pytest.approx(pressures, abs=0.01)


def test_a_burst_at_a_customer_is_not_on_the_customers_meter(water: Hydraulics) -> None:
    _solve(water)
    taken = water.consumption_m3h("J-NORTH-028")
    water.begin(_burst("J-NORTH-028", 30.0))

    assert water.leaks() == [("burst-J-NORTH-028", pytest.approx(30, abs=0.3))]
    assert water.consumption_m3h("J-NORTH-028") == pytest.approx(taken, abs=0.01)


@pytest.mark.parametrize("kind", [Kind.LARGE_DEMAND, Kind.CUSTOMER_LEAK])
def test_a_large_demand_is_on_the_customers_meter(water: Hydraulics, kind: Kind) -> None:
    _solve(water)
    taken, inflow = water.consumption_m3h("J-NORTH-028"), _inflows(water)["north"]
    water.begin(_event(kind, "J-NORTH-028", m3h=30.0))

    assert water.consumption_m3h("J-NORTH-028") == pytest.approx(taken + 30, abs=0.01)
    assert _inflows(water)["north"] == pytest.approx(inflow + 30, abs=0.5)
    assert water.leaks() == []


def test_a_leak_grows_evenly_and_then_stays(water: Hydraulics) -> None:
    _solve(water)
    water.begin(_event(Kind.LEAK, "P-NORTH-030", m3h=12.0, grow_h=4.0))
    let_out = []
    for hour in range(7):
        _solve(water, after_ms=hour * HOUR_MS)
        let_out.append(water.leaks()[0][1])

    assert let_out == pytest.approx([0, 3, 6, 9, 12, 12, 12], abs=0.2)


def test_a_hydrant_draws_water_but_is_no_leak(water: Hydraulics) -> None:
    _solve(water)
    inflow = _inflows(water)["south"]
    water.begin(_event(Kind.HYDRANT, "J-SOUTH-020", m3h=60.0))

    assert _inflows(water)["south"] == pytest.approx(inflow + 60, abs=1)
    assert water.leaks() == []


def test_a_closed_inlet_leaves_its_zone_dry(water: Hydraulics) -> None:
    _solve(water)
    water.begin(_event(Kind.VALVE_CLOSED, "PRV-NORTH"))
    north = [water.pressure_kpa(n) for n in _junctions() if water.zone_of(n) == "north"]

    assert water.flow_m3h("PRV-NORTH") == pytest.approx(0, abs=0.01)
    assert 0 <= min(north) <= max(north) < 120
    assert water.pressure_kpa("J-EAST-030") > 240


@pytest.mark.parametrize(
    ("event", "works"),
    [
        (_event(Kind.PUMP_TRIP, "PU-1"), False),
        (_event(Kind.PUMP_TRIP), False),
        (_event(Kind.POWER_FAILURE), False),
        (_event(Kind.POWER_FAILURE, "trunk"), False),
        (_event(Kind.POWER_FAILURE, "north"), True),
    ],
)
def test_a_pump_without_power_gives_nothing(
    water: Hydraulics, event: Event, *, works: bool
) -> None:
    _solve(water)
    water.begin(event)
    _solve(water, after_ms=1000)

    assert (water.flow_m3h("PU-1") > 100) is works
    assert (water.tank_inflow_m3h("T-HILL") > 0) is works


def test_a_reducing_valve_holds_what_it_is_told(water: Hydraulics) -> None:
    _solve(water)
    water.begin(_event(Kind.PRV_SETPOINT, "PRV-SOUTH", kpa=200.0))

    assert water.pressure_kpa("J-SOUTH-047") == pytest.approx(200.0, abs=0.5)


def test_a_valve_may_be_closed_and_told_at_once(water: Hydraulics) -> None:
    closed = _event(Kind.VALVE_CLOSED, "PRV-SOUTH")
    told = _event(Kind.PRV_SETPOINT, "PRV-SOUTH", kpa=200.0)
    _solve(water)
    water.begin(closed)
    water.begin(told)
    assert water.flow_m3h("PRV-SOUTH") == pytest.approx(0, abs=0.01)
    water.finish(closed)

    assert water.pressure_kpa("J-SOUTH-047") == pytest.approx(200.0, abs=0.5)


def test_two_bursts_let_out_both(water: Hydraulics) -> None:
    _solve(water)
    before = _inflows(water)
    water.begin(_burst("P-NORTH-030", 30.0))
    water.begin(_burst("P-NORTH-010", 20.0))
    rise = _inflows(water)["north"] - before["north"]
    water.finish(_burst("P-NORTH-030", 30.0))

    assert rise == pytest.approx(50, abs=2)
    assert _inflows(water)["north"] - before["north"] == pytest.approx(20, abs=1)


def test_the_place_of_a_burst_is_the_middle_of_its_pipe(water: Hydraulics) -> None:
    burst = _burst("P-NORTH-030", 30.0)
    before = water.where(burst)
    water.begin(burst)

    assert before == water.where(burst)
    assert (before.zone, before.pipe, before.node) == ("north", "P-NORTH-030", None)
    ends = [water.place(node=n, link=None) for n in _ends("P-NORTH-030")]
    middle = [sum(c) / 2 for c in zip(*ends, strict=True)]
    assert [before.x, before.y] == pytest.approx(middle, abs=0.1)


def test_every_zone_sees_all_its_water(water: Hydraulics) -> None:
    _solve(water, 1.3)
    nodes = [n for n in _junctions() if water.zone_of(n) in INLETS]
    asked = {
        zone: sum(water.consumption_m3h(n) for n in nodes if water.zone_of(n) == zone)
        for zone in INLETS
    }

    assert _inflows(water) == pytest.approx(asked, abs=0.1)


@pytest.mark.parametrize("multiplier", [0.35, 1.0, 1.7])
def test_pressures_are_those_of_a_town(water: Hydraulics, multiplier: float) -> None:
    _solve(water, multiplier)
    found = [water.pressure_kpa(n) for n in _junctions() if water.zone_of(n) in INLETS]

    assert min(found) > 240
    assert max(found) < 450


def test_the_network_has_the_promised_size(water: Hydraulics) -> None:
    _solve(water)

    assert 140 <= len(_junctions()) <= 160
    assert 300 < sum(_inflows(water).values()) < 500


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (
            _burst("P-NORTH-17", 40),
            r"a pipe or junction of network.inp, was 'P-NORTH-17' .*P-NORTH-017",
        ),
        (_burst("PRV-NORTH", 40), r"expected a pipe or junction of network.inp, was 'PRV-NORTH'"),
        (_burst("P-NORTH-017", 0), r"m3h: expected more than 0, was 0"),
        (_burst("P-NORTH-017", float("nan")), r"m3h: expected more than 0, was nan"),
        (_burst("P-NORTH-017", 5000), r"P-NORTH-017 cannot let out 5000 m3/h, at most about \d+"),
        (
            _event(Kind.HYDRANT, "T-HILL", m3h=9),
            r"expected a junction of network.inp, was 'T-HILL'",
        ),
        (_event(Kind.PUMP_TRIP, "PU-2"), r"expected a pump of .*, was 'PU-2' \(near names: PU-1\)"),
        (_event(Kind.VALVE_CLOSED, ""), r"expected a link of network.inp, was ''"),
        (_event(Kind.PRV_SETPOINT, "TCV-EAST", kpa=1), r"a pressure valve of .*, was 'TCV-EAST'"),
        (_event(Kind.POWER_FAILURE, "nord"), r"expected a zone .*, was 'nord' \(near names: north"),
        (_event(Kind.ECHO, "line"), r"^echo: the mains of network.inp know no such thing"),
    ],
)
def test_what_cannot_happen_is_refused_and_changes_nothing(
    water: Hydraulics, event: Event, sentence: str
) -> None:
    _solve(water)
    before = _pressures(water)
    with pytest.raises(RefusedCommand, match=sentence):
        water.begin(event)

    assert water.leaks() == []
    assert _pressures(water) == pytest.approx(before, abs=0.01)


def test_a_pipe_bursts_once_at_a_time(water: Hydraulics) -> None:
    _solve(water)
    water.begin(_burst("P-NORTH-017", 10))
    with pytest.raises(RefusedCommand, match="burst-P-NORTH-017 has begun already"):
        water.begin(_burst("P-NORTH-017", 10))
    with pytest.raises(RefusedCommand, match="P-NORTH-017 has burst already"):
        water.begin(_event(Kind.LEAK, "P-NORTH-017", m3h=2.0))
    water.finish(_burst("P-NORTH-017", 10))
    water.begin(_event(Kind.LEAK, "P-NORTH-017", m3h=2.0))

    assert water.leaks() == [("leak-P-NORTH-017", pytest.approx(2, abs=0.1))]


def test_a_missing_network_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^sim\.network: expected an EPANET file, found none"):
        Hydraulics(tmp_path / "none.inp")


def test_a_wrong_pump_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"plant\.pump: expected a pump of .*, was 'PRV-NORTH'"):
        Hydraulics(NETWORK, pumps=("PRV-NORTH",))


def test_our_own_habits_keep_their_names(water: Hydraulics) -> None:
    habits = {users.habit for users in water.users}
    (school,) = habits - set(Habit)

    assert habits >= set(Habit)
    assert isinstance(school, Course)
    assert (school.at(3 * HOUR_MS), len(school.values)) == (0.0, 7 * 24)
    assert [users.name for users in water.users if users.alone] == ["J-NORTH-028"]


def test_an_engine_that_gives_up_is_one_sentence(
    water: Hydraulics, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(_project: object) -> None:
        raise RuntimeError("Error 110: cannot solve network hydraulic equations")

    monkeypatch.setattr("firmware_sim.hydraulics.en.runH", give_up)
    with pytest.raises(Unavailable, match=r"^EPANET cannot balance .*network\.inp: Error 110"):
        _solve(water)


def _section(title: str) -> list[list[str]]:
    text = NETWORK.read_text(encoding="utf-8").partition(f"[{title}]\n")[2].partition("\n[")[0]
    return [line.split() for line in text.splitlines() if line.strip() and line.strip()[0] != ";"]


def _junctions() -> list[str]:
    return [fields[0] for fields in _section("JUNCTIONS")]


def _ends(pipe: str) -> list[str]:
    return next(fields[1:3] for fields in _section("PIPES") if fields[0] == pipe)


def _pressures(water: Hydraulics) -> list[float]:
    return [water.pressure_kpa(n) for n in _junctions()]
