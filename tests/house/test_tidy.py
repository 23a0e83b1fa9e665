"""Is every file small, named after what it is, and does it say what it is for?"""

import ast
import io
import re
import tokenize
from collections.abc import Iterable
from pathlib import Path

from tests.house.tree import Source, files, read, sources

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70

FORBIDDEN = {
    *("util", "utils", "helper", "helpers", "common", "misc", "base", "manager", "service"),
    *("services", "handler", "handlers", "processor", "factory", "abstract", "impl"),
}
"""Words that say nothing about what a thing is."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
SILENCED = re.compile(r"#\s*(noqa|type:\s*ignore)(:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*|\[[\w, -]+\])?")


def without_purpose(found: Iterable[Source]) -> list[str]:
    return [s.path for s in found if not ast.get_docstring(s.tree)]


def too_long_functions(found: Iterable[Source]) -> list[str]:
    return [
        f"{s.path}:{f.lineno}: {f.name} has {lines(f)} lines"
        for s in found
        for f in ast.walk(s.tree)
        if isinstance(f, Function) and lines(f) > FUNCTION_LINES_MAX
    ]


def lines(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def empty_words(name: str) -> set[str]:
    """Return the forbidden words in a file's, folder's or class's name."""
    return {w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)} & FORBIDDEN


def badly_named_classes(found: Iterable[Source]) -> list[str]:
    return [
        f"{s.path}:{c.lineno}: class {c.name}"
        for s in found
        for c in ast.walk(s.tree)
        if isinstance(c, ast.ClassDef) and empty_words(c.name)
    ]


def silenced_without_reason(found: Iterable[Source]) -> list[str]:
    """Return comments that silence a checker and do not say why, there or on the line above."""
    bare = []
    for s in found:
        excused = -1
        for token in tokenize.generate_tokens(io.StringIO(s.text).readline):
            match = SILENCED.search(token.string) if token.type == tokenize.COMMENT else None
            if match is None:
                continue
            line = token.start[0]
            if len(token.string[match.end() :].split()) >= 2 or excused == line - 1:
                excused = line
            else:
                bare.append(f"{s.path}:{line}: {token.string}")
    return bare


def test_every_python_file_says_what_it_is_for():
    assert without_purpose([Source.of("a.py", "x = 1")]) == ["a.py"]

    assert without_purpose(sources()) == []


def test_no_file_is_longer_than_500_lines():
    long = [
        f"{f} has {count} lines"
        for f in files()
        if f.endswith((".py", ".js"))
        if (count := len(read(f).splitlines())) > FILE_LINES_MAX
    ]

    assert long == []


def test_no_function_is_longer_than_70_lines():
    spoilt = "def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX
    assert too_long_functions([Source.of("a.py", spoilt)]) == ["a.py:1: f has 71 lines"]

    assert too_long_functions(sources()) == []


def test_files_and_folders_are_named_after_what_they_are():
    assert empty_words("mqtt_utils") == {"utils"}
    assert empty_words("servicecore") == set()

    bad = [f for f in files() if any(empty_words(Path(part).stem) for part in Path(f).parts)]

    assert bad == []


def test_classes_are_named_after_what_they_are():
    spoilt = "class AbstractPollManager: ..."
    assert badly_named_classes([Source.of("a.py", spoilt)]) == ["a.py:1: class AbstractPollManager"]

    assert badly_named_classes(sources()) == []


def test_a_silenced_checker_comes_with_a_reason():
    bare = "x = 1  # no" + "qa: E501"
    assert silenced_without_reason([Source.of("a.py", bare)]) == ["a.py:1: # no" + "qa: E501"]
    assert silenced_without_reason([Source.of("a.py", bare + "  a table of the standard")]) == []

    assert silenced_without_reason(sources()) == []
