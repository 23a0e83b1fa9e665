"""What a fitter may write, and what is said of every mistake."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config import GatewayConfig, problems
from telemetry.register_map import Form, Register, RegisterMap
from tests.unit.gateway.field import MAPS, config_of

SHEETS = MAPS | {
    "narrow": RegisterMap(
        model="narrow",
        description="Reads one register at a time",
        registers=(Register(name="wide", address=0, form=Form.FLOAT32, unit="bar"),),
        registers_per_read_max=1,
    ),
    "odd": RegisterMap(
        model="odd",
        description="A counter in floating point",
        registers=(
            Register(name="count", address=0, form=Form.FLOAT32, unit="m3", rolls_over_at=1000),
            Register(name="flow", address=2, form=Form.FLOAT32, unit="m3/h"),
        ),
    ),
    "endless": RegisterMap(
        model="endless",
        description="A counter that no database can follow",
        registers=(
            Register(name="pulses", address=0, form=Form.UINT64, unit="m3", rolls_over_at=2**64),
        ),
    ),
}


def changed(**changes: Any) -> GatewayConfig:
    """Return the good configuration with keys like `line__0__device__1__unit` changed."""
    body = config_of(Path("data"), modbus=15020, broker=18830).model_dump(by_alias=True)
    for path, value in changes.items():
        *parents, last = path.split("__")
        at: Any = body
        for name in parents:
            at = list(at)[int(name)] if name.isdigit() else at[name]
        at[last] = value
    return GatewayConfig.model_validate(body)


PT, METER = "line converter-1, device pt-1: ", "line converter-1, device customer-07: "
FIRST = "line__0__device__0"
SECOND = "line__0__device__1"


def test_a_good_configuration_has_no_problems():
    assert problems(changed(), SHEETS) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {f"{SECOND}__unit": 1},
            METER + "line[0].device[1].unit: unit 1 is already used by line[0].device[0].unit",
        ),
        (
            {f"{SECOND}__id": "pt-1"},
            PT + "line[0].device[1].id: device 'pt-1' is already used by line[0].device[0].id",
        ),
        (
            {f"{SECOND}__point__0__flow_point": "wenhua-road-12/pressure"},
            (
                METER + "line[0].device[1].point[0].flow_point: point 'wenhua-road-12/pressure' is "
                "already used by line[0].device[0].point[0].point"
            ),
        ),
        (
            {f"{FIRST}__map": "barometer"},
            (
                PT + "line[0].device[0].map: expected one of counter, endless, narrow, odd, "
                "transmitter, was 'barometer'"
            ),
        ),
        (
            {f"{FIRST}__point__0__register": "level"},
            (
                PT + "line[0].device[0].point[0].register: expected one of pressure of map"
                " 'transmitter', was 'level'"
            ),
        ),
        (
            {f"{FIRST}__map": "narrow", f"{FIRST}__point__0__register": "wide"},
            (
                PT
                + "line[0].device[0].point[0].register: 'wide' takes 2 registers, but map 'narrow'"
                " allows 1 in one read"
            ),
        ),
        (
            {f"{FIRST}__point__0__pulse_m3": 0.01},
            (
                PT
                + "line[0].device[0].point[0].pulse_m3: expected a counter, but register 'pressure'"
                " has no rolls_over_at"
            ),
        ),
        (
            {f"{FIRST}__map": "odd", f"{FIRST}__point__0__register": "count"},
            PT + "line[0].device[0].point[0].register: expected whole counts, was float32",
        ),
        (
            {
                "broker__host": "broker.example",
                "broker__username": "gw-01",
                "broker__password_file": "password",
            },
            "broker.ca_file: required as broker.host 'broker.example' is not loopback",
        ),
        (
            {"broker__host": "10.1.2.3", "broker__ca_file": "ca.pem"},
            (
                "broker: expected username and password_file, or cert_file and key_file, as"
                " broker.host '10.1.2.3' is not loopback"
            ),
        ),
        (
            {"broker__host": "broker..example"},
            "broker.host: expected a host name or an address, was 'broker..example'",
        ),
        (
            {"line__0__host": "converter 1"},
            "line converter-1: line[0].host: expected a host name or an address, was 'converter 1'",
        ),
        (
            {f"{SECOND}__map": "endless"},
            (
                METER
                + "line[0].device[1].point[0].register: expected a counter that rolls over at 2 to"
                " 9223372036854775808, was 18446744073709551616"
            ),
        ),
        ({"line": []}, "line: expected at least one [[line]] or [[gpio]], found none"),
        (
            {"line__0__device": []},
            "line converter-1: line[0].device: expected at least one [[line.device]], found none",
        ),
        (
            {f"{FIRST}__point": []},
            PT + "line[0].device[0].point: expected 1 to 100 of [[line.device.point]], found 0",
        ),
        ({"gateway__data": ""}, 'gateway.data: expected a folder of its own, was ""'),
        (
            {"gateway__primary_host": ""},
            (
                'gateway.primary_host: expected the id of the Mainwatch server, was "";'
                ' only with acknowledgement "none" there may be no host'
            ),
        ),
    ],
)
def test_a_mistake_of_sense_is_one_sentence_with_its_key(changes, expected):
    assert [expected] == problems(changed(**changes), SHEETS)


def test_the_same_register_feeds_only_one_point():
    device = (
        config_of(Path("d"), modbus=1502, broker=1883).line[0].device[0].model_dump(by_alias=True)
    )
    twice = [*device["point"], {"register": "pressure", "point": "elsewhere/pressure"}]
    config = changed(**{f"{FIRST}__point": twice})

    assert problems(config, SHEETS) == [
        (
            PT + "line[0].device[0].point[1].register: 'pressure' is already used by"
            " line[0].device[0].point[0].register"
        )
    ]


def test_two_lines_to_one_converter_are_one_line_too_many():
    line = config_of(Path("d"), modbus=1502, broker=1883).line[0].model_dump(by_alias=True)
    config = changed(line=[line, {**line, "name": "converter-2", "device": [line["device"][0]]}])

    assert (
        "line converter-2: line[1].port: 127.0.0.1:1502 is already used by line[0].port"
        in problems(config, SHEETS)
    )


@pytest.mark.parametrize(
    ("changes", "location"),
    [
        ({f"{FIRST}__period_s": 0.1}, ("line", 0, "device", 0, "period_s")),
        ({f"{FIRST}__id": "pt 1"}, ("line", 0, "device", 0, "id")),
        ({f"{FIRST}__unit": 256}, ("line", 0, "device", 0, "unit")),
        ({f"{FIRST}__point__0__point": "pressure"}, ("line", 0, "device", 0, "point", 0, "point")),
        ({f"{FIRST}__colour": "red"}, ("line", 0, "device", 0, "colour")),
        ({"gateway__id": "gw.01"}, ("gateway", "id")),
        ({"outbox__max_mb": 0}, ("outbox", "max_mb")),
    ],
)
def test_a_mistake_of_shape_is_refused_with_its_place(changes, location):
    with pytest.raises(ValidationError) as caught:
        changed(**changes)

    assert [location] == [e["loc"] for e in caught.value.errors()]
