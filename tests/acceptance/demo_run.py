"""Runs `mainwatch demo` as a user would, and looks at its processes from outside."""

import json
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import psutil

LOOK_EVERY_S = 0.1


@dataclass
class DemoRun:
    """One demo under test."""

    folder: Path
    arguments: list[str]
    counted_at: str = ""
    """The words at which its processes are counted and weighed, and its figures are read."""
    family: list[psutil.Process] = field(default_factory=list)
    memory_mb: dict[str, float] = field(default_factory=dict)
    """The resident megabytes of every process, by its number and command, its share of what several
    map: how much of a library each has in its map depends on what the system has read ahead."""
    figures: str = ""
    """The page of the month's figures."""
    lines: list[str] = field(default_factory=list)
    process: subprocess.Popen | None = None

    def start(self) -> "DemoRun":
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mainwatch", "demo", "--headless", "--port", "0"),
                *("--folder", str(self.folder / "plant")),
                *("--report", str(self.folder / "demo.json")),
                *self.arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._arrived = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _read(self) -> None:
        for line in self.process.stdout:
            if self.counted_at and self.counted_at in line:
                self._count()
            with self._arrived:
                self.lines.append(line.rstrip())
                self._arrived.notify_all()
        with self._arrived:
            self.lines.append("<end>")
            self._arrived.notify_all()

    def wait_for(self, words: str, timeout_s: float) -> str:
        """Return the first line that holds `words`; fail with the whole output otherwise."""

        def found() -> bool:
            return any(words in line or line == "<end>" for line in self.lines)

        with self._arrived:
            self._arrived.wait_for(found, timeout_s)
            line = next((line for line in self.lines if words in line), None)
        assert line is not None, f"{words!r} was not said:\n" + "\n".join(self.lines) + self.logs()
        return line

    def part(self, *words: str, timeout_s: float = 30) -> psutil.Process:
        """Return the innermost descendant whose command line holds all the words.

        A part that a test has killed is gone until its supervisor starts it again: wait for it.
        """
        for _ in range(round(timeout_s / LOOK_EVERY_S)):
            if found := self._parts(words):
                return found[-1]
            threading.Event().wait(LOOK_EVERY_S)
        raise AssertionError(f"no process {words} within {timeout_s:g} s" + self.logs())

    def _parts(self, words: tuple[str, ...]) -> list[psutil.Process]:
        found = []
        for p in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.Error):  # one that a test has just killed
                if all(w in p.cmdline() for w in words):
                    found.append(p)
        return found

    def _count(self) -> None:
        me = psutil.Process(self.process.pid)
        self.family = me.children(recursive=True)
        self.memory_mb = {
            f"{p.pid} {' '.join(p.cmdline()[2:6])}": p.memory_full_info().pss / 1e6
            for p in [me, *self.family]
        }
        page = next(line for line in self.lines if "page: " in line).split()[-1]
        with urlopen(f"{page}figures") as answer:
            self.figures = answer.read().decode()

    def finish(self, timeout_s: float) -> dict:
        """Return the report once the demo has ended by itself."""
        code = self.process.wait(timeout_s)
        self._reader.join(5)
        output = "\n".join(self.lines) + self.logs()
        assert (self.folder / "demo.json").exists(), f"exit {code}, no report:\n{output}"
        report = json.loads((self.folder / "demo.json").read_text())
        assert code == 0, f"exit {code}: {report}\n{output}"
        return report

    def logs(self) -> str:
        parts = sorted((self.folder / "plant" / "log").glob("*.log"))
        return "".join(f"\n--- {p.name}\n{p.read_text()[-3000:]}" for p in parts)

    def kill(self) -> None:
        """End whatever is left, and let go of its output."""
        if self.process is None:
            return
        if self.process.poll() is None:
            me = psutil.Process(self.process.pid)
            family = [me, *me.children(recursive=True)]
            self.process.terminate()
            _gone, alive = psutil.wait_procs(family, timeout=30)
            for p in alive:
                p.kill()
        self.process.wait()
        self._reader.join(5)
        self.process.stdout.close()
