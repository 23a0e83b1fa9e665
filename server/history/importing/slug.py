"""Ids for what others have named: the name itself where our ids may be so, else the nearest."""

import re


def slug(name: str, *, longest: int = 64) -> str:
    """Return a name as one part of an id.

    >>> slug("J 12.5"), slug("n1")
    ('J-12-5', 'n1')
    """
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:longest] or "x"
