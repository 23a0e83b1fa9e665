"""The one file that speaks to InfluxDB, through `influxdb-client`, which is loaded only then."""

from collections.abc import Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from server.config import InfluxSection
from server.history.delivery import Answer
from server.history.line_protocol import PRECISION
from telemetry.instant import SECOND_MS, Clock

TEXT_MAX = 300
"""Characters that are kept of what a server says."""


def problems_at_start(section: InfluxSection) -> list[str]:
    """Return what the sink would not find at its start: libraries and files."""
    found = [
        f"influx: the package {name!r} is missing: install mainwatch[influx]"
        for name in ("influxdb_client", "aiohttp")
        if find_spec(name) is None  # found, not loaded: it is 0.4 s and 50 MB
    ]
    for key in ("token_file", "ca_file"):
        path: Path | None = getattr(section, key)
        if path is not None:
            try:
                path.read_bytes()
            except OSError as e:
                found.append(f"influx.{key}: expected a file, {path}: {e.strerror}")
    return found


class Influx:
    """One server behind `influxdb-client`; a connection is made when there is something to say."""

    def __init__(self, section: InfluxSection, clock: Clock) -> None:
        self._section = section
        self._clock = clock
        self._client: Any = None
        self._token = ""

    async def post(self, lines: Sequence[bytes]) -> Answer:
        """Send lines in one request and return what came of it; raises nothing."""
        import aiohttp  # noqa: PLC0415  only where a sink runs
        from influxdb_client.rest import ApiException  # noqa: PLC0415

        try:
            client = await self._connected()
            was_written = await client.write_api().write(
                bucket=self._section.bucket,
                org=self._section.org,
                record=b"\n".join(lines),
                write_precision=PRECISION,
            )
        except ApiException as e:
            said = e.message or e.reason or ""
            return Answer(
                status=int(e.status or 0),
                text=self._said(said.decode(errors="replace") if isinstance(said, bytes) else said),
                retry_after_s=self._seconds(e.retry_after),
            )
        except TimeoutError:
            return Answer(status=0, text=f"no answer within {self._section.timeout_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as e:
            return Answer(status=0, text=self._said(str(e) or type(e).__name__))
        if not was_written:
            return Answer(status=200, text="expected 204, as InfluxDB gives, was another success")
        return Answer(status=204)

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _connected(self) -> Any:
        """Return a client with the token as the file says it now."""
        from influxdb_client.client.influxdb_client_async import (  # noqa: PLC0415  see above
            InfluxDBClientAsync,
        )

        token = ""
        if self._section.token_file is not None:
            token = self._section.token_file.read_text(encoding="utf-8").strip()
        if self._client is None or token != self._token:
            await self.close()
            self._token = token
            self._client = InfluxDBClientAsync(
                self._section.url.rstrip("/"),
                token=token,
                org=self._section.org,
                timeout=round(self._section.timeout_s * SECOND_MS),
                enable_gzip=not self._section.is_loopback,
                ssl_ca_cert=None if self._section.ca_file is None else str(self._section.ca_file),
                allow_redirects=False,  # a POST redirected becomes a GET, and its 200 a lie
            )
        return self._client

    def _said(self, text: str) -> str:
        """Return what a server said, short, on one line, and without our secret."""
        words = " ".join(text.split())
        if self._token:
            words = words.replace(self._token, "***")
        return words[:TEXT_MAX]

    def _seconds(self, retry_after: str | None) -> float | None:
        """Return the seconds that a Retry-After asks for: a number, or a date."""
        if retry_after is None:
            return None
        with suppress(ValueError):
            return max(0.0, float(retry_after))
        with suppress(ValueError):
            at = parsedate_to_datetime(retry_after).timestamp()
            return max(0.0, at - self._clock.now() / SECOND_MS)
        return None
