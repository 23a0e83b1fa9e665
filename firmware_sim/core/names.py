"""Names that people type: found, or refused in one sentence with the nearest that exist."""

from collections.abc import Iterable
from difflib import get_close_matches


def known(name: str, names: Iterable[str], *, what: str) -> str:
    """Return `name` if it is one of `names`. Raises `ValueError` with near names.

    >>> known("P-17", ["P-017", "P-018"], what="a pipe")
    Traceback (most recent call last):
    ValueError: expected a pipe, was 'P-17' (near names: P-017, P-018)
    """
    found = list(names)
    if name in found:
        return name
    folded = {n.upper(): n for n in found}
    near = [folded[n] for n in get_close_matches(name.upper(), folded, n=3)]
    hint = f"near names: {', '.join(near)}"
    if not near:
        hint = f"there are: {', '.join(found[:3]) or 'none'}{' and more' * (len(found) > 3)}"
    raise ValueError(f"expected {what}, was {name!r} ({hint})")
