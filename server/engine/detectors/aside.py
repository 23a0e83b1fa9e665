"""What was found and is explained, put aside: it is watched until it goes, and the search goes on.

What an operation does to a zone is the new reference within half a minute of bins, so that a burst
meanwhile is seen against it. What was put aside is over when the level is back where it was before,
or when most of the change has been undone at once: over hours the level wanders with the day.
"""

from dataclasses import dataclass

import numpy as np

from server.engine.detectors.finding import Finding
from server.engine.detectors.grid import Floats
from server.engine.detectors.steps import Look

BACK_PART, UNDONE_PART = 0.4, 0.6
"""Of what was found: no more is left, or so much has been undone in a minute."""

BACK_BINS = 10
"""Bins in a row."""


@dataclass(slots=True, kw_only=True)
class Aside:
    """One finding, its size, the columns in which it shows, and what they were before it.

    `sign` is 1 where it is a fall, -1 where it is a rise. `late_bins` counts bins since its
    operation should have been over.
    """

    finding: Finding
    size: float
    columns: tuple[int, ...]
    before: Floats
    sign: int
    back_bins: int = 0
    late_bins: int = 0

    def left(self, recent: Floats) -> float:
        """Return how much of it stands, against what was before it."""
        chosen = list(self.columns)
        change = self.sign * (self.before[chosen] - recent[chosen])
        known = change[~np.isnan(change)]
        return float(np.median(known)) if len(known) else float("nan")

    def is_over(self, step: Look) -> bool:
        """Follow one more bin; say whether it has gone. No data is no sign of that."""
        measured = [c for c in self.columns if step.is_valid[c]]
        if not measured:
            return False
        undone = -self.sign * float(np.median(step.fall[measured]))
        is_back = self.left(step.recent) < BACK_PART * self.size
        is_back = is_back or undone >= UNDONE_PART * self.size
        self.back_bins = self.back_bins + 1 if is_back else 0
        return self.back_bins >= BACK_BINS
