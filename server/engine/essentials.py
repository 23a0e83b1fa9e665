"""What outlives a change of code: the engine's knowledge of the field, as plain values.

A pickle is understood by the code that wrote it and by no other. The registry, what was taken in
from each gateway, its births, who reports which point, the published models, the periods chosen to
learn from, known operations, the latest commands and the numbers given so far are therefore kept
beside it in a form of their own, with a version. What the detectors have
learnt is not in it: they learn it again from the journal.
"""

import json
from typing import TYPE_CHECKING, Any

from server.engine.commands import Keys
from server.engine.events import RegistryChanged
from server.engine.hosts import Hosts
from server.engine.registry import Registry
from telemetry.instant import Instant

if TYPE_CHECKING:
    from server.engine.engine import Engine

VERSION = 1

NUMBERED = "numbered"
"""The setting in which `Started` says how many alarms and incidents have been recorded."""


def write(engine: "Engine") -> bytes:
    """Return the essentials of an engine as JSON; the order of what is in it is kept."""
    body = {
        "version": VERSION,
        "registry": engine.registry.to_json(),
        "models": engine.models,
        "clean": engine.training.to_json(),
        "hosts": engine._hosts.to_json(),  # noqa: SLF001  the one other file that knows its insides
        "keys": engine._keys.to_json(),  # noqa: SLF001  as above
        "operations": engine._detectors.operations.to_json(),  # noqa: SLF001  as above
        NUMBERED: list(_numbered(engine)),
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def read(text: bytes, engine: "Engine", *, at: Instant) -> None:
    """Give a new engine what `write` wrote at that time. Raises `ValueError` on another version."""
    engine.registry, engine._hosts = field_of(text)  # noqa: SLF001  the same insides
    body: dict[str, Any] = json.loads(text)
    engine.models = body["models"]
    engine.training.adopt(body.get("clean", {}))  # none in those of older code
    engine._keys = Keys.from_json(body["keys"])  # noqa: SLF001  as above
    known = RegistryChanged(at=at, registry=engine.registry)
    engine._detectors.apply(known, [])  # noqa: SLF001  as above
    engine._explaining.apply(known, [])  # noqa: SLF001  as above
    for stage in (engine._detectors, engine._explaining):  # noqa: SLF001  as above
        stage.operations.adopt(body.get("operations", []))  # none in those of older code
    number_on(engine, {NUMBERED: body[NUMBERED]})


def field_of(text: bytes) -> tuple[Registry, Hosts]:
    """Return the registry and the first stage alone. Raises `ValueError` on another version."""
    body: dict[str, Any] = json.loads(text)
    if body["version"] != VERSION:
        raise ValueError(f"expected version {VERSION} of the essentials, found {body['version']}")
    registry = Registry.from_json(body["registry"])
    return registry, Hosts.from_json(body["hosts"], registry)


def number_on(engine: "Engine", settings: dict[str, Any]) -> None:
    """Give no number again that `settings` know of: other code may have given more of them."""
    alarms, incidents = settings.get(NUMBERED, (0, 0))
    raised, opened = _numbered(engine)
    engine._alarms._raised = max(raised, alarms)  # noqa: SLF001  as above
    engine._incidents._opened = max(opened, incidents)  # noqa: SLF001  as above


def _numbered(engine: "Engine") -> tuple[int, int]:
    return engine._alarms._raised, engine._incidents._opened  # noqa: SLF001  as above
