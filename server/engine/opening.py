"""From metrics to samples, and from a birth's properties to what a metric is. Never raises."""

import math
from collections.abc import Sequence

from server.engine.nodes import Binding, Device
from telemetry import extension
from telemetry.instant import HOUR_MS, Instant
from telemetry.point import PointId, is_point_id
from telemetry.sample import Quality, Reason, Sample, TimeQuality
from telemetry.sparkplug import DataType, Metric
from telemetry.units import UNITS, Quantity, quantity_of, to_house

AHEAD_MAX_MS = HOUR_MS
"""A sample further ahead of the server's clock than this was not read when it says it was."""

TEXT_MAX = 200
"""Characters of a foreign text that enter a record."""

_REASONS = {reason.value: reason for reason in Reason if reason is not Reason.NONE}
_TIMES = {quality.value: quality for quality in TimeQuality}
_UNCERTAIN = 500

VALUE_MAX = 1e15
"""Nothing that we measure reaches this in its house unit; its square is still a number."""

WHOLE_MAX = 2**31 - 1
"""The largest whole number that a property may say: 24 days in milliseconds."""

_CONTROL = ("mw/", "Node Control/", "Device Control/", "Node Info/", "Properties/")
_TEXTUAL = (
    DataType.STRING,
    DataType.TEXT,
    DataType.UUID,
    DataType.BYTES,
    DataType.FILE,
    DataType.DATASET,
    DataType.TEMPLATE,
    DataType.DATETIME,
)


def sample_of(metric: Metric, binding: Binding, *, at: Instant) -> Sample:
    """Return the sample that a metric carries, at the instant `at`."""
    properties = metric.properties
    quality = Quality.GOOD
    reason = Reason.NONE
    time_quality = TimeQuality.SYNCHRONISED
    if properties:
        quality, reason = _quality(metric)
        said = text_of(metric, extension.TIME_QUALITY)
        time_quality = _TIMES.get(said, TimeQuality.DOUBTFUL) if said else time_quality
    value = _number(metric.value)
    if value is not None and binding.unit:
        value = to_house(value, binding.unit)
    if value is not None and not abs(value) <= VALUE_MAX:
        is_number = math.isfinite(value)
        reason = Reason.OUT_OF_RANGE if is_number else Reason.NOT_A_NUMBER
        quality, value = Quality.BAD, None
    elif value is None or quality is Quality.BAD:
        was_text = metric.value is not None and value is None
        unsaid = Reason.WRONG_REPLY if was_text else Reason.UNKNOWN
        value, quality = None, Quality.BAD
        reason = reason if reason is not Reason.NONE else unsaid
    return Sample(
        point=binding.point,
        at=at,
        value=value,
        quality=quality,
        reason=reason,
        time_quality=time_quality,
    )


def points_in(scan: Sequence[Metric], device: Device) -> tuple[PointId, ...] | None:
    """Return the points of a scan whose next ones need no look at each metric, or nothing.

    So it is when every metric is a point of ours, a double, and already in its house unit.
    """
    points = []
    for metric in scan:
        binding = device.metrics.get(metric.name)
        is_double = device.datatypes.get(metric.name) is DataType.DOUBLE
        if binding is None or binding.is_refused or binding.unit or not is_double:
            return None
        points.append(binding.point)
    return tuple(points)


def _number(value: object) -> float | None:
    if isinstance(value, (int, float)):  # a boolean is 0 or 1
        return float(value)
    return None


def _quality(metric: Metric) -> tuple[Quality, Reason]:
    said = metric.properties.get(extension.QUALITY)
    if said is None or said.value is None or said.value == 192:
        return Quality.GOOD, Reason.NONE
    reason = _REASONS.get(text_of(metric, extension.REASON), Reason.UNKNOWN)
    return (Quality.UNCERTAIN if said.value == _UNCERTAIN else Quality.BAD), reason


def text_of(metric: Metric, name: str) -> str:
    """Return a property that is a text, else nothing."""
    found = metric.properties.get(name)
    return found.value[:TEXT_MAX] if found is not None and isinstance(found.value, str) else ""


def whole_of(metric: Metric, name: str) -> int:
    """Return a property that is a whole number and not absurd, else 0."""
    found = metric.properties.get(name)
    if found is None or not isinstance(found.value, int) or not 0 <= found.value <= WHOLE_MAX:
        return 0
    return found.value


def path_of(metric: Metric, *, edge: str, device: str) -> str:
    """Return the point that a foreign node's metric is to us: its path, the same at every birth.

    Nothing when it is no measurement.
    """
    if metric.name == extension.BDSEQ or metric.name.startswith(_CONTROL):
        return ""
    if metric.datatype is None or metric.datatype in _TEXTUAL or metric.datatype > DataType.FILE:
        return ""
    path = f"{edge}/{device}/{metric.name}" if device else f"{edge}/{metric.name}"
    return path[:TEXT_MAX]


def quantity_and_unit(metric: Metric) -> tuple[str, str]:
    """Return what a metric measures and the unit to convert from; no unit for house units."""
    unit = text_of(metric, extension.UNIT)
    said = text_of(metric, extension.QUANTITY)
    if said:
        known = said in [quantity.value for quantity in Quantity]
        return (said, "") if known else ("", "")
    quantity = quantity_of(unit) if unit in UNITS else Quantity.STATE
    return quantity.value, ("" if unit == quantity.unit or unit not in UNITS else unit)


def binding_of(metric: Metric, *, point: str, is_refused: bool) -> Binding:
    """Return how a metric's values become samples of `point`."""
    quantity, unit = quantity_and_unit(metric)
    is_legal = is_point_id(point) and quantity != ""
    return Binding(point=PointId(point), unit=unit, is_refused=is_refused or not is_legal)
