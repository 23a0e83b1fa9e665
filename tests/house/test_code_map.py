"""Is the map of files in ARCHITECTURE.md the tree as it is?

The purpose of a file is the first line of its docstring; `pytest tests/house --update-golden`
draws the map anew.
"""

import ast
from collections.abc import Iterable
from pathlib import PurePosixPath

from tests.house.tree import PACKAGES, ROOT, Source, read, sources

PAGE = "ARCHITECTURE.md"
BEGIN = "<!-- map of files: drawn by `pytest tests/house --update-golden`, not by hand -->\n"
END = "<!-- end of the map -->\n"


def code_map(found: Iterable[Source]) -> str:
    """Return the map: a folder's purpose, then its files, then its folders."""
    purposes = {PurePosixPath(s.path): purpose(s) for s in found}
    rows = [
        r for package in PACKAGES for r in [("", ""), *rows_of(PurePosixPath(package), purposes)]
    ]
    width = max(len(name) for name, _ in rows) + 1
    lines = [f"{name:<{width}} {says}".rstrip() for name, says in rows[1:]]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def rows_of(folder: PurePosixPath, purposes: dict[PurePosixPath, str]) -> list[tuple[str, str]]:
    inside = [p for p in purposes if folder in p.parents]
    here = [p for p in inside if p.parent == folder and p.name != "__init__.py"]
    below = {folder / p.parts[len(folder.parts)] for p in inside if p.parent != folder}
    rows = [(indent(folder) + folder.name + "/", purposes.get(folder / "__init__.py", ""))]
    rows += [(indent(p) + p.name, purposes[p]) for p in sorted(here)]
    for deeper in sorted(below):
        rows += rows_of(deeper, purposes)
    return rows


def indent(path: PurePosixPath) -> str:
    return "  " * (len(path.parts) - 1)


def purpose(source: Source) -> str:
    return (ast.get_docstring(source.tree) or "").split("\n")[0]


def test_the_map_is_drawn_from_the_first_lines():
    sample = [
        Source.of("gateway/__init__.py", '"""The edge node."""'),
        Source.of("gateway/core/pulse.py", '"""Counter totals to volume.\n\nAnd more."""'),
        Source.of("gateway/outbox.py", '"""Store and forward."""'),
    ]

    drawn = code_map(sample)

    assert (
        "gateway/       The edge node.\n"
        "  outbox.py    Store and forward.\n"
        "  core/\n"
        "    pulse.py   Counter totals to volume.\n" in drawn
    )


def test_the_map_of_files_is_true(request):
    before, _, rest = read(PAGE).partition(BEGIN)
    drawn, _, after = rest.partition(END)
    expected = code_map(s for s in sources() if s.is_product)
    if request.config.getoption("--update-golden", default=False):
        (ROOT / PAGE).write_text(before + BEGIN + expected + END + after, encoding="utf-8")
        return

    assert drawn == expected, "draw it anew: pytest tests/house --update-golden"
