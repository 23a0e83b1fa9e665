"""What the fitter writes about the gateway itself: its clock, pins, health, what it reports.

Sections of the gateway's file, put together in `gateway.config`.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from telemetry.point import NAME_PATTERN, POINT_PATTERN

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
PointName = Annotated[str, Field(pattern=POINT_PATTERN)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


SECTION = ConfigDict(frozen=True, extra="forbid")
"""A table of the file: nothing unknown in it, and nobody changes it later."""


class Section(BaseModel):
    """A table of the file."""

    model_config = SECTION


class ClockSection(Section):
    """Who says that the clock is right: the kernel, or "always" where somebody else keeps it.

    The latter is for containers and virtual machines, whose kernel does not know.
    """

    trust: Literal["kernel", "always"] = "kernel"


class HealthSection(Section):
    """Where the gateway tells how it is; on loopback only. Without a port nobody can ask."""

    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None


class ReportSection(Section):
    """Report by exception: a value is sent when it moved by more than `deadband`.

    In the house unit of the point. Something is sent after `silence_max_s` at the latest, and at
    once when the quality changes.
    """

    deadband: NotNegative
    silence_max_s: Annotated[float, Field(ge=1, le=86_400)] = 600.0


class SanitySection(Section):
    """What a point of this place cannot truly say, in its house unit; nothing is assumed.

    Outside of `minimum` to `maximum`, faster than `rate_max_per_s` or unchanged to the last digit
    for `frozen_after_s`, a value is uncertain. With `zero_is_missing`, exactly 0 is no value: some
    devices say so when their sensor does not answer.
    """

    minimum: Finite | None = None
    maximum: Finite | None = None
    rate_max_per_s: Positive | None = None
    frozen_after_s: Annotated[float, Field(ge=1, le=31_536_000)] | None = None
    zero_is_missing: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> "SanitySection":
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            raise ValueError(f"expected minimum below maximum, was {self.minimum}, {self.maximum}")
        return self


class PulseSection(Section):
    """A pulse contact on a pin: one edge is `pulse_m3`. Its total begins at `start_m3`.

    With `flow_point` it feeds a second point: the flow, by the difference over `flow_window_s`.
    """

    pin: Annotated[int, Field(ge=0, le=511)]
    point: PointName
    pulse_m3: Positive
    start_m3: NotNegative = 0.0
    edge: Literal["falling", "rising"] = "falling"
    bias: Literal["pull_up", "pull_down", "none"] = "pull_up"
    debounce_ms: Annotated[int, Field(ge=0, le=1_000)] = 20
    flow_point: PointName | None = None
    flow_window_s: Annotated[float, Field(ge=1, le=3_600)] = 60.0
    flow_max_m3h: Positive | None = None


class ContactSection(Section):
    """A contact on a pin: 1 when it is as `active` says, else 0. Said at once when it changes."""

    pin: Annotated[int, Field(ge=0, le=511)]
    point: PointName
    active: Literal["low", "high"] = "low"
    bias: Literal["pull_up", "pull_down", "none"] = "pull_up"
    debounce_ms: Annotated[int, Field(ge=0, le=1_000)] = 50


class GpioSection(Section):
    """The pins of one GPIO chip, which are one device to the server.

    Totals and flows are said every `period_s`, contacts at least as rarely as `silence_max_s`.
    """

    id: Name
    chip: Annotated[str, Field(pattern=r"^/dev/[A-Za-z0-9_/-]+$")] = "/dev/gpiochip0"
    zone: Name
    place: Annotated[str, Field(max_length=64)] = ""
    period_s: Annotated[float, Field(ge=0.2, le=3_600)] = 1.0
    silence_max_s: Annotated[float, Field(ge=1, le=86_400)] = 600.0
    pulse: tuple[PulseSection, ...] = ()
    contact: tuple[ContactSection, ...] = ()

    def points(self) -> list[tuple[str, str]]:
        """Return every point that the chip feeds, after the key that names it."""
        found = []
        for k, pulse in enumerate(self.pulse):
            found.append((f"pulse[{k}].point", pulse.point))
            if pulse.flow_point is not None:
                found.append((f"pulse[{k}].flow_point", pulse.flow_point))
        found += [(f"contact[{k}].point", c.point) for k, c in enumerate(self.contact)]
        return found


def gpio_problems(
    chips: Sequence[GpioSection], *, devices: Sequence[str], points: Sequence[str]
) -> list[str]:
    """Return every mistake in the chips, given the devices and points of the lines."""
    found: list[str] = []
    ids = dict.fromkeys(devices, "a line")
    names = dict.fromkeys(points, "a line")

    def once(seen: dict[str, str], value: str, key: str, what: str) -> None:
        if value in seen:
            found.append(f"{key}: {what} {value} is already used by {seen[value]}")
        seen.setdefault(value, key)

    for n, chip in enumerate(chips):
        key = f"gpio[{n}]"
        once(ids, chip.id, f"{key}.id", "device")
        if not chip.pulse and not chip.contact:
            found.append(f"{key}: expected at least one pulse or contact, found none")
        pins: dict[str, str] = {}
        for k, pulse in enumerate(chip.pulse):
            once(pins, str(pulse.pin), f"{key}.pulse[{k}].pin", "pin")
        for k, contact in enumerate(chip.contact):
            once(pins, str(contact.pin), f"{key}.contact[{k}].pin", "pin")
        for where, point in chip.points():
            once(names, point, f"{key}.{where}", "point")
    return found
