"""A gas grid from its network file, or one sentence on what is wrong with that."""

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from firmware_sim.core.gas import Gas, GasNetwork
from telemetry.errors import ConfigError
from telemetry.instant import Instant


def gas_of(network: Path, *, customers: Sequence[str], ground_c: Callable[[Instant], float]) -> Gas:
    """Return the grid that a network file describes. Raises `ConfigError`."""
    if not network.is_file():
        raise ConfigError(f"sim.network: expected a network file, found none at {network}")
    try:
        body = tomllib.loads(network.read_text(encoding="utf-8"))
        sheet = TypeAdapter(GasNetwork).validate_python(body)
    except ValidationError as e:
        told = "; ".join(
            f"{'.'.join(str(part) for part in mistake['loc'])}: {mistake['msg']}"
            for mistake in e.errors()
        )
        raise ConfigError(f"sim.network: {network}: {told}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise ConfigError(f"sim.network: {network}: {e}") from e
    if found := sheet.problems():
        raise ConfigError(f"sim.network: {network}: {'; '.join(found)}")
    return Gas(sheet, network=network.name, customers=customers, ground_c=ground_c)
