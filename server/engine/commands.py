"""People's acts: the verbs the engine knows, and the keys that make each of them happen once."""

ACKNOWLEDGE_ALARM = "acknowledge_alarm"
ACKNOWLEDGE_INCIDENT = "acknowledge_incident"
CLOSE_INCIDENT = "close_incident"
CHANGE_REGISTRY = "change_registry"
"""Says who changed the registry and why; the registry itself comes as an event of its own."""

TELL_OPERATION = "tell_operation"
"""Its subject is the id of works, of an order or of a permit; its note tells of it as JSON."""

TRAIN = "train"
"""Chooses the period that a zone, its subject, is learnt from; its note tells it as JSON."""

MARK_QUALITY = "mark_quality"
"""Says what samples of its subject, a point, are worth in hindsight; its note tells it as JSON."""

VERBS = (
    ACKNOWLEDGE_ALARM,
    ACKNOWLEDGE_INCIDENT,
    CLOSE_INCIDENT,
    CHANGE_REGISTRY,
    TELL_OPERATION,
    TRAIN,
    MARK_QUALITY,
)

KEYS_MAX = 10_000
"""Keys that are remembered; a desk repeats a command within seconds, not after so many others."""


class Keys:
    """The keys of the latest commands."""

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}

    def is_new(self, key: str) -> bool:
        """Remember a key; say whether it had not been seen."""
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > KEYS_MAX:
            del self._seen[next(iter(self._seen))]
        return True

    def to_json(self) -> list[str]:
        """Return the keys, oldest first."""
        return list(self._seen)

    @classmethod
    def from_json(cls, body: list[str]) -> "Keys":
        """Return the keys that `to_json` wrote."""
        keys = cls()
        keys._seen = dict.fromkeys(body)
        return keys
