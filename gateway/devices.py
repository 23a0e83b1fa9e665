"""From what the fitter wrote and the register maps say to lines, devices and their births."""

from collections.abc import Mapping

from gateway.core.device import BornMetric, Device, Reading
from gateway.core.line_timing import LineTiming
from gateway.core.poll_plan import Costs
from gateway.core.pulse import CounterSettings, CounterState
from gateway.line_config import (
    DeviceSection,
    LineSection,
    PointSection,
    flow_metric_name,
    identifying,
)
from gateway.line_loan import Loan
from gateway.modbus import Line
from gateway.port_memory import PortMemory
from gateway.wire import Place
from telemetry.instant import SECOND_MS, Clock
from telemetry.point import PointId
from telemetry.register_map import Register, RegisterMap
from telemetry.units import Quantity, to_house


def open_line(
    section: LineSection, *, clock: Clock, ports: PortMemory | None, loan: Loan | None = None
) -> Line:
    """Return the line of a section; nothing is opened before the first request."""
    place = Place(
        kind=section.kind,
        host=section.host,
        port=section.tcp_port,
        serial=section.serial,
        parity=section.parity or "none",
        stop_bits=section.stop_bits or 1,
        timing=section.timing,
    )
    quiet_s = section.patience_s if section.quiet_s is None else section.quiet_s
    return Line(
        place,
        name=section.name,
        timeout_s=section.patience_s,
        quiet_s=quiet_s,
        connect_pause_s=section.connect_pause_ms / SECOND_MS,
        clock=clock,
        may_open=ports.may_open if section.is_serial and ports is not None else None,
        loan=loan,
    )


def costs_of(section: DeviceSection, sheet: RegisterMap, timing: LineTiming) -> Costs:
    """Return what reading a device costs its line, by its data sheet until it is measured."""
    pause_ms = sheet.pause_ms if section.pause_ms is None else section.pause_ms
    return Costs(
        timing=timing,
        turnaround_s=sheet.behaviour.turnaround_ms / SECOND_MS,
        pause_s=pause_ms / SECOND_MS,
        count_max=section.registers_max or sheet.registers_per_read_max,
        barred=frozenset(),
    )


def device_of(
    section: DeviceSection,
    sheet: RegisterMap,
    timing: LineTiming,
    states: Mapping[PointId, CounterState],
) -> Device:
    """Return a device, its counters where they were left."""
    readings = [
        Reading(
            register=_register(sheet, point),
            point=PointId(point.point),
            counter=_counter(section, point, _register(sheet, point)),
            period_ms=_period_ms(section, point),
            is_low=point.priority == "low",
        )
        for point in section.point
    ]
    return Device(
        id=section.id,
        unit=section.unit,
        costs=costs_of(section, sheet, timing),
        readings=readings,
        states=states,
        identity=identifying(sheet),
        expected_identity=section.identity,
    )


def births_of(section: DeviceSection, sheet: RegisterMap) -> tuple[BornMetric, ...]:
    """Return what the birth of a device says of each of its points."""
    born = []
    for point in section.point:
        register = _register(sheet, point)
        counter = _counter(section, point, register)
        about = {"zone": section.zone, "place": section.place}
        period_ms = _period_ms(section, point)
        if counter is None:
            low, high, step = register.minimum, register.maximum, register.resolution
            born.append(
                BornMetric(
                    name=register.name,
                    point=PointId(point.point),
                    quantity=register.quantity,
                    period_ms=period_ms,
                    minimum=None if low is None else to_house(low, register.unit),
                    maximum=None if high is None else to_house(high, register.unit),
                    resolution=None if step is None else to_house(step, register.unit),
                    **about,
                )
            )
            continue
        born.append(
            BornMetric(
                name=register.name,
                point=counter.point,
                quantity=Quantity.VOLUME,
                period_ms=period_ms,
                minimum=None if counter.runs_backwards else 0.0,
                maximum=None,
                resolution=counter.count_m3,
                **about,
            )
        )
        if counter.flow_point is not None:
            flow_min = -(counter.flow_max_m3h or 0.0) if counter.runs_backwards else 0.0
            born.append(
                BornMetric(
                    name=flow_metric_name(point),
                    point=counter.flow_point,
                    quantity=Quantity.FLOW,
                    period_ms=period_ms,
                    minimum=None if counter.runs_backwards and not flow_min else flow_min,
                    maximum=counter.flow_max_m3h,
                    resolution=counter.flow_resolution_m3h,
                    **about,
                )
            )
    return tuple(born)


def _counter(
    section: DeviceSection, point: PointSection, register: Register
) -> CounterSettings | None:
    if register.rolls_over_at is None:
        return None
    count_m3 = point.count_m3
    if count_m3 is None:
        count_m3 = to_house(register.scale, register.unit)
    return CounterSettings(
        point=PointId(point.point),
        count_m3=count_m3,
        rolls_over_at=register.rolls_over_at,
        period_ms=_period_ms(section, point),
        flow_max_m3h=point.flow_max_m3h,
        flow_point=None if point.flow_point is None else PointId(point.flow_point),
        flow_window_ms=_ms(point.flow_window_s),
        runs_backwards=register.runs_backwards,
    )


def _register(sheet: RegisterMap, point: PointSection) -> Register:
    register = sheet.register(point.register_)
    assert register is not None, point.register_  # `line_problems` has seen to it
    return register


def _period_ms(section: DeviceSection, point: PointSection) -> int:
    return _ms(section.period_s if point.period_s is None else point.period_s)


def _ms(seconds: float) -> int:
    return round(seconds * SECOND_MS)
