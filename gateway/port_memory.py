"""Which converter was behind a serial port when the gateway last used it, kept on disk.

`/dev/ttyUSB0` is whatever converter was found first: after a restart it may be another one, and
another line's devices would answer under our devices' names. A port that was known by its lasting
name and now is another one is not opened.
"""

import json
import logging
from pathlib import Path

from gateway.wire import port_identity

log = logging.getLogger("mainwatch.gateway.ports")

BY_ID = Path("/dev/serial/by-id")


class PortMemory:
    """The lasting names of the ports by line, in one small file of the data folder."""

    def __init__(self, file: Path, *, by_id: Path) -> None:
        self._file = file
        self._by_id = by_id
        self._known: dict[str, str] = {}
        self._told: set[str] = set()
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            said = {}
        if isinstance(said, dict):
            self._known = {str(k): str(v) for k, v in said.items()}

    def may_open(self, line: str, serial: str) -> bool:
        """Say whether a port is the one that it was, and remember a new one."""
        key = f"{line} {serial}"
        found = port_identity(serial, by_id=self._by_id)
        known = self._known.get(key)
        if not found or found == known:
            self._told.discard(key)
            return True
        if known is None:
            self._known[key] = found
            self._save()
            return True
        if key not in self._told:
            self._told.add(key)
            log.error(
                "line %s: %s was %s and is %s now; it is not opened. Name it by %s/%s",
                line, serial, known, found, self._by_id, known,
            )  # fmt: skip
        return False

    def _save(self) -> None:
        fresh = self._file.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(self._known, indent=1), encoding="utf-8")
            fresh.replace(self._file)
        except OSError as e:
            log.warning("%s cannot be written: %s", self._file, e)
