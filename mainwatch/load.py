"""A TOML file to a frozen model, or every mistake in it by file and key."""

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from telemetry.errors import ConfigError
from telemetry.mistakes import told
from telemetry.register_map import RegisterMap

Model = TypeVar("Model", bound=BaseModel)


def configs_folder() -> Path:
    """Return the folder of the files that ship with Mainwatch, installed or in a checkout."""
    installed = Path(__file__).parent / "configs"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "configs"


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file says. Raises `ConfigError` when it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: expected a file, found none") from None
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}") from e
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{path}: not TOML: {e}") from e


def load(path: Path, model: type[Model], overrides: Sequence[str] = ()) -> Model:
    """Return the model that a file describes, with `key.path=value` overrides applied first.

    Raises `ConfigError` naming the file and every key that is wrong.
    """
    body = read_toml(path)
    for override in overrides:
        _override(body, override)
    try:
        return model.model_validate(body)
    except ValidationError as e:
        raise ConfigError("; ".join(f"{path}: {line}" for line in told(e, body))) from None


def load_register_maps(folder: Path) -> dict[str, RegisterMap]:
    """Return every register map of a folder by its file's name without `.toml`."""
    try:
        paths = sorted(p for p in folder.iterdir() if p.suffix == ".toml")
    except OSError as e:
        raise ConfigError(
            f"{folder}: expected a folder of register maps, found none that can be read:"
            f" {e.strerror}"
        ) from e
    found: dict[str, RegisterMap] = {}
    mistakes = []
    for path in paths:
        try:
            found[path.stem] = load_register_map(path)
        except ConfigError as e:
            mistakes.append(str(e))
    if mistakes:
        raise ConfigError("; ".join(mistakes))
    return found


_REGISTER_MAP = TypeAdapter(RegisterMap)
"""Made once: it takes longer than to read a dozen maps."""


def load_register_map(path: Path) -> RegisterMap:
    """Return the register map in a file. Raises `ConfigError` with every mistake."""
    body = read_toml(path)
    try:
        found = _REGISTER_MAP.validate_python(body)
    except ValidationError as e:
        raise ConfigError("; ".join(f"{path}: {line}" for line in told(e, body))) from None
    refuse(path, found.problems())
    return found


def rule_book(config: Any) -> Any:
    """Return the rule book that a server's configuration names, fit for live use.

    Raises `ConfigError` for what is wrong in it and for what the utility must still decide.
    """
    return _rule_book(config.rules, live=True)


def seeded_registry(config: Any) -> Any:
    """Return the registry that a server's file seeds, with what its policy promises.

    Raises `ConfigError` for what is wrong in the policy.
    """
    return config.registry().promised(_rule_book(config.rules, live=False).promises)


def _rule_book(rules: Any, *, live: bool) -> Any:
    from server.servicecore.rulebook import load_rule_book

    return load_rule_book(configs_folder(), rules.policy, live=live, own=rules.folder)


SHIPPED_CALENDARS = ("cn", "it")


def load_trainer(calendars: Iterable[str], own: Path | None = None) -> Any:
    """Return a trainer that knows some working calendars; "none" is one without days off.

    `own` is a utility's folder with calendars/ of its own, laid over those that ship. Raises
    `ConfigError` for a calendar of which there is no year.
    """
    from server.learning.day_kinds import Calendar
    from server.learning.trainer import Trainer
    from server.servicecore.rulebook import load_calendar

    folders = [f / "calendars" for f in (configs_folder(), own) if f is not None]
    known = {}
    for name in sorted({*calendars} - {"none"}):
        years = load_calendar(folders, name, hours=()).years.values()
        known[name] = Calendar(
            off=frozenset(day for year in years for day in year.off),
            worked=frozenset(day for year in years for day in year.worked),
        )
    return Trainer(known)


def refuse(path: Path, problems: Sequence[str]) -> None:
    """Raise `ConfigError` with the file's name before each problem, if there is any."""
    if problems:
        raise ConfigError("; ".join(f"{path}: {problem}" for problem in problems))


def _override(body: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override}: expected KEY.PATH=VALUE")
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = path.split(".")
    at: Any = body
    try:
        for name in parents:
            at = at[int(name)] if isinstance(at, list) else at.setdefault(name, {})
        at[int(last) if isinstance(at, list) else last] = value
    except (AttributeError, IndexError, TypeError, ValueError):
        raise ConfigError(f"--set {override}: {path} leads nowhere in the file") from None
