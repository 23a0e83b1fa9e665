"""Does the gateway install on a Pi without a compiler? `python deploy/check_wheels.py [--json]`.

Asks pip to resolve what the extras `gateway` and `gpio` require for Raspberry Pi OS on 64-bit ARM,
wheels only, installing nothing. Exit 0: every package has one; 1: one has not; 2: pip is missing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
EXTRAS = ("gateway", "gpio")

GLIBC_MINORS = range(17, 37)
"""Bookworm has glibc 2.36; wheels for anything from 2.17 on run there."""

PLATFORMS = ["manylinux2014_aarch64", *(f"manylinux_2_{n}_aarch64" for n in GLIBC_MINORS)]
PYTHONS = ("3.11", "3.13")
"""Of Raspberry Pi OS bookworm and trixie."""


def main() -> int:
    """Ask for each Python and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--python", action="append", help="a version such as 3.11")
    options = parser.parse_args()
    found = {python: resolve(python) for python in options.python or PYTHONS}
    if options.json:
        print(json.dumps(found))
    else:
        for python, said in found.items():
            print(f"Python {python}: {said['error'] or 'every package has a wheel'}")
            for name in said["wheels"]:
                print(f"  {name}")
    errors = [str(said["error"]) for said in found.values() if said["error"]]
    if any("No module named pip" in error for error in errors):
        return 2
    return 1 if errors else 0


def requirements() -> list[str]:
    """Return what the gateway's extras require, and what everything does."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    asked = list(project["dependencies"])
    for extra in EXTRAS:
        asked += project["optional-dependencies"][extra]
    return asked


def resolve(python: str) -> dict[str, str | list[str]]:
    """Return the wheels that pip would take for one Python, or its error."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--only-binary", ":all:", "--python-version", python]
        command += ["--implementation", "cp", "--report", str(report), "--target", folder]
        for platform in PLATFORMS:
            command += ["--platform", platform]
        ended = subprocess.run(
            [*command, *requirements()], capture_output=True, text=True, check=False
        )
        if ended.returncode:
            lines = ended.stderr.strip().splitlines() or ["pip said nothing"]
            return {"error": lines[-1], "wheels": []}
        taken = json.loads(report.read_text(encoding="utf-8"))["install"]
        urls = [one["download_info"]["url"] for one in taken]
    return {"error": "", "wheels": sorted(url.rpartition("/")[2] for url in urls)}


if __name__ == "__main__":
    sys.exit(main())
