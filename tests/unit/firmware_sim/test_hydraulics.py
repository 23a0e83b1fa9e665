"""The engine really reacts: a burst is hydraulics, not a script."""

from pathlib import Path

import pytest

from firmware_sim.hydraulics import Hydraulics
from telemetry.errors import ConfigError, RefusedCommand, Unavailable

NETWORK = Path(__file__).parents[3] / "configs" / "demo" / "network.inp"
INLETS = {"north": "PRV-NORTH", "east": "TCV-EAST", "south": "PRV-SOUTH"}
PIPES = [("north", "P-NORTH-030"), ("east", "P-EAST-030"), ("south", "P-SOUTH-030")]


def _solve(water: Hydraulics, multiplier: float = 1.0) -> None:
    water.solve([multiplier] * len(water.users), level_m=3.8, is_pumping=True)


def _inflows(water: Hydraulics) -> dict[str, float]:
    return {zone: water.flow_m3h(link) for zone, link in INLETS.items()}


@pytest.mark.parametrize("multiplier", [0.4, 1.0, 1.6])
@pytest.mark.parametrize(("zone", "pipe"), PIPES)
def test_a_burst_lowers_pressure_nearby_and_raises_the_inflow_of_its_zone_only(
    water: Hydraulics, zone: str, pipe: str, multiplier: float
) -> None:
    _solve(water, multiplier)
    before = _inflows(water)
    near = water.open_burst(pipe, 40.0).node
    water.close_burst(pipe)
    pressure = water.pressure_kpa(near)
    water.open_burst(pipe, 40.0)
    rises = {z: flow - before[z] for z, flow in _inflows(water).items()}

    assert 3 < pressure - water.pressure_kpa(near) < 40
    assert rises.pop(zone) == pytest.approx(40, abs=1)
    assert all(abs(rise) < 0.1 for rise in rises.values())


@pytest.mark.parametrize(("zone", "pipe"), PIPES)
def test_closing_a_burst_brings_everything_back(water: Hydraulics, zone: str, pipe: str) -> None:
    _solve(water)
    before, (inflow, pressures) = _inflows(water), (water.flow_m3h(INLETS[zone]), _pressures(water))
    burst = water.open_burst(pipe, 40.0)
    assert water.bursts() == [(burst, pytest.approx(40, abs=0.5))]
    water.close_burst(pipe)
    _solve(water)

    assert water.bursts() == []
    assert _inflows(water) == pytest.approx(before, abs=0.01)
    assert water.flow_m3h(INLETS[zone]) == pytest.approx(inflow, abs=0.01)
    assert _pressures(water) == pytest.approx(pressures, abs=0.01)


def test_a_burst_at_a_customer_is_not_on_the_customers_meter(water: Hydraulics) -> None:
    _solve(water)
    taken = water.consumption_m3h("J-NORTH-028")
    for pipe in _pipes_at("J-NORTH-028"):
        if water.open_burst(pipe, 30.0).node == "J-NORTH-028":
            break
        water.close_burst(pipe)
    else:
        pytest.fail("no pipe lets out at the customer")

    assert water.consumption_m3h("J-NORTH-028") == pytest.approx(taken, abs=0.01)


def test_two_bursts_let_out_both(water: Hydraulics) -> None:
    _solve(water)
    before = _inflows(water)
    water.open_burst("P-NORTH-030", 30.0)
    water.open_burst("P-NORTH-010", 20.0)
    rise = _inflows(water)["north"] - before["north"]

    assert rise == pytest.approx(50, abs=2)


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
    ("pipe", "m3h", "sentence"),
    [
        ("P-NORTH-17", 40, r"expected a pipe of network.inp, was 'P-NORTH-17' .*P-NORTH-017"),
        ("PRV-NORTH", 40, r"expected a pipe of network.inp, was 'PRV-NORTH'"),
        ("P-NORTH-017", 0, r"m3h: expected more than 0, was 0"),
        ("P-NORTH-017", float("nan"), r"m3h: expected more than 0, was nan"),
        ("P-NORTH-017", 5000, r"P-NORTH-017 cannot let out 5000 m3/h, at most about \d+"),
    ],
)
def test_an_impossible_burst_is_refused_and_changes_nothing(
    water: Hydraulics, pipe: str, m3h: float, sentence: str
) -> None:
    _solve(water)
    before = _pressures(water)
    with pytest.raises(RefusedCommand, match=sentence):
        water.open_burst(pipe, m3h)

    assert _pressures(water) == pytest.approx(before, abs=0.01)


def test_a_pipe_bursts_once(water: Hydraulics) -> None:
    _solve(water)
    water.open_burst("P-NORTH-017", 10)
    with pytest.raises(RefusedCommand, match="P-NORTH-017 has burst already"):
        water.open_burst("P-NORTH-017", 10)
    water.close_burst("P-NORTH-017")
    with pytest.raises(RefusedCommand, match=r"expected a pipe with an open burst \(none\)"):
        water.close_burst("P-NORTH-017")


def test_a_missing_network_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^sim\.network: expected an EPANET file, found none"):
        Hydraulics(tmp_path / "none.inp", tank="T-HILL", pump="PU-1", customers=())


def test_a_file_that_is_no_network_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "no.inp").write_text("[JUNCTIONS]\n A B C D\n")

    with pytest.raises(ConfigError, match=r"^sim\.network: EPANET refuses .*no\.inp: Error"):
        Hydraulics(tmp_path / "no.inp", tank="T-HILL", pump="PU-1", customers=())


@pytest.mark.parametrize(
    ("tank", "pump", "sentence"),
    [
        ("T-HIL", "PU-1", r"plant\.tank: expected a node of .*, was 'T-HIL' \(near names: T-HILL"),
        ("R-WATERWORKS", "PU-1", r"plant\.tank: expected a tank of .*, was 'R-WATERWORKS'"),
        ("T-HILL", "PRV-NORTH", r"plant\.pump: expected a pump of .*, was 'PRV-NORTH'"),
    ],
)
def test_a_wrong_tank_or_pump_is_one_sentence(tank: str, pump: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Hydraulics(NETWORK, tank=tank, pump=pump, customers=())


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


def _pipes_at(node: str) -> list[str]:
    return [fields[0] for fields in _section("PIPES") if node in fields[1:3]]


def _pressures(water: Hydraulics) -> list[float]:
    return [water.pressure_kpa(n) for n in _junctions()]
