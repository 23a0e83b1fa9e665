"""How far long work has come: a bar on a terminal, one line per step elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show one step of work; what is yielded is told how much of `total` is done.

    On a terminal a bar moves; elsewhere one line says what was done when it ends.
    """
    done = 0
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining
        from rich.table import Column

        named = TextColumn("{task.description}", table_column=Column(ratio=1, overflow="ellipsis"))
        columns = (
            named,
            BarColumn(20),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            Remaining(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(what, total=total)
            yield lambda count: bar.update(task, completed=count)
        return

    def heard(count: int) -> None:
        nonlocal done
        done = count

    yield heard
    print(f"{what}: {done} samples", file=sys.stderr, flush=True)
