"""Everything that enters the engine, and its form in the journal.

An event is a kind and a body of bytes. MQTT messages keep their bytes exactly as they came, so that
decoding is replayed too; everything else is canonical JSON.
"""

import json
from dataclasses import dataclass
from typing import Any

from server.engine.registry import Registry
from telemetry.instant import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The server started; `version` and `settings` are part of the record."""

    at: Instant
    version: str
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """The server's own connection to the broker came up or went down."""

    at: Instant
    up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """One MQTT message, undecoded."""

    at: Instant
    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A second has passed. Bins close and silence is noticed on ticks, never on timers."""

    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Commanded:
    """A person's act, delivered once by its `key`: `verb` on `subject`, by `actor`, with `note`."""

    at: Instant
    key: str
    actor: str
    verb: str
    subject: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryChanged:
    """The registry, whole, as it is from now on."""

    at: Instant
    registry: Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A block of past samples of one source, in time order: for baselines, never for alarms.

    `rows` are (point, at, value, quality) with house units.
    """

    at: Instant
    source: str
    rows: tuple[tuple[str, int, float | None, int], ...]


Event = Started | Linked | Arrived | Tick | Commanded | RegistryChanged | Imported


def to_record(event: Event) -> tuple[str, bytes]:
    """Return the kind and the body of an event; its instant is kept beside them."""
    match event:
        case Arrived():
            return "arrived", event.topic.encode() + b"\0" + event.payload
        case Tick():
            return "tick", b""
        case Started():
            return "started", _json({"version": event.version, "settings": event.settings})
        case Linked():
            return "linked", _json({"up": event.up})
        case Commanded():
            return "commanded", _json(
                {
                    "key": event.key,
                    "actor": event.actor,
                    "verb": event.verb,
                    "subject": event.subject,
                    "note": event.note,
                }
            )
        case RegistryChanged():
            return "registry_changed", _json(event.registry.to_json())
        case Imported():
            return "imported", _json({"source": event.source, "rows": event.rows})


def from_record(kind: str, at: Instant, body: bytes) -> Event:
    """Return the event that `to_record` wrote. Raises `ValueError` on an unknown kind."""
    match kind:
        case "arrived":
            topic, _, payload = body.partition(b"\0")
            return Arrived(at=at, topic=topic.decode(), payload=payload)
        case "tick":
            return Tick(at=at)
        case "started":
            return Started(at=at, **json.loads(body))
        case "linked":
            return Linked(at=at, **json.loads(body))
        case "commanded":
            return Commanded(at=at, **json.loads(body))
        case "registry_changed":
            return RegistryChanged(at=at, registry=Registry.from_json(json.loads(body)))
        case "imported":
            fields = json.loads(body)
            rows = tuple((p, t, v, q) for p, t, v, q in fields["rows"])
            return Imported(at=at, source=fields["source"], rows=rows)
        case _:
            raise ValueError(f"expected a kind of event that this version knows, was {kind!r}")


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
