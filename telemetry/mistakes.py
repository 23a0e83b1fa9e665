"""What pydantic found wrong, in our words: one sentence for each key."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

_EXPECTED = {
    "extra_forbidden": "unknown key",
    "unexpected_keyword_argument": "unknown key",
    "missing": "required key is missing",
}


def told(error: ValidationError, body: Any = None) -> list[str]:
    """Return every mistake as `key: what was expected, what was found`.

    With the `body` that was read, what the tables on the way call themselves comes first.
    """
    lines = []
    for e in error.errors():
        key = _names(e["loc"], body) + "".join(
            f"[{p}]" if isinstance(p, int) else f".{p}" for p in e["loc"]
        ).lstrip(".")
        if e["type"] in _EXPECTED:
            lines.append(f"{key}: {_EXPECTED[e['type']]}")
        else:
            found = "" if isinstance(e["input"], Mapping | list) else f", was {e['input']!r}"
            lines.append(f"{key}: {e['msg'].removeprefix('Value error, ')}{found}")
    return lines


def _names(place: Sequence[int | str], body: Any) -> str:
    """Return what the tables on the way to a key call themselves: people know names, not counts."""
    found = []
    at, what = body, ""
    for step in place:
        try:
            at = at[step]
        except (KeyError, IndexError, TypeError):
            break
        if isinstance(step, int) and isinstance(at, Mapping):
            name = next(
                (at[k] for k in ("name", "id", "register") if isinstance(at.get(k), str)), ""
            )
            found += [f"{what} {name}"] if name else []
        else:
            what = str(step).removesuffix("s") if isinstance(at, list) else ""
    return f"{', '.join(found)}: " if found else ""
