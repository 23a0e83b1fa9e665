"""The desk's end of the local socket to the engine's door.

Commands are sent until they are journalled, which their key makes harmless; wake-ups only save the
second that the desk would otherwise take to look by itself.
"""

import asyncio
import json
import logging
from pathlib import Path

from server.engine.commands import CHANGE_REGISTRY
from server.engine.registry import Registry
from server.servicecore.desk import Desk
from server.servicecore.rules.registry_edits import fingerprint
from server.servicecore.store.trail import SYSTEM
from telemetry.errors import ContractError

log = logging.getLogger("mainwatch.desk")

RETRY_FIRST_S = 0.2
RETRY_LAST_S = 2.0
ANSWER_WITHIN_S = 5.0
"""A command that the door has not answered in this time is sent once more."""
LINE_MAX = 65_536


class DoorClient:
    """Keeps one connection to the door for as long as the desk runs."""

    def __init__(self, desk: Desk, path: Path) -> None:
        self._desk = desk
        self._path = path

    async def run(self, stop: asyncio.Event) -> None:
        """Connect, and connect again, until told to stop."""
        async with asyncio.TaskGroup() as group:
            work = group.create_task(self._keep_connected())
            await stop.wait()
            work.cancel()

    async def _keep_connected(self) -> None:
        pause = RETRY_FIRST_S
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._path, limit=LINE_MAX)
            except OSError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_LAST_S)
                continue
            pause = RETRY_FIRST_S
            self._reached(now=True)
            try:
                await self._talk(reader, writer)
            except* (OSError, ContractError, EOFError) as group:
                log.info("the engine's door is lost: %s", group.exceptions[0])
            finally:
                self._reached(now=False)
                writer.close()

    def _reached(self, *, now: bool) -> None:
        if self._desk.engine_reached != now:
            log.info("the engine's door %s", "answers" if now else "does not answer")
        self._desk.engine_is(reached=now)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._desk.commands_waiting.set()  # whatever the last connection left unanswered
        self._desk.woken.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(reader))
            group.create_task(self._send(writer))

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        desk = self._desk
        if await desk.registry_acts.revision() > 1:  # a restored journal may have missed an edit
            writer.write(_line(_registry_as_it_is(await desk.registry())))
        while True:
            try:
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    await desk.commands_waiting.wait()
            except TimeoutError:
                pass
            desk.commands_waiting.clear()
            for command in await desk.commands():
                line: dict[str, object] = {
                    "key": command.key,
                    "actor": command.actor,
                    "verb": command.verb,
                    "subject": command.subject,
                    "note": command.note,
                }
                if command.verb == CHANGE_REGISTRY:  # whole, and as it is by now
                    line["registry"] = (await desk.registry()).to_json()
                writer.write(_line(line))
            await writer.drain()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as e:
                raise ContractError(f"expected a line of at most {LINE_MAX} bytes") from e
            match _parsed(line):
                case {"journalled": str(key)}:
                    await self._desk.command_journalled(key)
                case {"refused": str(key), "because": str(because)}:
                    await self._desk.command_refused(key, because)
                case {"effects": int()}:
                    self._desk.woken.set()
                case other:
                    raise ContractError(f"expected an answer of the door, was {other!r}")


def _registry_as_it_is(registry: Registry) -> dict[str, object]:
    """Return the line that tells the registry anew; its key is the same for the same registry."""
    return {
        "key": f"registry-{fingerprint(registry)}",
        "actor": SYSTEM,
        "verb": CHANGE_REGISTRY,
        "subject": "registry",
        "note": "",
        "registry": registry.to_json(),
    }


def _line(body: dict[str, object]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode() + b"\n"


def _parsed(line: bytes) -> object:
    try:
        parsed: object = json.loads(line)
    except ValueError as e:
        raise ContractError(f"expected a line of JSON, was {line[:80]!r}") from e
    return parsed
