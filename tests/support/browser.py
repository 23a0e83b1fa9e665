"""A real Chromium, driven over its DevTools protocol."""

import base64
import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from mainwatch.wall_clock import WallClock
from tests.support.waiting import until

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--lang=en"),
    "--remote-debugging-port=0",
)
START_WITHIN_S = 60.0
ANSWER_WITHIN_S = 60.0
LOOK_EVERY_S = 0.05
CLOCK = WallClock()


def chromium() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Wire:
    """One socket of the DevTools: commands go out, answers come in, and `hear` is told the rest."""

    def __init__(self, address: str, hear: Callable[[dict[str, Any]], None]) -> None:
        self._socket = connect(address, max_size=None)
        self._hear = hear
        self._sent = 0

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._sent += 1
        self._socket.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=ANSWER_WITHIN_S))
            self._hear(message)
            if message.get("id") == self._sent:
                assert "error" not in message, message
                return message["result"]

    def close(self) -> None:
        self._socket.close()


class Chromium:
    """A running Chromium. It takes seconds to start, so that a run of tests has one for all."""

    def __init__(self) -> None:
        self._profile = tempfile.mkdtemp(prefix="mw-browser-")
        program = chromium()
        assert program is not None
        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port, path = until(self._listens, START_WITHIN_S)
        self._tabs = f"ws://127.0.0.1:{port}/devtools/page/"
        self._wire = Wire(f"ws://127.0.0.1:{port}{path}", lambda _: None)

    def _listens(self) -> list[str]:
        """Return the port and the path that it listens on, once it has written them down."""
        assert self._process.poll() is None, "Chromium ended before it listened"
        with suppress(FileNotFoundError):
            text = (Path(self._profile) / "DevToolsActivePort").read_text(encoding="utf-8")
            return text.split() if text.count("\n") else []
        return []

    def window(self) -> "Browser":
        """Return a new window that knows nothing of the others: no cookies, no cache, no click."""
        context = self._wire.command("Target.createBrowserContext")["browserContextId"]
        tab = self._wire.command(
            "Target.createTarget", url="about:blank", browserContextId=context
        )["targetId"]
        return Browser(
            self._tabs + tab,
            lambda: self._wire.command("Target.disposeBrowserContext", browserContextId=context),
        )

    def close(self) -> None:
        self._wire.close()
        self._process.terminate()
        self._process.wait(ANSWER_WITHIN_S)
        shutil.rmtree(self._profile, ignore_errors=True)


class Browser:
    """One tab. `requests` are the addresses that it asked for, `errors` what it complained of."""

    def __init__(self, address: str, forget: Callable[[], object]) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._forget = forget
        self._wire = Wire(address, self._note)
        self.command = self._wire.command
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.command(f"{domain}.enable")
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=1280,
            height=720,
            deviceScaleFactor=1,
            mobile=False,
        )

    def _note(self, message: dict[str, Any]) -> None:
        facts = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(facts["request"]["url"])
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(facts["exceptionDetails"])[:500])
            case "Log.entryAdded" if facts["entry"]["level"] == "error":
                self.errors.append(facts["entry"]["text"] + " " + facts["entry"].get("url", ""))

    def open(self, address: str) -> None:
        self.command("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete'")

    def evaluate(self, script: str, *, clicked: bool = False) -> Any:
        """Return what a script gives; browsers allow more to one run as by a person's click."""
        answer = self.command(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
            userGesture=clicked,
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script: str, *, within_s: float = ANSWER_WITHIN_S) -> None:
        """Return when a script gives something true."""
        end = CLOCK.monotonic_ms() + within_s * 1000
        while CLOCK.monotonic_ms() < end:
            if self.evaluate(f"Boolean({script})"):
                return
            threading.Event().wait(LOOK_EVERY_S)
        raise AssertionError(f"{script} was not true within {within_s} s")

    def click(self, selector: str) -> None:
        self.wait_for(f"document.querySelector({json.dumps(selector)})")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()", clicked=True)

    def type(self, selector: str, text: str) -> None:
        self.wait_for(f"document.querySelector({json.dumps(selector)})")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.command("Input.insertText", text=text)

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.command(
                "Input.dispatchKeyEvent", type=kind, key=key, text=key if kind == "keyDown" else ""
            )

    def photograph(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        self._wire.close()
        self._forget()
