"""The control socket: one JSON object a line in, one out; bursts begin and end here."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from telemetry.errors import ConfigError, ContractError, RefusedCommand, Unavailable

log = logging.getLogger("mainwatch.sim")

LINE_MAX = 65_536
"""Bytes. A longer command is refused and its connection closed."""

ANSWER_WITHIN_S = 10.0

Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Control:
    """Listens for commands and answers each by calling `answer`."""

    def __init__(self, *, host: str, port: int, answer: Answer) -> None:
        self.port = port
        self._host = host
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self, *, key: str) -> None:
        """Listen. Raises `ConfigError` naming `key` when the port cannot be had."""
        try:
            self._server = await asyncio.start_server(
                self._converse, self._host, self.port, limit=LINE_MAX
            )
        except OSError as e:
            raise ConfigError(
                f"{key}: expected a free port, was {self.port}"
                f" which cannot be listened on at {self._host}"
            ) from e
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and every connection; harmless when it never opened."""
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.close()
            await self._server.wait_closed()
            self._server = None

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            while line := await reader.readline():
                writer.write(json.dumps(self._reply(line), ensure_ascii=False).encode() + b"\n")
                await writer.drain()
        except ValueError:
            log.warning("a command longer than %d bytes was refused", LINE_MAX)
        except OSError:
            pass  # the asker has gone, which is no business of ours
        finally:
            self._writers.remove(writer)
            writer.close()

    def _reply(self, line: bytes) -> Mapping[str, Any]:
        try:
            command = json.loads(line)
        except ValueError:
            return {"refused": "expected one JSON object a line"}
        if not isinstance(command, dict) or len(command) != 1:
            return {"refused": "expected an object with one key: burst, stop_burst or status"}
        try:
            return self._answer(command)
        except RefusedCommand as e:
            return {"refused": str(e)}


async def ask(host: str, port: int, message: Mapping[str, Any]) -> dict[str, Any]:
    """Send one command to a running simulator and return its reply.

    Raises `Unavailable` when none answers there, `RefusedCommand` when it refuses.
    """
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            reader, writer = await asyncio.open_connection(host, port, limit=LINE_MAX)
            try:
                writer.write(json.dumps(message).encode() + b"\n")
                await writer.drain()
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError) as e:
        raise Unavailable(f"no simulator answers on {host}:{port}") from e
    try:
        reply = json.loads(line)
    except ValueError:
        reply = None
    if not isinstance(reply, dict):
        raise ContractError(f"{host}:{port} answered something other than one JSON object")
    if "refused" in reply:
        raise RefusedCommand(str(reply["refused"]))
    return reply
