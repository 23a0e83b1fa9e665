"""Passwords that are hashed in a moment: what makes guessing dear makes tests slow."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from argon2 import PasswordHasher

from server.servicecore import people


@contextmanager
def hashed_quickly() -> Iterator[None]:
    """Let passwords be hashed by the product's function at its least cost."""
    with pytest.MonkeyPatch.context() as patch:
        quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        patch.setattr(people, "_hasher", quick)
        yield
