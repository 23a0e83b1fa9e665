"""A file becomes a model, or every mistake in it is told by file and key."""

from pathlib import Path

import pytest

from mainwatch.load import load, load_register_maps
from server.config import ServerConfig, problems
from telemetry.errors import ConfigError

GOOD = """
[server]
data = "data"
groups = ["demo"]
[[zone]]
id = "north"
name = { zh = "北", en = "North" }
timezone = "Asia/Shanghai"
inflow = [{ point = "n/flow" }]
[[point]]
id = "n/flow"
zone = "north"
quantity = "flow"
name = { zh = "流量", en = "flow" }
period_s = 1.0
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "server.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_file_loads_and_has_no_problems(tmp_path: Path):
    config = load(write(tmp_path, GOOD), ServerConfig)

    assert problems(config) == []
    assert config.registry().zones["north"].inflow[0].sign == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[server]", "[server]\nclour = 3"), "server.clour: unknown key"),
        (('groups = ["demo"]', ""), "server.groups: required key is missing"),
        (('groups = ["demo"]', 'groups = ["a.b"]'), "server.groups[0]: "),
        (("period_s = 1.0", "period_s = 0.0"), "point[0].period_s: Input should be greater"),
        (("[server]", "[server"), "not TOML"),
    ],
)
def test_a_mistake_is_told_by_file_and_key(tmp_path: Path, change: tuple[str, str], said: str):
    path = write(tmp_path, GOOD.replace(*change))

    with pytest.raises(ConfigError) as caught:
        load(path, ServerConfig)

    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path):
    text = GOOD.replace("period_s = 1.0", "period_s = 'x'").replace("[server]", "[server]\nq = 1")

    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), ServerConfig)

    assert "server.q" in str(caught.value)
    assert "point[0].period_s" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: expected a file, found none"):
        load(tmp_path / "nowhere.toml", ServerConfig)


def test_one_key_can_be_overridden_from_the_command_line(tmp_path: Path):
    config = load(
        write(tmp_path, GOOD),
        ServerConfig,
        ["page.port=9000", "server.data=/x/y", "point.0.period_s=5.0"],
    )

    assert (config.page.port, str(config.server.data)) == (9000, "/x/y")
    assert config.point[0].period_s == 5.0


@pytest.mark.parametrize("override", ["page.port", "point.7.period_s=1", "server.data.x=1"])
def test_an_override_that_leads_nowhere_is_refused(tmp_path: Path, override: str):
    with pytest.raises(ConfigError, match="--set"):
        load(write(tmp_path, GOOD), ServerConfig, [override])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[[zone]]", '[page]\nhost = "192.0.2.7"\n[[zone]]'), "page.sign_in: expected true"),
        (("[[zone]]", '[broker]\nhost = "192.0.2.7"\n[[zone]]'), "broker.ca_file: required"),
        (("Asia/Shanghai", "Asia/Shangri-La"), "zone[0].timezone: expected an IANA time zone"),
        (('point = "n/flow"', 'point = "n/fl"'), "zone[0].inflow[0]: expected a flow point"),
        (('zone = "north"', 'zone = "nord"'), "point[0].zone: expected one of north, was 'nord'"),
        (("period_s", "low = 5.0\nhigh = 4.0\nperiod_s"), "point[0].low: expected less than high"),
    ],
)
def test_what_has_the_right_shape_may_still_make_no_sense(
    tmp_path: Path, change: tuple[str, str], said: str
):
    found = problems(load(write(tmp_path, GOOD.replace(*change)), ServerConfig))

    assert any(line.startswith(said) for line in found), found


def test_a_mistake_in_a_register_map_names_its_file(tmp_path: Path):
    (tmp_path / "meter.toml").write_text('model = "m"\ndescription = "d"\nregisters = []\nx = 1\n')

    with pytest.raises(ConfigError, match=r"meter\.toml: .*x: unknown key"):
        load_register_maps(tmp_path)
