"""The hash chain of the audit trail: each entry holds the hash of the one before it.

It makes a change evident to anyone who keeps the last hash elsewhere; it cannot prevent one.
"""

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256

GENESIS = "0" * 64
"""What the first entry names as the hash before it."""


def link(previous: str, body: Mapping[str, object]) -> str:
    """Return the hash of an entry: over the hash before it and its own canonical JSON."""
    text = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return sha256((previous + text).encode()).hexdigest()


def first_break(entries: Iterable[tuple[Mapping[str, object], str, str]]) -> int | None:
    """Return the place of the first (body, previous, hash) that breaks the chain, or None."""
    expected = GENESIS
    for place, (body, previous, found) in enumerate(entries):
        if previous != expected or link(previous, body) != found:
            return place
        expected = found
    return None
