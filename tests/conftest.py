"""What every test may ask for: golden files, and the switch that rewrites them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import groups, requirements

collect_ignore = ["contract/sparkplug_peer.py"]  # runs in an environment of its own


settings.register_profile("house", deadline=None)  # how long things take is for benchmarks
settings.load_profile("house")


ID_LENGTH_MAX = 200
"""Of a value in a test's id, which is in the environment of every program that the test starts."""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long value by its length; leave others to pytest."""
    if isinstance(val, str | bytes) and len(val) > ID_LENGTH_MAX:
        return f"{argname} of {len(val)}"
    return None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite golden files; review them like code"
    )
    there = parser.getgroup("influx", "a real InfluxDB 2 or 3 to be written to (docs/influxdb.md)")
    there.addoption("--influx-url", metavar="URL")
    there.addoption("--influx-org", metavar="ORG", default="")
    there.addoption("--influx-bucket", metavar="BUCKET", help="takes test lines: use one to spare")
    there.addoption("--influx-token-file", metavar="FILE")
    parser.addoption(
        "--requirements", action="store_true", help="write docs/requirements.md from this run"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--requirements"):
        config.pluginmanager.register(requirements.Gathered())


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    requirements.mark(items)
    groups.mark(items)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Return a function that compares a text with a golden file, or rewrites the file."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text, f"{path.name} differs: --update-golden?"

    return compare
