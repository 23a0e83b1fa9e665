"""Do the documents tell what the code does, and does everything they point at exist?"""

import argparse
import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import get_args

import pytest

import mainwatch.cli
import telemetry.extension
from server.engine.effects import Effect
from server.engine.events import Event
from telemetry import errors
from tests.house.tree import FOLDERS, ROOT, files, read, sources

PAGES = [f for f in files() if f.endswith(".md")]
DECISIONS = sorted(f for f in files() if re.match(r"docs/decisions/\d{4}-.*\.md$", f))
HEADINGS = ["Objective", "Is / Is not", "Prior art", "Decision", "Consequences"]


def untold(names, text: str) -> list[str]:
    """Return the names that do not stand in `text` as words of their own."""
    return [n for n in names if not re.search(rf"(?<![\w/]){re.escape(n)}(?![\w/])", text)]


def dead_links(page: str, text: str) -> list[str]:
    """Return relative links, and files of ours named in backticks, that lead nowhere."""
    targets = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text)
    here = (ROOT / page).parent
    dead = [t for t in targets if not (here / t).exists()]
    named = re.findall(r"`((?:" + "|".join(FOLDERS) + r")/[\w./-]*\w/?)`", text)
    return dead + [n for n in named if not (ROOT / n).exists()]


def test_the_wire_contract_tells_every_word_that_we_add_to_sparkplug():
    words = [
        value
        for name, value in vars(telemetry.extension).items()
        if name.isupper() and isinstance(value, str) and value != telemetry.extension.PREFIX
    ]
    assert untold(["mw/ack"], "`mw/ack_epoch`") == ["mw/ack"]

    assert untold(words, read("docs/wire-contract.md")) == []


def test_every_event_effect_and_error_is_told():
    told = "\n".join(read(p) for p in PAGES if not p.startswith("docs/decisions/"))
    kinds = [t.__name__ for t in (*get_args(Event), *get_args(Effect))]
    ours = [n for n, e in vars(errors).items() if isinstance(e, type)]

    assert untold([*kinds, *ours], told) == []


def test_every_make_target_is_told_to_contributors():
    targets = re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE)
    told = read("CONTRIBUTING.md")

    assert "lint" in targets
    assert [t for t in targets if f"make {t}" not in told] == []


def subcommands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every subcommand and its parser, acts of subcommands too."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield name, below
                yield from subcommands(below)


def test_every_subcommand_is_told_and_shows_an_example():
    commands = dict(subcommands(mainwatch.cli._parser()))
    told = "\n".join(read(p) for p in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"))

    assert "demo" in commands
    assert untold(commands, told) == []
    assert [n for n, p in commands.items() if "example: mainwatch" not in (p.epilog or "")] == []


def test_every_document_that_the_code_names_exists():
    named = {
        (s.path, page) for s in sources() for page in re.findall(r"docs/[\w./-]+\.md\b", s.text)
    }

    assert ("telemetry/extension.py", "docs/wire-contract.md") in named
    assert sorted((path, page) for path, page in named if not (ROOT / page).exists()) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    assert dead_links("README.md", "[a](b.md) `gateway/none.py` `gateway/`") == [
        "b.md",
        "gateway/none.py",
    ]

    assert dead_links(page, read(page)) == []


@cache
def functions_of_tests() -> frozenset[str]:
    """Return the name of every function under `tests/`."""
    return frozenset(
        node.name
        for s in sources()
        if s.path.startswith("tests/")
        for node in ast.walk(s.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def unheld(row: str) -> list[str]:
    """Return what a row of invariants names as its holder and does not exist, or the row."""
    tests = functions_of_tests()
    contracts = re.findall(r'^name = "(.+)"$', read("pyproject.toml"), re.MULTILINE)
    holder = row.split("|")[2]
    named = re.findall(r"`(test_\w+)`|“(.+?)”", holder)
    missing = [a or b for a, b in named if a not in tests and b not in contracts]
    return missing if named else [row]


def test_every_invariant_names_what_holds_it():
    assert unheld("| All is well | `test_that_nobody_wrote` |") == ["test_that_nobody_wrote"]
    assert unheld("| All is well | everybody |") == ["| All is well | everybody |"]

    part = read("ARCHITECTURE.md").partition("## Invariants")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| .+ \|$", part, re.MULTILINE)[1:]

    assert len(rows) > 10
    assert [problem for row in rows for problem in unheld(row)] == []


def test_decisions_are_numbered_and_listed():
    index = read("docs/decisions/README.md")

    assert [int(PurePosixPath(d).name[:4]) for d in DECISIONS] == [*range(1, len(DECISIONS) + 1)], (
        "a number is given once and none is left out"
    )
    assert [d for d in DECISIONS if f"({Path(d).name})" not in index] == []


@pytest.mark.parametrize("page", DECISIONS)
def test_every_decision_has_the_same_form(page):
    assert re.findall(r"^## (.+)$", read(page), re.MULTILINE) == HEADINGS
    assert re.match(r"# \d{4} .+\n\n_(Accepted|Superseded)[^_]*_\n", read(page))
