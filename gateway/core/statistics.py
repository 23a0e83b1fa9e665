"""What a line and a device have been through: counted, never reset, read by whoever tells it."""

from dataclasses import dataclass, field
from enum import StrEnum


class Health(StrEnum):
    """How a device is doing, as its birth and the metrics tell it."""

    UNHEARD = "unheard"
    """It has not answered since the start."""
    ANSWERING = "answering"
    FAILING = "failing"
    """It did not answer lately, and is not given up."""
    QUARANTINED = "quarantined"
    """Given up: probed now and then."""
    IMPOSTOR = "impostor"
    """Another device answers in its place: nothing that it says is believed."""


@dataclass(slots=True)
class DeviceStatistics:
    """One device. Counts go up only; `turnaround_ms` is what it takes to begin its answer."""

    health: Health = Health.UNHEARD
    requests: int = 0
    replies: int = 0
    timeouts: int = 0
    wrong_replies: int = 0
    exceptions: int = 0
    busy: int = 0
    skipped: int = 0
    """Polls that were due and not made, of high priority."""
    skipped_low: int = 0
    deaths: int = 0
    impostors: int = 0
    """How often another device was found in its place."""
    unreadable: int = 0
    """Registers that it refuses, now."""
    turnaround_ms: float = 0.0

    def vitals(self) -> dict[str, float]:
        """Return what the device's birth and reports tell, by the end of the metric's name."""
        return {
            "state": float(tuple(Health).index(self.health)),
            "requests_total": float(self.requests),
            "replies_total": float(self.replies),
            "timeouts_total": float(self.timeouts),
            "wrong_replies_total": float(self.wrong_replies),
            "exceptions_total": float(self.exceptions),
            "busy_total": float(self.busy),
            "skipped_polls_total": float(self.skipped + self.skipped_low),
            "deaths_total": float(self.deaths),
            "impostors_total": float(self.impostors),
            "unreadable_registers": float(self.unreadable),
            "turnaround_ms": round(self.turnaround_ms, 1),
        }


@dataclass(slots=True)
class LineStatistics:
    """One line.

    `needed` is the share of its time that the plan asks for; above 1 it cannot keep up. `used` is
    the share that it was held lately, and `used_s` for how long in all.
    """

    is_up: bool = False
    opened: int = 0
    """How often the line was opened; above 1 it has been lost in between."""
    other_port: int = 0
    """How often the port was another converter than before, and was not opened."""
    requests: int = 0
    late: int = 0
    """Replies that came when nobody waited for them any more."""
    foreign: int = 0
    """Whole replies of another unit than the one that was asked."""
    noise: int = 0
    """Replies that were no frame at all."""
    noise_octets: int = 0
    echoes: int = 0
    fences: int = 0
    """Reads that only made sure that no late reply is still on its way."""
    skipped: int = 0
    skipped_low: int = 0
    needed: float = 0.0
    used: float = 0.0
    used_s: float = 0.0
    last_progress_ms: int = 0
    """Monotonic: when the line last finished anything, be it a failure."""
    devices: dict[str, DeviceStatistics] = field(default_factory=dict)
