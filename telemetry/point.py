"""Points, devices, gateways and zones: their ids, and the rules those ids keep.

A point id is opaque and immutable, by convention `place/quantity`; never parse it.
"""

import re
from typing import NewType

PointId = NewType("PointId", str)
ZoneId = NewType("ZoneId", str)
GatewayId = NewType("GatewayId", str)
DeviceId = NewType("DeviceId", str)

NAME_PATTERN = r"^[A-Za-z0-9_-]{1,32}$"
"""Gateway, group, device and zone ids. Stricter than Sparkplug: a dot or a space in a topic closes
the connection on some brokers, so neither is allowed."""

POINT_PATTERN = r"^[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){1,3}$"
"""Point ids: two to four such parts with slashes between them, e.g. `wenhua-road-12/pressure`."""

_NAME = re.compile(NAME_PATTERN)
_POINT = re.compile(POINT_PATTERN)


def is_name(text: str) -> bool:
    """Say whether `text` may be a gateway, group, device or zone id."""
    return _NAME.fullmatch(text) is not None


def is_point_id(text: str) -> bool:
    """Say whether `text` may be a point id."""
    return _POINT.fullmatch(text) is not None
