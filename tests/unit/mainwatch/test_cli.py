"""Bad input gets one clear sentence that names file and key, exit code 2, and starts nothing."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mainwatch.load import configs_folder
from tests.support.ports import free_port

CONFIGS = configs_folder() / "demo"


def mainwatch(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mainwatch", *map(str, arguments)],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def assert_refused(ended: subprocess.CompletedProcess, *words: str) -> None:
    said = [line for line in ended.stderr.splitlines() if line.startswith("mainwatch: ")]

    assert ended.returncode == 2, ended.stderr
    assert len(said) == 1, ended.stderr
    assert all(word in said[0] for word in words), said[0]
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize("program", ["gateway", "server", "sim"])
def test_an_unknown_key_is_named_with_its_file(program: str, tmp_path: Path):
    path = tmp_path / f"{program}.toml"
    table = {"gateway": "gateway", "server": "server", "sim": "sim"}[program]
    text = (CONFIGS / f"{program}.toml").read_text()
    path.write_text(text.replace(f"[{table}]\n", f"[{table}]\ncolour = 1\n", 1))

    assert_refused(mainwatch(program, "--config", path), str(path), f"{table}.colour: unknown key")


def test_a_missing_configuration_is_asked_for_with_an_example():
    assert_refused(mainwatch("gateway"), "--config", "gateway.toml")


def test_a_duplicate_unit_id_is_named(tmp_path: Path):
    path = tmp_path / "gateway.toml"
    path.write_text((CONFIGS / "gateway.toml").read_text().replace("unit = 2\n", "unit = 1\n", 1))

    assert_refused(mainwatch("gateway", "--config", path), str(path), "line[0].device[1].unit")


def test_a_register_outside_the_map_is_named(tmp_path: Path):
    path = tmp_path / "gateway.toml"
    text = (CONFIGS / "gateway.toml").read_text()
    path.write_text(text.replace('register = "pressure"', 'register = "presure"', 1))

    assert_refused(mainwatch("gateway", "--config", path), str(path), "presure", "register")


@pytest.mark.parametrize("program", ["gateway", "server"])
def test_a_missing_data_folder_is_named(program: str, tmp_path: Path):
    missing = tmp_path / "nowhere"
    ended = mainwatch(
        program, "--config", CONFIGS / f"{program}.toml", "--set", f"{program}.data={missing}"
    )

    assert_refused(ended, f"{program}.toml", f"{program}.data", str(missing), "found none")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("program", ["gateway", "server"])
def test_an_unwritable_data_folder_is_named(program: str, tmp_path: Path):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    ended = mainwatch(
        program, "--config", CONFIGS / f"{program}.toml", "--set", f"{program}.data={folder}"
    )

    assert_refused(ended, f"{program}.data", str(folder))


def test_a_page_port_in_use_is_named(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = mainwatch(
            "server", "--config", CONFIGS / "server.toml",
            "--set", f"server.data={tmp_path}", "--set", f"page.port={port}",
        )  # fmt: skip

    assert_refused(ended, "page.port", str(port), "in use")
    assert not (tmp_path / "journal.db").exists()


def test_a_broker_that_does_not_answer_is_named_and_nothing_is_half_started(tmp_path: Path):
    ended = mainwatch(
        "server", "--config", CONFIGS / "server.toml", "--set", f"server.data={tmp_path}",
        "--set", f"page.port={free_port()}", "--set", f"broker.port={(port := free_port())}",
    )  # fmt: skip

    assert_refused(ended, "broker", f"127.0.0.1:{port}")
    assert not (tmp_path / "journal.db").exists()


@pytest.mark.parametrize(
    ("program", "key"),
    [("server", "page.host"), ("server", "broker.host"), ("gateway", "broker.host")],
)
def test_what_is_not_on_loopback_needs_its_protection(program: str, key: str):
    ended = mainwatch(program, "--config", CONFIGS / f"{program}.toml", "--set", f"{key}=192.0.2.7")

    assert_refused(ended, key.split(".", maxsplit=1)[0], "192.0.2.7", "loopback")


def test_check_says_everything_at_once_and_touches_nothing(tmp_path: Path):
    path = tmp_path / "server.toml"
    text = (CONFIGS / "server.toml").read_text()
    path.write_text(
        text.replace("Asia/Shanghai", "Asia/Shangri-La").replace("port = 8420", "p = 1")
    )
    bad = mainwatch("check", path)
    path.write_text(text.replace("Asia/Shanghai", "Asia/Shangri-La"))
    senseless = mainwatch("check", path)

    assert (bad.returncode, senseless.returncode) == (1, 1)
    assert "page.p: unknown key" in bad.stdout
    assert len(senseless.stdout.splitlines()) == 3
    assert list(tmp_path.iterdir()) == [path]


def test_every_file_of_the_demo_is_checked_as_good():
    files = [*CONFIGS.glob("*.toml"), *(configs_folder() / "devices").glob("*.toml")]
    ended = mainwatch("check", *files)

    assert ended.returncode == 0, ended.stdout
    assert f"{len(files)} file(s): nothing wrong" in ended.stdout


def test_every_command_has_help_that_ends_with_an_example():
    for command in ("demo", "gateway", "server", "sim", "check"):
        ended = mainwatch(command, "--help")

        assert ended.returncode == 0
        assert "example: mainwatch " + command in ended.stdout


def test_the_simulator_that_is_not_there_is_named():
    ended = mainwatch("sim", "status", "--control", f"127.0.0.1:{(port := free_port())}")

    assert ended.returncode == 1
    assert ended.stderr == f"mainwatch: no simulator answers on 127.0.0.1:{port}\n"


def test_a_report_that_cannot_be_written_is_named_before_anything_starts(tmp_path: Path):
    report = tmp_path / "nowhere" / "demo.json"
    ended = mainwatch("demo", "--headless", "--for", "1", "--report", report)

    assert_refused(ended, "--report", str(report))


def test_a_folder_of_register_maps_that_is_none_is_named(tmp_path: Path):
    missing = tmp_path / "nowhere"
    ended = mainwatch("gateway", "--config", CONFIGS / "gateway.toml", "--devices", missing)

    assert_refused(ended, str(missing), "folder of register maps")


GATEWAY = """
[gateway]
id = "gw-01"
group = "demo"
data = "data"
[[line]]
name = "rs485-1"
kind = "rtu"
serial = "/dev/ttyUSB0"
baud = 1200
[[line.device]]
id = "meter-1"
unit = 1
map = "electromagnetic-meter"
zone = "north"
period_s = 0.2
[[line.device.point]]
register = "flow"
point = "meter-1/flow"
[[line.device]]
id = "cabinet-1"
unit = 2
map = "cabinet-io"
zone = "north"
period_s = 60
[[line.device.point]]
register = "door_open"
point = "cabinet-1/door"
priority = "low"
"""


def test_check_prints_the_plan_and_says_what_a_line_cannot_hold(tmp_path: Path):
    path = tmp_path / "gateway.toml"
    path.write_text(GATEWAY)

    ended = mainwatch("check", path)

    assert ended.returncode == 1
    lines = ended.stdout.splitlines()
    assert lines[0] == "line rs485-1 needs 110 % of its time (1200 baud, 2 devices)"
    assert lines[1] == "  meter-1 every 0.2 s: holding 10 to 11, 220.0 ms: flow"
    assert "cabinet-1 every 60 s, low priority: holding 2 to 2" in lines[2]
    assert "name it by /dev/serial/by-id/" in lines[3]
    assert lines[4].endswith(
        "line rs485-1 needs 110 % of its time; these points cannot hold 0.2 s: meter-1/flow;"
        " these points cannot hold 60 s: cabinet-1/door"
    )


def test_check_names_line_device_and_key_of_every_mistake(tmp_path: Path):
    path = tmp_path / "gateway.toml"
    path.write_text(
        GATEWAY.replace("baud = 1200", "baud = 1201")
        .replace('priority = "low"', 'priority = "sometimes"')
        .replace("unit = 2", "unit = 300")
    )
    shape = mainwatch("check", path)
    path.write_text(GATEWAY.replace('"flow"', '"flwo"').replace("unit = 2", "unit = 1"))
    sense = mainwatch("check", path)

    key = "line rs485-1, device cabinet-1: line[0].device[1].unit"
    assert len(shape.stdout.splitlines()) == 3
    assert f"{path}: {key}: Input should be" in shape.stdout
    assert "device cabinet-1, point door_open: line[0].device[1].point[0].priority" in shape.stdout
    assert len(sense.stdout.splitlines()) == 2
    assert f"{path}: {key}: unit 1 is already used by line[0].device[0].unit" in sense.stdout


def test_mistakes_of_form_hide_no_mistakes_of_sense(tmp_path: Path):
    path = tmp_path / "gateway.toml"
    path.write_text(
        GATEWAY.replace("unit = 2", "unit = 300")
        .replace("baud = 1200", "baud = 1200\nspeed = 3")
        .replace('"flow"', '"flwo"')
        .replace('serial = "/dev/ttyUSB0"', "")
    )

    said = mainwatch("check", path).stdout

    assert len(said.splitlines()) == 4
    assert "line rs485-1: line[0].speed: unknown key" in said
    assert "line rs485-1, device cabinet-1: line[0].device[1].unit: Input should be" in said
    assert "line rs485-1: line[0].serial: required as kind is rtu" in said
    assert "line rs485-1, device meter-1: line[0].device[0].point[0].register: expected" in said


def test_the_mistakes_of_all_register_maps_are_told_at_once(tmp_path: Path):
    maps = tmp_path / "devices"
    maps.mkdir()
    for name, form in (("one", "uint17"), ("two", "uint16")):
        (maps / f"{name}.toml").write_text(
            f'model = "{name}"\ndescription = ""\n[[registers]]\nname = "p"\naddress = 0\n'
            f'form = "{form}"\nunit = "furlong"\nbit = 3\n'
        )
    path = tmp_path / "gateway.toml"
    path.write_text(GATEWAY)

    ended = mainwatch("check", path, "--devices", maps)

    assert "one.toml: register p: registers[0].form" in ended.stdout
    assert "two.toml: register 'p': unit: expected a unit" in ended.stdout
    assert "two.toml: register 'p': bit: expected 0 to 0, was 3" in ended.stdout
