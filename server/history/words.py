"""What the historian's numbers stand for, as its file says at one moment."""

import sqlite3
from dataclasses import dataclass

import numpy as np

from server.history.packing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Points by number; numbers of sources (gateway, epoch) and labels (reason, time quality).

    Samples of `void` sources do not count any more: their import came anew.
    """

    points: dict[int, str]
    sources: dict[tuple[str, str], int]
    labels: dict[tuple[str, str], int]
    void: Array

    @classmethod
    def of(cls, db: sqlite3.Connection) -> "Words":
        """Read them."""
        read = db.execute
        sources = read("SELECT gateway, epoch, number, void FROM source ORDER BY number").fetchall()
        return cls(
            points=dict(read("SELECT number, id FROM point")),
            sources={(gateway, epoch): n for gateway, epoch, n, _ in sources},
            labels={
                (a, b): n for a, b, n in read("SELECT reason, time_quality, number FROM label")
            },
            void=np.array([n for _, _, n, void in sources if void], "<i4"),
        )

    def numbers(self, points: tuple[str, ...] | list[str]) -> Array:
        """Return the numbers of those points that are known, sorted."""
        asked = set(points)
        return np.array(sorted(n for n, name in self.points.items() if name in asked), "<i4")
