"""The demo's own files, and water to play with."""

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from firmware_sim.config import SimConfig
from firmware_sim.hydraulics import Hydraulics
from telemetry.register_map import RegisterMap

CONFIGS = Path(__file__).parents[3] / "configs"
NETWORK = CONFIGS / "demo" / "network.inp"


@pytest.fixture
def body() -> dict[str, Any]:
    """Return what the demo's sim.toml says, to be spoilt by a test."""
    return tomllib.loads((CONFIGS / "demo" / "sim.toml").read_text(encoding="utf-8"))


@pytest.fixture
def maps() -> dict[str, RegisterMap]:
    adapter = TypeAdapter(RegisterMap)
    return {
        path.stem: adapter.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
        for path in sorted((CONFIGS / "devices").glob("*.toml"))
    }


@pytest.fixture
def make_config(body: dict[str, Any], tmp_path: Path) -> Callable[..., SimConfig]:
    """Return a function that makes the demo's configuration on ports of the machine's choice."""

    def make(**sections: dict[str, Any]) -> SimConfig:
        body["control"]["port"] = 0
        for converter in body["converter"]:
            converter["port"] = 0
        body["history"] |= {"days": 0, "out": str(tmp_path / "history")}
        for name, values in sections.items():
            body[name] = body.get(name, {}) | values
        return SimConfig.model_validate(body).located_in(NETWORK.parent)

    return make


@pytest.fixture
def water() -> Iterator[Hydraulics]:
    found = Hydraulics(NETWORK, pumps=("PU-1",), customers=("J-NORTH-028",))
    yield found
    found.close()
