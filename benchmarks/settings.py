"""Other numbers for one run: constants of detectors, set while it lasts.

A setting is the full name of a module's constant, such as
`server.engine.detectors.fall.RISE_SCORE`. Modules that imported it by name get it too. What was
computed from it when its module was loaded stays as it was.
"""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from telemetry.errors import ConfigError


@contextmanager
def applied(settings: Mapping[str, float]) -> Iterator[None]:
    """Run with other constants. Raises `ConfigError` naming one that does not exist."""
    before: list[tuple[str, str, float]] = []
    try:
        for setting, value in settings.items():
            module, name = where(setting)
            known = getattr(sys.modules[module], name)
            for other, loaded in list(sys.modules.items()):
                if other.startswith("server.") and getattr(loaded, name, None) == known:
                    before.append((other, name, known))
                    setattr(loaded, name, type(known)(value))
        yield
    finally:
        for other, name, known in before:
            setattr(sys.modules[other], name, known)


def where(setting: str) -> tuple[str, str]:
    """Return the module and the name of a setting. Raises `ConfigError`."""
    module, _, name = setting.rpartition(".")
    try:
        known = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise ConfigError(
            f"--thresholds: expected the name of a module's number, such as"
            f" server.engine.detectors.fall.RISE_SCORE, was {setting}"
        ) from None
    if not isinstance(known, int | float):
        raise ConfigError(f"--thresholds: expected a number, {setting} is {type(known).__name__}")
    return module, name
