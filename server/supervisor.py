"""Child processes under one roof: started in order, restarted when they fall, ended together.

A child says that it serves by one JSON line on its standard output. Children get a session of
their own, so that Ctrl-C reaches their parent alone; the kernel ends them should it be killed.
"""

import asyncio
import ctypes
import json
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from telemetry.errors import ConfigError, MainwatchError

log = logging.getLogger("mainwatch.supervisor")

READY_TIMEOUT_S = 120
END_TIMEOUT_S = 15
CANCEL_AGAIN_S = 0.5
RESTART_S = (0.5, 1.0, 2.0, 5.0, 10.0)
EXIT_CONFIG = 2
"""The exit code of a child that a person must help: it is not started again."""
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Child:
    """One process to keep. `command` is its argument list; it logs to `log_path` or to ours."""

    name: str
    command: Sequence[str]
    log_path: Path | None = None
    says_ready: bool = True
    process: asyncio.subprocess.Process | None = field(default=None, init=False)
    restarts: int = field(default=0, init=False)


class Supervisor:
    """Keeps children alive until it is told to end them."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self, child: Child, tasks: asyncio.TaskGroup) -> dict[str, Any]:
        """Start a child, wait until it serves, and keep it; return what its ready line says.

        Raises `ConfigError` or `MainwatchError` when it ends before it serves.
        """
        self._children.append(child)
        ready = await self._launch(child)
        self._keepers.append(tasks.create_task(self._keep(child)))
        return ready

    async def start_all(self, children: Sequence[Child], tasks: asyncio.TaskGroup) -> None:
        """Start children in order, each when the one before it serves."""
        for child in children:
            await self.start(child, tasks)

    async def end(self) -> None:
        """End every child, the last started first; kill what does not go in time."""
        for keeper in self._keepers:  # first, or one that pauses would start its child again
            await _cancel(keeper)
        for child in reversed(self._children):
            process = child.process
            if process is None or process.returncode is not None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), END_TIMEOUT_S)
            except TimeoutError:
                log.warning("%s did not end in %d s: killed", child.name, END_TIMEOUT_S)
                process.kill()
                await process.wait()

    async def _keep(self, child: Child) -> None:
        while True:
            process = child.process
            assert process is not None
            if process.stdout is not None:
                while await process.stdout.read(65_536):
                    pass
            code = await process.wait()
            if code == EXIT_CONFIG:
                raise ConfigError(f"{child.name} cannot run: {_last_words(child)}")
            pause = RESTART_S[min(child.restarts, len(RESTART_S) - 1)]
            child.restarts += 1
            log.warning("%s ended with %d: starting it again in %.1f s", child.name, code, pause)
            await asyncio.sleep(pause)
            try:
                await self._launch(child)
            except ConfigError:
                raise
            except MainwatchError as e:
                log.warning("%s", e)

    async def _launch(self, child: Child) -> dict[str, Any]:
        errors: BinaryIO | None = None
        if child.log_path is not None:
            child.log_path.parent.mkdir(parents=True, exist_ok=True)
            errors = child.log_path.open("ab")
        try:
            child.process = await asyncio.create_subprocess_exec(
                *child.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                preexec_fn=_end_with_parent(),
                limit=1 << 20,
            )
        finally:
            if errors is not None:
                errors.close()
        if not child.says_ready:
            return {}
        assert child.process.stdout is not None
        try:
            line = await asyncio.wait_for(child.process.stdout.readline(), READY_TIMEOUT_S)
        except TimeoutError:
            child.process.kill()
            raise MainwatchError(f"{child.name} did not serve in {READY_TIMEOUT_S} s") from None
        if line:
            ready: dict[str, Any] = json.loads(line)
            return ready
        code = await child.process.wait()
        words = f"{child.name} ended with {code} before it served: {_last_words(child)}"
        raise (ConfigError if code == EXIT_CONFIG else MainwatchError)(words)


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do `work` until it is done or `stop` is set; say whether it was done."""
    async with asyncio.TaskGroup() as tasks:
        doing, stopping = tasks.create_task(work), tasks.create_task(stop.wait())
        await asyncio.wait([doing, stopping], return_when=asyncio.FIRST_COMPLETED)
        await _cancel(doing)
        await _cancel(stopping)
    return not doing.cancelled()


async def _cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task until it ends: `wait_for` of Python 3.11 may swallow a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_AGAIN_S)


def _last_words(child: Child) -> str:
    if child.log_path is None:
        return "see its message above"
    lines = child.log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].removeprefix("mainwatch: ") if lines else "it said nothing"


def _end_with_parent() -> Callable[[], None] | None:
    """Return what a child does before it becomes its program: ask the kernel for SIGTERM."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask
