"""One Chromium for all tests of a worker; each test has windows of its own in it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from tests.support.browser import Browser, Chromium


@pytest.fixture(scope="session")
def running_chromium() -> Iterator[Chromium]:
    with closing(Chromium()) as started:
        yield started


@pytest.fixture
def new_window(running_chromium: Chromium) -> Iterator[Callable[[], Browser]]:
    """Return a function that opens a window, which is closed after the test."""
    with ExitStack() as windows:
        yield lambda: windows.enter_context(closing(running_chromium.window()))


@pytest.fixture
def browser(new_window: Callable[[], Browser]) -> Browser:
    return new_window()
