"""What a Pi is installed with: a hardened unit, a right example, steps that can be repeated."""

import configparser
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mainwatch.check import findings
from mainwatch.load import configs_folder

DEPLOY = Path(__file__).parents[3] / "deploy"
UNIT = DEPLOY / "mainwatch-gateway.service"
EXPOSURE_MAX = 2.5


def unit() -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(section, {}).setdefault(key, []).append(value)
    return found


def test_the_unit_waits_for_our_word_and_watches_our_progress():
    service = unit()["Service"]
    assert service["Type"] == ["notify"]
    assert 0 < int(service["WatchdogSec"][0]) <= 60
    assert service["Restart"] == ["always"]
    (start,) = service["ExecStart"]
    assert "mainwatch gateway --config /etc/mainwatch/gateway.toml" in start
    assert "--notify /run/systemd/notify" in start


def test_the_unit_is_hardened():
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    asked = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--json=short"]
    ended = subprocess.run([*asked, str(UNIT)], capture_output=True, text=True, check=False)
    if not ended.stdout:
        pytest.skip(f"systemd-analyze cannot judge a file here: {ended.stderr.strip()}")
    table = subprocess.run(
        [*asked[:-1], str(UNIT)], capture_output=True, text=True, check=False
    ).stdout
    (overall,) = [line for line in table.splitlines() if "Overall exposure level" in line]
    assert float(overall.split(":")[1].split()[0]) <= EXPOSURE_MAX
    assert json.loads(ended.stdout)


def test_the_sandbox_leaves_the_gateway_what_it_needs():
    service = unit()["Service"]
    assert service["ProtectClock"] == ["no"]  # it would forbid to ask whether the clock is right
    assert any("adjtimex" in one for one in service["SystemCallFilter"])
    assert {"AF_UNIX", "AF_INET", "AF_INET6"} == set(service["RestrictAddressFamilies"][0].split())
    devices = {one.split()[0] for one in service["DeviceAllow"]}
    assert {"char-ttyUSB", "char-ttyAMA", "char-gpiochip"} <= devices
    assert {"dialout", "gpio"} == set(service["SupplementaryGroups"][0].split())


def test_the_example_is_right():
    assert findings(DEPLOY / "gateway.toml", configs_folder() / "devices") == []


def test_the_journal_stays_in_memory():
    told = configparser.ConfigParser()
    told.read(DEPLOY / "journald-mainwatch.conf")
    assert told["Journal"]["Storage"] == "volatile"


def install(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(DEPLOY / "install.sh"), *arguments],
        env={"MAINWATCH_ROOT": str(root), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def installed(root: Path, name: str) -> str:
    """Put an environment where the installer would make it, so that nothing is downloaded."""
    program = root / "opt/mainwatch" / name / "bin/mainwatch"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho {name}\n")
    program.chmod(0o755)
    wheel = root / f"{name}.whl"
    wheel.touch()
    return str(wheel)


def running(root: Path) -> str:
    return subprocess.run(
        [str(root / "opt/mainwatch/bin/mainwatch")], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_an_upgrade_can_be_taken_back_and_keeps_what_the_fitter_wrote(tmp_path):
    old, new = installed(tmp_path, "mainwatch-1"), installed(tmp_path, "mainwatch-2")
    assert install(tmp_path, old).returncode == 0
    written = tmp_path / "etc/mainwatch/gateway.toml"
    written.write_text("# mine")
    assert running(tmp_path) == "mainwatch-1"
    assert install(tmp_path, new).returncode == 0
    assert install(tmp_path, new).returncode == 0
    assert running(tmp_path) == "mainwatch-2"
    assert install(tmp_path, "--back").returncode == 0
    assert running(tmp_path) == "mainwatch-1"
    assert written.read_text() == "# mine"
    assert (tmp_path / "etc/systemd/system/mainwatch-gateway.service").exists()


def test_a_wheel_that_is_not_there_is_refused(tmp_path):
    ended = install(tmp_path, str(tmp_path / "none.whl"))
    assert (ended.returncode, "expected a wheel" in ended.stderr) == (2, True)


def test_the_check_of_wheels_asks_for_what_the_extras_require():
    command = [sys.executable, str(DEPLOY / "check_wheels.py"), "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "64-bit" in ended.stdout
