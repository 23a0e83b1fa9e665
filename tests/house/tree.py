"""The tree that the house tests look at: every file of ours, Python files parsed once."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("telemetry", "gateway", "firmware_sim", "server", "mainwatch")
FOLDERS = (*PACKAGES, "benchmarks", "configs", "deploy", "docs", "tests")
NOT_OURS = {"__pycache__", "node_modules", "vendor", "results"}
TEXT = {".py", ".md", ".toml", ".js", ".mjs", ".css", ".html", ".json", ".inp", ".mako", ".conf"}


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the root of the repository, its text and its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    @classmethod
    def of(cls, path: str, text: str) -> "Source":
        """Parse `text` as the file at `path`; the house tests spoil samples with it."""
        return cls(path, text, ast.parse(text))

    @property
    def is_product(self) -> bool:
        """Say whether the file is part of what users install."""
        return self.path.startswith(tuple(f"{p}/" for p in PACKAGES))


@cache
def files() -> tuple[str, ...]:
    """Return the path of every file of ours, in order."""
    top = [p for p in ROOT.iterdir() if p.is_file() and not p.name.startswith(".")]
    found = [*top, *(p for folder in FOLDERS for p in _walk(ROOT / folder))]
    return tuple(sorted(p.relative_to(ROOT).as_posix() for p in found))


@cache
def sources() -> tuple[Source, ...]:
    """Return every Python file of ours, parsed."""
    return tuple(Source.of(f, read(f)) for f in files() if f.endswith(".py"))


@cache
def read(path: str) -> str:
    """Return the text of a file, by its path from the root."""
    return (ROOT / path).read_text(encoding="utf-8")


def texts() -> Iterator[tuple[str, str]]:
    """Yield path and text of every file that people write and read."""
    for path in files():
        if Path(path).suffix in TEXT or path in {"Makefile", "LICENSE"}:
            yield path, read(path)


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name in NOT_OURS or path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path
