"""Everything that enters the engine, and its form in the journal.

An event is a kind and a body of bytes. MQTT messages keep their bytes exactly as they came, so that
decoding is replayed too; everything else is canonical JSON.
"""

import hashlib
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPublished:
    """A trainer outside the fold learnt from `window` (from, to) what is normal in a zone.

    The engine applies what was published and learns nothing itself. `artefact` is plain values and
    the trainer's own business; `hash` is that of its canonical JSON (`hash_of`).
    """

    at: Instant
    zone: str
    window: tuple[Instant, Instant]
    artefact: dict[str, Any]
    hash: str


Event = Started | Linked | Arrived | Tick | Commanded | RegistryChanged | Imported | ModelPublished


def hash_of(artefact: dict[str, Any]) -> str:
    """Return the SHA-256 of an artefact's canonical JSON, in hexadecimal."""
    return hashlib.sha256(_json(artefact)).hexdigest()


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
        case ModelPublished():
            return "model_published", _json(
                {
                    "zone": event.zone,
                    "window": event.window,
                    "artefact": event.artefact,
                    "hash": event.hash,
                }
            )


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
        case "model_published":
            return _model_published(at, json.loads(body))
        case _:
            raise ValueError(f"expected a kind of event that this version knows, was {kind!r}")


def _model_published(at: Instant, fields: dict[str, Any]) -> ModelPublished:
    start, end = fields.pop("window")
    event = ModelPublished(at=at, window=(Instant(start), Instant(end)), **fields)
    if event.hash != hash_of(event.artefact):
        raise ValueError(
            f"model of zone {event.zone}: expected an artefact with the hash {event.hash},"
            f" found {hash_of(event.artefact)}"
        )
    return event


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
