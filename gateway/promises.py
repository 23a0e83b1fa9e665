"""What the points of a gateway promise: their births, how they report, what they cannot say."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from gateway.config import GatewayConfig
from gateway.core.device import BornMetric
from gateway.core.pins import births_of as pin_births
from gateway.core.report_by_exception import Reporting
from gateway.core.sanity import Limits
from gateway.devices import births_of as device_births
from gateway.line_config import DeviceSection, PointSection
from telemetry.instant import SECOND_MS
from telemetry.point import PointId
from telemetry.register_map import RegisterMap


def births_of(
    config: GatewayConfig, maps: Mapping[str, RegisterMap]
) -> dict[str, tuple[BornMetric, ...]]:
    """Return what each device is born with: a point promises no more than it will report."""
    reporting = reporting_of(config)

    def promised(metric: BornMetric) -> BornMetric:
        how = reporting.get(metric.point)
        return metric if how is None else replace(metric, period_ms=how.silence_max_ms)

    born = {d.id: device_births(d, maps[d.map]) for line in config.line for d in line.device}
    born = {device: tuple(map(promised, metrics)) for device, metrics in born.items()}
    return born | {chip.id: pin_births(chip) for chip in config.gpio}


def reporting_of(config: GatewayConfig) -> dict[PointId, Reporting]:
    """Return how the points report that do so by exception."""
    found = {}
    for device, point in _configured(config):
        if point.report is None:
            continue
        period_s = device.period_s if point.period_s is None else point.period_s
        period_ms = _ms(period_s)
        how = Reporting(
            deadband=point.report.deadband,
            silence_max_ms=max(_ms(point.report.silence_max_s), period_ms),
            period_ms=period_ms,
        )
        found[PointId(point.point)] = how
    return found


def limits_of(config: GatewayConfig) -> dict[PointId, Limits]:
    """Return what the points cannot truly say, where that is known."""
    found = {}
    for _, point in _configured(config):
        known = point.sanity
        if known is None:
            continue
        frozen_s = known.frozen_after_s
        found[PointId(point.point)] = Limits(
            minimum=known.minimum,
            maximum=known.maximum,
            rate_max_per_s=known.rate_max_per_s,
            frozen_after_ms=None if frozen_s is None else _ms(frozen_s),
            zero_is_missing=known.zero_is_missing,
        )
    return found


def _configured(config: GatewayConfig) -> Iterator[tuple[DeviceSection, PointSection]]:
    for line in config.line:
        for device in line.device:
            for point in device.point:
                yield device, point


def _ms(seconds: float) -> int:
    return round(seconds * SECOND_MS)
