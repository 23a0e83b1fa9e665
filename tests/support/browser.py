"""A real Chromium, driven over its DevTools protocol."""

import base64
import json
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import connect

from mainwatch.wall_clock import WallClock

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--lang=en"),
    "--remote-debugging-port=0",
)
ANSWER_WITHIN_S = 20.0
LOOK_EVERY_S = 0.05
CLOCK = WallClock()


def chromium() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One tab. `requests` are the addresses that it asked for, `errors` what it complained of."""

    def __init__(self) -> None:
        self._profile = tempfile.mkdtemp(prefix="mw-browser-")
        program = chromium()
        assert program is not None
        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._sent = 0
        tab = next(t for t in self._tabs() if t["type"] == "page")
        self._socket = connect(tab["webSocketDebuggerUrl"], max_size=None)
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.command(f"{domain}.enable")
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=1280,
            height=720,
            deviceScaleFactor=1,
            mobile=False,
        )

    def _tabs(self) -> list[dict[str, Any]]:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"DevTools listening on ws://([^/]+)/", line):
                with urlopen(f"http://{found[1]}/json") as answer:
                    return json.load(answer)
        raise AssertionError("Chromium ended before it listened")

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._sent += 1
        self._socket.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=ANSWER_WITHIN_S))
            self._note(message)
            if message.get("id") == self._sent:
                assert "error" not in message, message
                return message["result"]

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
        self._socket.close()
        self._process.terminate()
        self._process.communicate()
        shutil.rmtree(self._profile, ignore_errors=True)
