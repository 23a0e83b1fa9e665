"""A finding: what a detector holds to be so, with its reasons; and the board that tells changes."""

from dataclasses import dataclass, replace

from server.engine.effects import AlarmKind, QualityMarked
from telemetry.instant import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A condition of one subject: a point, a gateway, or "" for the zone itself.

    `is_present` is False in the finding that says that the condition has gone. `explained_by` is
    the operation that explains it, `is_growth` says that it is known already and was found larger,
    `is_watch` that it is something to look at, for which nobody is sent.
    """

    kind: AlarmKind
    zone: str
    subject: str
    points: tuple[str, ...]
    is_present: bool
    severity: int
    onset: Instant
    because: tuple[str, ...]
    estimate_m3h: float | None = None
    x: float | None = None
    y: float | None = None
    radius_m: float | None = None
    explained_by: str = ""
    is_growth: bool = False
    is_watch: bool = False

    @property
    def key(self) -> str:
        """Return what stays the same however often the condition comes and goes."""
        return f"{self.kind} {self.zone} {self.subject}"

    def gone(self, because: str) -> "Finding":
        """Return the finding that this condition has gone."""
        return replace(self, is_present=False, because=(because,))


Told = Finding | QualityMarked
"""What a detector says: a condition, or what samples were worth."""


class Board:
    """Turns the conditions that hold at each look into findings when they come and go.

    Between two looks what held goes on holding: `hold` says until when.
    """

    def __init__(self, *, hold_ms: int) -> None:
        self._hold_ms = hold_ms
        self._present: dict[str, Finding] = {}
        self._last_held: dict[str, Instant] = {}
        self._holding: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Say whether nothing is present."""
        return not self._present

    def update(self, holding: list[Finding], *, at: Instant, because: str) -> list[Finding]:
        """Return what is new and what has not held for long enough to be gone."""
        changes = []
        for finding in holding:
            key = finding.key
            if key not in self._present:
                self._present[key] = finding
                changes.append(finding)
            self._last_held[key] = at
        self._holding = tuple(finding.key for finding in holding)
        if len(self._present) > len(holding):
            changes += self._gone(at=at, because=because)
        return changes

    def hold(self, at: Instant) -> None:
        """Note that what held at the last look has held until now."""
        for key in self._holding:
            self._last_held[key] = at

    def _gone(self, *, at: Instant, because: str) -> list[Finding]:
        gone = [k for k in self._present if at - self._last_held[k] >= self._hold_ms]
        findings = [self._present[k].gone(because) for k in gone]
        for key in gone:
            del self._present[key], self._last_held[key]
        return findings

    def present(self) -> list[Finding]:
        """Return what holds at present."""
        return list(self._present.values())
