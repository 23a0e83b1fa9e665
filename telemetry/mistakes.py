"""What pydantic found wrong, in our words: one sentence for each key."""

from collections.abc import Mapping

from pydantic import ValidationError

_EXPECTED = {
    "extra_forbidden": "unknown key",
    "unexpected_keyword_argument": "unknown key",
    "missing": "required key is missing",
}


def told(error: ValidationError) -> list[str]:
    """Return every mistake as `key: what was expected, what was found`."""
    lines = []
    for e in error.errors():
        key = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in e["loc"]).lstrip(".")
        if e["type"] in _EXPECTED:
            lines.append(f"{key}: {_EXPECTED[e['type']]}")
        else:
            found = "" if isinstance(e["input"], Mapping | list) else f", was {e['input']!r}"
            lines.append(f"{key}: {e['msg'].removeprefix('Value error, ')}{found}")
    return lines
