"""Which tests one worker runs, so that what is dear is made once (`pytest --dist loadgroup`)."""

from collections.abc import Iterable

import pytest

TREE = "tests/house/"
"""These tests parse the whole tree, which takes longer than any of them."""


def mark(items: Iterable[pytest.Item]) -> None:
    """Give a group to tests that share what is made for a module, unless they say their own."""
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("xdist_group") is None:
            file = item.nodeid.partition("::")[0]
            if file.startswith(TREE):
                item.add_marker(pytest.mark.xdist_group(TREE))
            elif _shares(item):
                item.add_marker(pytest.mark.xdist_group(file))


def _shares(item: pytest.Function) -> bool:
    found = item._fixtureinfo.name2fixturedefs
    return any(found[name][-1].scope == "module" for name in item.fixturenames if name in found)
