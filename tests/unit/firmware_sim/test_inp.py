"""Any network file plays: its units, its patterns, its own controls, or one sentence why not."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from firmware_sim.core.automation import Automation, Condition, Order, Relation, Rule, Sight
from firmware_sim.core.events import Event, Kind
from firmware_sim.core.town import Course
from firmware_sim.hydraulics import Hydraulics
from telemetry.errors import ConfigError
from telemetry.instant import HOUR_MS, MINUTE_MS, Instant

BEGIN = Instant(1_790_000_000_000)


Make = Callable[[str], Hydraulics]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Make]:
    """Return a function that opens a small network given as text."""
    opened: list[Hydraulics] = []

    def make(text: str) -> Hydraulics:
        path = tmp_path / "small.inp"
        path.write_text(text)
        opened.append(Hydraulics(path))
        return opened[-1]

    yield make
    for water in opened:
        water.close()


SMALL = """
[JUNCTIONS]
 A  10  5  DAY
 B  12  3
[RESERVOIRS]
 R  60
[TANKS]
 T  40  2  0  5  10  0
 U  38  2  0  5  20  0
[PIPES]
 RA R A 500 200 100 0 OPEN
 AB A B 500 150 100 0 OPEN
 BU B U 300 150 100 0 OPEN
[PUMPS]
 PU B T POWER 2
[PATTERNS]
 DAY 0.5 1.5
[TIMES]
 Pattern Timestep 12:00
{more}
[OPTIONS]
 UNITS {units}
 HEADLOSS H-W
[END]
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[JUNCTIONS]\n A B C D\n", r"EPANET refuses .*small\.inp: Error 202: illegal numeric"),
        (
            "[JUNCTIONS]\n A 1 1\n[RESERVOIRS]\n R 9\n[PIPES]\n P A Q 1 1 1\n[END]\n",
            r"EPANET refuses .*: Error 203: undefined node Q in \[PIPES\] section",
        ),
        ("[JUNCTIONS]\n A 1 1\n[END]\n", r"small\.inp does not solve: Error 223: not enough nodes"),
        (
            "[JUNCTIONS]\n A 1 1\n B 1 1\n[RESERVOIRS]\n R 9\n[PIPES]\n P R A 9 9 9\n[END]\n",
            r"small\.inp does not solve: Error 233: network has unconnected nodes",
        ),
    ],
)
def test_a_network_that_does_not_solve_is_one_sentence_with_epanets_words(
    made: Make, text: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        made(text)


def test_a_network_that_never_balances_is_one_sentence(made: Make) -> None:
    text = SMALL.format(units="LPS", more="").replace(
        "[END]", " TRIALS 1\n ACCURACY 0.00001\n[END]"
    )
    with pytest.raises(ConfigError, match=r"small\.inp does not solve: .*unbalanced"):
        made(text)


def test_units_of_the_file_become_ours(made: Make) -> None:
    flows = {}
    for units in ("LPS", "CMH"):
        water = made(SMALL.format(units=units, more=""))
        water.solve(BEGIN, [1.0] * len(water.users), levels={}, pumping={})
        flows[units] = water.consumption_m3h("A")

    assert flows == pytest.approx({"LPS": 18.0, "CMH": 5.0}, rel=1e-3)


def test_american_units_become_ours(made: Make) -> None:
    text = SMALL.format(units="GPM", more="").replace(" R  60", " R  200")
    water = made(text.replace("BU B U 300 150 100 0 OPEN", "BU B U 300 150 100 0 CLOSED"))
    water.solve(BEGIN, [1.0] * len(water.users), levels={}, pumping={"PU": False})

    assert water.consumption_m3h("A") == pytest.approx(5 * 0.2271, rel=1e-3)
    assert water.tanks["T"].maximum_m == pytest.approx(5 * 0.3048)
    # 200 ft of head less 10 ft of height, less a little for friction.
    assert water.pressure_kpa("A") == pytest.approx(190 * 0.3048 * 9.80665, rel=0.05)


def test_a_file_without_tags_is_one_zone(made: Make) -> None:
    water = made(SMALL.format(units="CMH", more=""))

    assert water.names["zone"] == ("town",)
    assert water.zone_of("A") == water.zone_of("AB") == "town"
    assert water.zone_of("nowhere") == ""


def test_a_pattern_of_the_files_own_becomes_a_habit(made: Make) -> None:
    water = made(SMALL.format(units="CMH", more=""))
    habits = [users.habit for users in water.users]

    assert habits == [
        Course(values=(0.5, 1.5), step_ms=12 * HOUR_MS),
        Course(values=(1.0,), step_ms=12 * HOUR_MS),
    ]


def test_every_tank_and_pump_is_there(made: Make) -> None:
    water = made(SMALL.format(units="CMH", more=""))
    users = [1.0] * len(water.users)
    water.solve(BEGIN, users, levels={"T": 2.0, "U": 2.0}, pumping={"PU": True})
    both = water.tank_inflow_m3h("T"), water.tank_inflow_m3h("U")
    water.solve(BEGIN, users, levels={"T": 2.0, "U": 2.0}, pumping={"PU": False})

    assert sorted(water.tanks) == ["T", "U"]
    assert both[0] > 1
    assert water.tank_inflow_m3h("T") == pytest.approx(0, abs=1e-3)


CONTROLS = """
[CONTROLS]
 LINK PU CLOSED IF NODE T ABOVE 4
 LINK PU OPEN IF NODE T BELOW 1
"""

RULES = """
[RULES]
RULE full
IF TANK T LEVEL ABOVE 4
THEN PUMP PU STATUS IS CLOSED

RULE empty
IF TANK T LEVEL BELOW 1
OR SYSTEM CLOCKTIME >= 11 PM
THEN PUMP PU STATUS IS OPEN
"""


@pytest.mark.parametrize("more", [CONTROLS, RULES])
def test_the_files_own_controls_switch_with_memory(made: Make, more: str) -> None:
    water = made(SMALL.format(units="CMH", more=more))
    works = []
    for n, level in enumerate([3.0, 4.5, 3.0, 0.5, 3.0]):
        at = Instant(BEGIN - BEGIN % (24 * HOUR_MS) + n * MINUTE_MS)
        water.solve(at, [1.0] * len(water.users), levels={"T": level, "U": 2.0}, pumping={})
        works.append(water.flow_m3h("PU") > 0.5)

    assert works == [True, False, False, True, True]


def test_a_rule_looks_at_the_clock_of_the_town(made: Make) -> None:
    water = made(SMALL.format(units="CMH", more=RULES))
    midnight = BEGIN - BEGIN % (24 * HOUR_MS)
    works = []
    for hour, level in ((20, 4.5), (22, 3.0), (23, 3.0)):
        at = Instant(midnight + hour * HOUR_MS)
        water.solve(at, [1.0] * len(water.users), levels={"T": level, "U": 2.0}, pumping={})
        works.append(water.flow_m3h("PU") > 0.5)

    assert works == [False, False, True]


def test_a_control_at_a_time_of_day_closes_a_pipe(made: Make) -> None:
    more = "[CONTROLS]\n LINK BU CLOSED AT CLOCKTIME 6 AM\n LINK BU OPEN AT CLOCKTIME 8 AM\n"
    water = made(SMALL.format(units="CMH", more=more))
    midnight = BEGIN - BEGIN % (24 * HOUR_MS)
    flows = []
    for minutes in range(5 * 60, 9 * 60, 30):
        at = Instant(midnight + minutes * MINUTE_MS)
        water.solve(at, [1.0] * len(water.users), levels={"T": 2.0, "U": 2.0}, pumping={})
        flows.append(abs(water.flow_m3h("BU")) > 0.1)

    assert flows == [True, True, False, False, False, False, True, True]


def test_of_two_rules_the_more_important_one_has_the_last_word() -> None:
    def rule(priority: float, *, is_open: bool) -> Rule:
        when = Condition(sight=Sight.FLOW, name="L", relation=Relation.ABOVE, value=1.0)
        order = Order(link="V", is_open=is_open)
        return Rule(conditions=(when,), then=(order,), priority=priority)

    automation = Automation([rule(3.0, is_open=True), rule(1.0, is_open=False)])
    changed = automation.decide(lambda _s, _n: 2.0, local_ms=0, elapsed_ms=1000)

    assert changed
    assert automation.orders["V"].is_open is True
    assert not automation.decide(lambda _s, _n: 2.0, local_ms=0, elapsed_ms=1000)


def _grid_text(side: int) -> str:
    """Return a square of `side` times `side` junctions, with two categories of demand each."""
    names = [(row, column) for row in range(side) for column in range(side)]
    junctions = [f" N{r}-{c} {10 + (r * c) % 5}" for r, c in names]
    demands = [f" N{r}-{c} {x} {p}" for r, c in names for x, p in ((0.6, "HOMES"), (0.2, "SHOPS"))]
    pipes = [f" H{r}-{c} N{r}-{c} N{r}-{c + 1} 80 150 120" for r, c in names if c + 1 < side]
    pipes += [f" V{r}-{c} N{r}-{c} N{r + 1}-{c} 80 150 120" for r, c in names if r + 1 < side]
    day = " ".join(str(0.5 + (n % 24) / 24) for n in range(48))
    return "\n".join(
        [
            *("[JUNCTIONS]", *junctions, "[RESERVOIRS]", " R 60"),
            *("[PIPES]", " IN R N0-0 50 400 120", *pipes, "[DEMANDS]", *demands),
            *("[PATTERNS]", f" HOMES {day}", f" SHOPS {day}"),
            *("[TIMES]", " Pattern Timestep 0:30", "[OPTIONS]", " UNITS CMH", "[END]"),
        ]
    )


def test_a_large_network_without_tags_plays_with_events(made: Make) -> None:
    water = made(_grid_text(28))
    ones = [1.0] * len(water.users)
    water.solve(BEGIN, ones, levels={}, pumping={})
    before, inflow = water.pressure_kpa("N27-27"), water.flow_m3h("IN")
    burst = Event(id="b", kind=Kind.BURST, begin=BEGIN, target="H14-14", numbers={"m3h": 50.0})
    water.begin(burst)

    assert len(water.users) < 150
    assert inflow == pytest.approx(28 * 28 * 0.8, rel=1e-3)
    assert water.flow_m3h("IN") == pytest.approx(inflow + 50, abs=1)
    assert water.pressure_kpa("N27-27") < before
    water.finish(burst)
    water.solve(BEGIN, ones, levels={}, pumping={})
    assert water.pressure_kpa("N27-27") == pytest.approx(before, abs=0.01)
