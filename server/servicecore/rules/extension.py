"""More time, and less: extensions before the limit, shorter limits by a leader, outage notices.

延期 is asked for before the limit passes, with reason, plan and date (R76); 急事特办 is approved by
a leader, who chooses the limit (R26). Whoever asked does not decide.
"""

from server.servicecore.rules.clocks import Reading, Verdict
from server.servicecore.rules.policy import Policy
from server.servicecore.rules.refusal import Refused
from telemetry.instant import DAY_MS, HOUR_MS, Instant

LONG_MS = DAY_MS
"""An extension beyond this is decided by a leader, not by the shift leader."""
YEAR_MS = 366 * DAY_MS


def check_request(
    ticket: str,
    reading: Reading | None,
    *,
    clock: str,
    running: tuple[str, ...],
    expected: Instant,
    texts: tuple[str, str],
    now: Instant,
) -> None:
    """Refuse a request that comes at or after the limit, lacks words, or asks for nothing."""
    if reading is None or reading.stopped_at is not None:
        raise Refused("no_clock", ticket=ticket, clock=clock, allowed_words=", ".join(running))
    if not all(text.strip() for text in texts):
        raise Refused("fields_missing", subject=ticket, fields="reason, plan")
    if now >= reading.due and reading.verdict is not Verdict.PAUSED:
        raise Refused("late_extension", ticket=ticket, due=str(reading.due))
    if expected <= reading.due:
        raise Refused("early_date", due=str(reading.due), date=str(expected))


def is_long(reading: Reading, expected: Instant) -> bool:
    """Say whether an extension is a leader's to decide."""
    return expected - reading.due > LONG_MS


def check_expedite(reading: Reading | None, ticket: str, *, clock: str, due: Instant) -> None:
    """Refuse a shorter limit that is not shorter."""
    if reading is None or reading.stopped_at is not None:
        raise Refused("no_clock", ticket=ticket, clock=clock, allowed_words="-")
    if due >= reading.due:
        raise Refused("early_date", due=str(due), date=str(reading.due))


def needs_notice(policy: Policy, start: Instant, end: Instant) -> bool:
    """Say whether an outage needs a notice: only one that is longer than the policy's hours."""
    limit_h = policy.number("notice.outage_over_h")
    return limit_h is not None and end - start > limit_h * HOUR_MS


def keeps_until(closed_at: Instant, policy: Policy, *, years_min: int) -> Instant:
    """Return until when a record is kept; longer where the policy says so (R30)."""
    years = max(policy.number("retention.years") or 0, years_min)
    return Instant(closed_at + int(years * YEAR_MS))
