"""Which tests hold which requirement, gathered from the marks of what was really run.

`pytest --requirements` writes docs/requirements.md at the end of the run; a row whose test did not
pass, or that no test holds, says so there.
"""

import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/requirements.md"
HEAD = """# Requirements

What the utilities' own texts ask, and the tests that hold it. Drawn from the marks of tests that
were run (`pytest --requirements`), not by hand.

| Row | Requirement | Tests | Passed |
|---|---|---|---|
"""


def rows() -> dict[str, str]:
    """Return every requirement by its row."""
    return tomllib.loads((ROOT / "tests/requirements.toml").read_text(encoding="utf-8"))


class Gathered:
    """Counts tests and passes by requirement, over all processes of a run."""

    def __init__(self) -> None:
        self._tests: dict[str, set[str]] = defaultdict(set)
        self._failed: dict[str, set[str]] = defaultdict(set)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid.partition("[")[0]
        for name, row in report.user_properties:
            if name == "requirement" and (report.when == "call" or not report.passed):
                self._tests[str(row)].add(test)
                if not report.passed:
                    self._failed[str(row)].add(test)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not hasattr(session.config, "workerinput"):
            PAGE.write_text(self.page(), encoding="utf-8")

    def page(self) -> str:
        """Return docs/requirements.md."""
        lines = [
            f"| {row} | {text} | {len(self._tests[row])} |"
            f" {len(self._tests[row] - self._failed[row])} |\n"
            for row, text in rows().items()
        ]
        return HEAD + "".join(lines)


def mark(items: list[pytest.Item]) -> None:
    """Let the reports of tests carry the rows that they hold."""
    known = rows()
    for item in items:
        for marker in item.iter_markers("requirement"):
            for row in marker.args:
                if row not in known:
                    raise pytest.UsageError(f"{item.nodeid}: no row {row} in requirements.toml")
                item.user_properties.append(("requirement", row))
