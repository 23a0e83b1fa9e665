"""A `mainwatch server` on a data folder of a test: signed in to, worked through its API, ended."""

import json
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from mainwatch import broker
from tests.house.tree import ROOT
from tests.support.ports import free_port

PASSWORD = "a long enough password"
START_S = 120


def program(*arguments: str) -> list[str]:
    """Return the command line of a `mainwatch` command."""
    return [sys.executable, "-m", "mainwatch", *arguments]


def run_program(*arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess:
    """Run a command until it ends."""
    return subprocess.run(
        program(*arguments), check=False, capture_output=True, text=True, timeout=timeout_s
    )


class Broker:
    """A broker of its own for the servers of a test."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        _kind, command = broker.command(None, port=self.port, folder=folder)
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(15)


class ControlRoom:
    """One running server."""

    def __init__(self, data: Path, mqtt: Broker, *sets: str, configs: str = "demo") -> None:
        self.port = free_port()
        self.page = f"http://127.0.0.1:{self.port}"
        self.said: list[str] = []
        self._serving = threading.Event()
        keys = (
            f"server.data={json.dumps(str(data))}",
            f"broker.port={mqtt.port}",
            f"page.port={self.port}",
            *sets,
        )
        arguments = ["server", "--config", str(ROOT / "configs" / configs / "server.toml")]
        for key in keys:
            arguments += ["--set", key]
        self.process = subprocess.Popen(
            program(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.said.append(line.rstrip())
            if line.startswith("{"):
                self._serving.set()
        self._serving.set()

    def serving(self) -> "ControlRoom":
        """Return once it serves; fail with what it said otherwise."""
        assert self._serving.wait(START_S), "\n".join(self.said)
        assert self.process.poll() is None, "\n".join(self.said)
        return self

    def browser(self, **headers: str) -> httpx.Client:
        """Return a client of the page."""
        return httpx.Client(base_url=self.page, headers=headers, timeout=60)

    def admin(self) -> httpx.Client:
        """Return a browser in which the first administrator has signed in by the printed link."""
        link = next(
            found[1]
            for line in self.said
            if (found := re.search(r"first administrator: open \S+(/welcome/\S+) within", line))
        )
        browser = self.browser(origin=self.page, accept="text/html")
        same = {"password": PASSWORD, "again": PASSWORD}
        assert browser.post(link, data=same).headers["location"] == "/sign-in"
        signed_in = browser.post("/sign-in", data={"login": "admin", "password": PASSWORD})
        assert signed_in.status_code == 303, signed_in.text
        return browser

    def kill(self) -> None:
        """Kill every process of it at once, as a failing machine would."""
        family = [self.process, *psutil.Process(self.process.pid).children(recursive=True)]
        for process in family:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        self._close()

    def end(self) -> None:
        """End it as systemd does."""
        if self.process.poll() is None:
            self.process.terminate()
        self._close()

    def _close(self) -> None:
        self.process.wait(60)
        self._reader.join(10)
        self.process.stdout.close()


def token_of(admin: httpx.Client, name: str, *roles: str) -> str:
    """Return the token of a new program, as the administrator's page shows it once."""
    page = admin.post("/programs", data={"name": name, "roles": list(roles)})
    found = re.search(r'class="once">.*?<code>([\w-]+)</code>', page.text, re.DOTALL)
    said = re.findall(r'role="alert".*', page.text)
    assert found, f"{page.status_code}: {said}"
    return found[1]
