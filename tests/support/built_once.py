"""What every application builds at its start, built once: tests of pages begin hundreds of them.

A route's parameters get a validator each, and a page's template is compiled when it is first shown.
Both depend on nothing that a test changes, and take longer than most tests.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import jinja2
import pytest
from jinja2.bccache import Bucket

from server.web import render


class _Compiled(jinja2.BytecodeCache):
    """Templates as bytecode; the key and the checksum tell a template and its source."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if held := self._held.get((bucket.key, bucket.checksum)):
            bucket.bytecode_from_string(held)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._held[bucket.key, bucket.checksum] = bucket.bytecode_to_string()


def _once(make: Any) -> Any:
    """Return pydantic's `TypeAdapter` so that equal types have one."""
    made: dict[tuple[Any, str, str], tuple[Any, Any]] = {}

    def adapter(kind: Any, *, config: Any = None) -> Any:
        if not hasattr(kind, "__metadata__"):
            return make(kind, config=config)
        key = kind.__origin__, repr(kind.__metadata__), repr(config)
        if key not in made:
            made[key] = kind, make(kind, config=config)  # what a key names stays alive with it
        return made[key][1]

    return adapter


@contextmanager
def built_once() -> Iterator[None]:
    """Let applications share validators and compiled templates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            render, "Environment", partial(jinja2.Environment, bytecode_cache=_Compiled())
        )
        with suppress(ImportError):  # FastAPI's own matter: without it tests only take longer
            from fastapi._compat import v2

            if hasattr(v2, "TypeAdapter"):
                patch.setattr(v2, "TypeAdapter", _once(v2.TypeAdapter))
        yield
