"""What is said of meters: findings with their reasons in figures."""

from dataclasses import replace

from server.engine.detectors.finding import Finding
from server.engine.effects import AlarmKind
from server.engine.registry import Point
from telemetry.instant import Instant

HIGH, MEDIUM, LOW = 2, 3, 4

CONTINUOUS = "it has gone on for 28 days: it is taken for continuous use from now on"
GRANTED = "it has gone on for 7 days: it is taken for its use from now on"
CHANGED = "the meter was changed in the registry"
GONE = "the meter was taken out of the registry"


def _said(
    point: Point,
    what: str,
    onset: int,
    *because: str,
    severity: int,
    estimate_m3h: float | None = None,
    kind: AlarmKind = AlarmKind.METER_FAULT,
) -> Finding:
    return Finding(
        kind=kind,
        zone=point.zone,
        subject=f"{point.id} {what}".strip(),
        points=(point.id,),
        is_present=True,
        severity=severity,
        onset=Instant(onset),
        because=because,
        estimate_m3h=None if estimate_m3h is None else round(estimate_m3h, 3),
        x=point.x,
        y=point.y,
    )


def never_zero(
    point: Point, onset: int, *, hours: int, least: float, still_days: int, days: int
) -> Finding:
    """Return that a customer's meter has not stood still, though it ordinarily does."""
    return _said(
        point,
        "",
        onset,
        f"{point.id} has not been below {least:.2f} m3/h for {hours} hours",
        f"before that it stood still on {still_days} of {days} days",
        severity=MEDIUM,
        estimate_m3h=least,
        kind=AlarmKind.CUSTOMER_LEAK,
    )


def burst_behind(
    point: Point, onset: int, *, flow: float, minutes: int, most: float, usual: float
) -> Finding:
    """Return that far more runs through a customer's meter than ever did."""
    return _said(
        point,
        "burst",
        onset,
        f"{point.id} has been at {flow:.2f} m3/h for {minutes} minutes,"
        f" {flow / most:.1f} times its most of 28 days, which is {most:.2f} m3/h",
        "it looks like a burst behind the meter",
        severity=HIGH,
        estimate_m3h=max(0.0, flow - usual),
        kind=AlarmKind.CUSTOMER_LEAK,
    )


def stopped(point: Point, onset: int, *, hours: int, pause: int, is_district: bool) -> Finding:
    """Return that a meter has stood still for far longer than it ordinarily does."""
    return _said(
        point,
        "stopped",
        onset,
        f"{point.id} has stood still for {hours} hours; its longest pause of 28 days"
        f" was {pause} hours",
        severity=MEDIUM if is_district else LOW,
    )


def with_reason(finding: Finding, reason: str) -> Finding:
    """Return a finding with one more reason."""
    return replace(finding, because=(*finding.because, reason))


def pressures_hold(level: float, usual: float) -> str:
    """Return the reason that water is still there."""
    return f"the pressures beside it are at {level:.0f} kPa, usually {usual:.0f} kPa"


def reversed_flow(point: Point, onset: int, *, flow: float, minutes: int) -> Finding:
    """Return that water runs backwards through a meter that it never did before."""
    return _said(
        point,
        "reversed",
        onset,
        f"{point.id} has run backwards at {flow:.2f} m3/h for {minutes} minutes;"
        " it never did before",
        "reversed: the meter is the wrong way round, or water flows back",
        severity=MEDIUM,
    )


def implausible(point: Point, onset: int, *, flow: float, minutes: int, most: float) -> Finding:
    """Return that a meter says more than can be."""
    return _said(
        point,
        "implausible",
        onset,
        f"{point.id} has been at {flow:.2f} m3/h for {minutes} minutes,"
        f" {flow / most:.1f} times its most of 28 days, which is {most:.2f} m3/h",
        "so much more at once is the meter's scale, not water",
        severity=MEDIUM,
    )


def too_little(point: Point, onset: int, *, flow: float, hours: int, least: float) -> Finding:
    """Return that a district's meter says less than can be."""
    return _said(
        point,
        "implausible",
        onset,
        f"{point.id} has been at {flow:.2f} m3/h for {hours} hours, below a third of its least hour"
        f" of 28 days, which is {least:.2f} m3/h",
        severity=MEDIUM,
    )


def disagrees(
    point: Point, onset: int, *, flow: float, told: float, hours: int, is_district: bool
) -> Finding:
    """Return that a meter's flow and its total say different things."""
    return _said(
        point,
        "total",
        onset,
        f"{point.id} says {flow:.2f} m3/h, its total {told:.2f} m3/h, for {hours} hours",
        "one of the two has another scale than before, or stands still",
        severity=MEDIUM if is_district else LOW,
    )


def begun_anew(point: Point, onset: Instant, before: float, value: float) -> Finding:
    """Return that a total fell and goes on from there."""
    return _said(
        point,
        "counter",
        onset,
        f"the total of {point.id} fell from {before:.2f} m3 to {value:.2f} m3 and goes on from"
        " there",
        "the counter was reset or replaced",
        severity=LOW,
    )


def restarted(point: Point, onset: Instant) -> Finding:
    """Return that a gateway saw a counter begin anew."""
    return _said(
        point,
        "counter",
        onset,
        f"the gateway says that the counter of {point.id} began anew",
        "the counter was reset or replaced",
        severity=LOW,
    )


def leapt(point: Point, onset: int, *, volume: float, most: float) -> Finding:
    """Return that a total rose at once by more than the meter counts in a day."""
    return _said(
        point,
        "counter",
        onset,
        f"the total of {point.id} rose by {volume:.2f} m3 at once, more than a day at its most of"
        f" {most:.2f} m3/h",
        "the counter was reset or replaced",
        severity=LOW,
    )


def negative_net(zone: str, points: tuple[Point, ...], onset: int, *, net: float) -> Finding:
    """Return that more water leaves a zone than comes in, which no zone without a tank can do."""
    names = ", ".join(p.id for p in points)
    return Finding(
        kind=AlarmKind.METER_FAULT,
        zone=zone,
        subject="zone meters",
        points=tuple(p.id for p in points),
        is_present=True,
        severity=LOW,
        onset=Instant(onset),
        because=(
            f"by its meters zone {zone} gave {-net:.2f} m3/h more than it got, for 2 days: {names}",
            "one of them has the wrong sign, or is the wrong way round",
        ),
    )
