"""An InfluxDB as the tests need it: one that follows a script, and real engines from Debian."""

import asyncio
import gzip
import json
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from server.config import InfluxSection
from server.engine.effects import Accepted
from server.engine.events import Imported
from server.engine.samples import Samples
from server.history.historian import Historian
from server.history.influx import Pause, Server, Sink
from server.history.line_protocol import Encoder, Row
from server.history.sink_ledger import Ledger
from server.history.sink_queue import SinkQueue
from server.history.sink_source import Source
from telemetry.instant import Clock, Instant
from telemetry.point import PointId
from telemetry.sample import Reason, Sample

TRIES = 600
"""Of a twentieth of a second each, for an engine to start."""


@dataclass
class Scripted:
    """A server that answers as its script says, then takes everything that is not `wrong`.

    A step of the script is a status, (status, headers, body), "hang" or "reset".
    """

    script: list[object] = field(default_factory=list)
    wrong: set[bytes] = field(default_factory=set)
    token: str | None = None
    bytes_max: int = 1 << 30
    stored: dict[bytes, bytes] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    queries: list[dict[str, list[str]]] = field(default_factory=list)
    tls: tuple[Path, Path] | None = None
    compressed: int = 0
    in_flight: int = 0
    in_flight_max: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http{'' if self.tls is None else 's'}://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Scripted"]:
        self._hung = asyncio.Event()
        context = None
        if self.tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*self.tls)
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._hung.set()
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight, self.in_flight_max)
        try:
            length = int(re.search(r"(?i)content-length: (\d+)", head)[1])
            step = self.script.pop(0) if self.script else None
            if step == "reset":  # in the middle of the body
                await reader.readexactly(min(length, 10))
                writer.transport.abort()
                return False
            body = await reader.readexactly(length)
            if "content-encoding: gzip" in head.lower():
                body = gzip.decompress(body)
                self.compressed += 1
            if step == "hang":
                await self._hung.wait()
                return False
            self.queries.append(parse_qs(urlsplit(head.split()[1]).query))
            status, headers, said = self._answer(step, head, body)
            lines = [f"HTTP/1.1 {status} x", *(f"{k}: {v}" for k, v in headers.items())]
            lines += [f"Content-Length: {len(said)}", "", ""]
            writer.write("\r\n".join(lines).encode() + said)
            await writer.drain()
            return True
        finally:
            self.in_flight -= 1

    def _answer(self, step: object, head: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if isinstance(step, int):
            return step, {}, json.dumps({"message": f"as the script says: {step}"}).encode()
        if isinstance(step, tuple):
            return step
        if self.token is not None and f"Authorization: Token {self.token}" not in head:
            return 401, {}, b'{"code":"unauthorized","message":"unauthorized access"}'
        if len(body) > self.bytes_max:
            return 413, {}, b'{"message":"too large"}'
        self.bodies.append(body)
        lines = body.split(b"\n")
        for line in lines:
            if line not in self.wrong:
                key, fields, at = re.split(rb"(?<!\\) ", line)
                self.stored[key + b" " + at] = fields
        if dropped := len(self.wrong.intersection(lines)):
            said = f"partial write: field type conflict: dropped={dropped}"
            return 400, {}, json.dumps({"message": said}).encode()
        return 204, {}, b""


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Return a certificate that signs itself for loopback, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1",
         "-out", str(cert), "-keyout", str(key)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return cert, key


def which(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")


@contextmanager
def engine(command: list[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a real engine until the block ends; it is killed with nothing but its own process."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        assert any(_answers(process, port) for _ in range(TRIES)), log.read_text(errors="replace")
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Say whether the port is open; when not, first give it a moment, unless it has ended."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
        return False
    return True


def victoria(folder: Path, port: int) -> list[str]:
    """Return the command of a VictoriaMetrics that forgets nothing and keeps one of two alike."""
    return [
        str(which("victoria-metrics")),
        f"-storageDataPath={folder}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=100y",
        "-dedup.minScrapeInterval=1ms",
    ]


def influxd(folder: Path, port: int, rpc_port: int) -> list[str]:
    """Return the command of an InfluxDB 1.6 that listens on loopback alone."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "influxdb.conf"
    config.write_text(
        f"""reporting-disabled = true
bind-address = "127.0.0.1:{rpc_port}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
index-version = "tsi1"
query-log-enabled = false
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
""",
        encoding="utf-8",
    )
    return [str(which("influxd")), "-config", str(config)]


def get(url: str, **query: str) -> bytes:
    with urllib.request.urlopen(f"{url}?{urlencode(query)}", timeout=30) as answer:
        return bytes(answer.read())


def influxql(url: str, query: str, db: str, method: str = "GET", token: str = "") -> list[dict]:
    """Return the series of a query in InfluxQL. An error of any statement is an error here."""
    body = urlencode({"q": query, "db": db, "epoch": "ms"})
    headers = {"Authorization": f"Token {token}"} if token else {}
    request = urllib.request.Request(f"{url}/query?{body}", method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        results = json.loads(answer.read())["results"]
    assert not [r for r in results if "error" in r], results
    return [s for r in results for s in r.get("series", [])]


class Shim:
    """The route of InfluxDB 2 in front of an InfluxDB 1.6, which is too old to have it."""

    def __init__(self, behind: str, token: str) -> None:
        self._behind, self._token = behind, token

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        import aiohttp
        from aiohttp import web

        async def write(request: web.Request) -> web.Response:
            if request.headers.get("Authorization") != f"Token {self._token}":
                return web.json_response({"message": "unauthorized access"}, status=401)
            query = {"db": request.query["bucket"], "precision": request.query["precision"]}
            body = await request.read()
            try:
                async with client.post(f"{self._behind}/write", params=query, data=body) as a:
                    if a.status == 204:
                        return web.Response(status=204)
                    said = (await a.json()).get("error", "")
                    return web.json_response({"message": said}, status=a.status)
            except aiohttp.ClientError as e:
                return web.json_response({"message": str(e)}, status=503)

        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/api/v2/write", write)
        runner = web.AppRunner(app)
        async with aiohttp.ClientSession() as client:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            try:
                yield f"http://127.0.0.1:{runner.addresses[0][1]}"
            finally:
                await runner.cleanup()


def accepted(*rows: Row, at: int, first_offset: int = 0, is_historical: bool = False) -> Accepted:
    """Return rows as the engine hands them to the historian; they arrive at `at`."""
    samples = [
        Sample.bad(PointId(point), Instant(when), Reason.TIMEOUT)
        if value is None
        else Sample(point=PointId(point), at=Instant(when), value=value)
        for point, when, value, _quality in rows
    ]
    return Accepted(
        at=Instant(at), gateway="gw-01", epoch=5, first_offset=first_offset,
        samples=Samples.of(samples), is_historical=is_historical,
    )  # fmt: skip


class Writer:
    """The intake's end: a historian, and beside it the queue of a sink."""

    def __init__(
        self, folder: Path, *, bytes_max: int = 10_000_000, target: str = "here", now: int = 0
    ) -> None:
        self.folder = folder
        self.historian = Historian(folder / "historian.db")
        self.queue = SinkQueue(target=target, bytes_max=bytes_max, ledger=folder / "influx.db")
        also = partial(self.queue.open, now=Instant(now))
        self.historian.write([], through=self.historian.through, also=also)
        self.historian.accompany(self.queue.enqueue)
        self.lines: set[bytes] = set()
        self.offset = 0

    def take(self, *parts: Accepted | Imported) -> None:
        through = self.historian.through + 1
        self.historian.write(parts, through=through)

    def say(self, n: int, *, at: int, point: str = "a/pressure", step_ms: int = 1_000) -> None:
        """Take in `n` samples of a point that arrive at `at`, read up to then, all different."""
        rows = [(point, at - (n - k - 1) * step_ms, (self.offset + k) / 8, 192) for k in range(n)]
        self.take(accepted(*rows, at=at, first_offset=self.offset))
        self.offset += n
        self.lines |= set(Encoder().encode(rows).lines)

    def counts(self) -> tuple[int, int]:
        """Return how many entries are queued and how many rows say what is owed."""
        db = self.historian._db
        return tuple(
            db.execute(f"SELECT COUNT(*) FROM {t}").fetchone()[0]
            for t in ("sink_queue", "sink_owed")
        )

    def close(self) -> None:
        self.historian.close()


def section(url: str, **more: object) -> InfluxSection:
    return InfluxSection.model_validate({"url": url, "bucket": "water", "org": "works"} | more)


@asynccontextmanager
async def sinking(
    folder: Path, server: Server, config: InfluxSection, *, clock: Clock, pause: Pause
) -> AsyncIterator[Sink]:
    """Open a sink over the files of a folder."""
    ledger, source = Ledger(folder / "influx.db"), Source(folder / "historian.db")
    try:
        yield Sink(
            config, source=source, ledger=ledger, server=server, clock=clock,
            chance=random.Random(7), pause=pause,
        )  # fmt: skip
    finally:
        source.close()
        ledger.close()
