"""Does everybody import only whom they may, and would the contracts notice if not?"""

import subprocess
import sys
from pathlib import Path

from tests.house.tree import ROOT, sources

BROKEN = {
    "gateway/core/decode.py": "import time\n",
    "gateway/modbus.py": "import numpy\n",
    "firmware_sim/app.py": "import gateway.app\n",
    "server/newcomer.py": "",
}
"""A core that can read the clock, a heavy Pi, a program that knows another, an unplaced file."""


def lint_imports(folder: Path) -> tuple[int, str]:
    code = (
        "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, '.'); {code}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_everybody_imports_only_whom_they_may():
    code, said = lint_imports(ROOT)

    assert code == 0, said


def test_the_contracts_notice_a_breach(tmp_path):
    for source in sources():
        if source.is_product:
            (tmp_path / source.path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / source.path).write_text(BROKEN.get(source.path, ""), encoding="utf-8")
    (tmp_path / "server/newcomer.py").touch()
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())

    code, said = lint_imports(tmp_path)

    assert code == 1, said
    for contract in (
        "The command over three strangers over what both ends agree on BROKEN",
        "Server: wiring over pages over desk and door over history over the engine BROKEN",
        "Cores are pure BROKEN",
        "What runs on the Pi does without numpy BROKEN",
    ):
        assert contract in said
