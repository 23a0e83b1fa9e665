"""Numbers for the words that every sample repeats, and which offsets each source has given."""

import json
import sqlite3

from telemetry.ranges import Ranges

IMPORT_SOURCE = "import"
"""The gateway name under which imported history is kept, with the recording's name as its epoch."""

Source = tuple[str, str]
"""Gateway and epoch."""

Label = tuple[str, str]
"""Reason and time quality."""


class Names:
    """Points, sources and labels by name; new ones are numbered as they come."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.reload()

    def reload(self) -> None:
        """Know again what the file says: after a transaction that did not happen."""
        read = self._db.execute
        self.points: dict[str, int] = dict(read("SELECT id, number FROM point"))
        self._labels: dict[Label, int] = {
            (reason, quality): number
            for number, reason, quality in read("SELECT number, reason, time_quality FROM label")
        }
        self._sources: dict[Source, int] = {}
        self._taken: dict[int, Ranges] = {}
        for number, gateway, epoch, taken in read(
            "SELECT number, gateway, epoch, taken FROM source WHERE NOT void"
        ):
            self._sources[gateway, epoch] = number
            self._taken[number] = ranges = Ranges()
            for lo, hi in json.loads(taken):
                ranges.add(lo, hi)
        self._touched: set[int] = set()

    def point(self, name: str) -> int:
        """Return the number of a point."""
        number = self.points.get(name)
        if number is None:
            cursor = self._db.execute("INSERT INTO point (id) VALUES (?)", (name,))
            number = self.points[name] = int(cursor.lastrowid or 0)
        return number

    def label(self, reason: str, time_quality: str) -> int:
        """Return the number of a reason with a time quality."""
        number = self._labels.get((reason, time_quality))
        if number is None:
            cursor = self._db.execute(
                "INSERT INTO label (reason, time_quality) VALUES (?, ?)", (reason, time_quality)
            )
            number = self._labels[reason, time_quality] = int(cursor.lastrowid or 0)
        return number

    def source(self, gateway: str, epoch: str) -> int:
        """Return the number of a gateway's log."""
        number = self._sources.get((gateway, epoch))
        if number is None:
            cursor = self._db.execute(
                "INSERT INTO source (gateway, epoch, taken, void) VALUES (?, ?, '[]', 0)",
                (gateway, epoch),
            )
            number = self._sources[gateway, epoch] = int(cursor.lastrowid or 0)
            self._taken[number] = Ranges()
        return number

    def take(self, source: int, lo: int, hi: int) -> tuple[tuple[int, int], ...]:
        """Take the offsets of [lo, hi) as stored; return those that were not stored yet."""
        self._touched.add(source)
        return self._taken[source].add(lo, hi)

    def void_imports(self) -> None:
        """Let what was imported count no more: it comes again, whole, under a new journal."""
        self._db.execute("UPDATE source SET void = 1 WHERE gateway = ?", (IMPORT_SOURCE,))
        self.reload()

    def recording(self, name: str) -> int:
        """Return the number under which a recording is imported now."""
        (times,) = self._db.execute(
            "SELECT COUNT(*) FROM source WHERE gateway = ?1 AND void"
            " AND (epoch = ?2 OR substr(epoch, 1, length(?2) + 1) = ?2 || '#')",
            (IMPORT_SOURCE, name),
        ).fetchone()
        return self.source(IMPORT_SOURCE, f"{name}#{times}" if times else name)

    def head(self, source: int) -> int:
        """Return the offset after the highest that was taken."""
        return max((hi for _, hi in self._taken[source]), default=0)

    def save(self) -> None:
        """Write which offsets were taken since the last time."""
        self._db.executemany(
            "UPDATE source SET taken = ? WHERE number = ?",
            [(json.dumps(list(self._taken[s])), s) for s in sorted(self._touched)],
        )
        self._touched.clear()
