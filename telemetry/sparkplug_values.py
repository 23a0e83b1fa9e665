"""Values of Sparkplug's types: which field of the wire holds them, and what each may be."""

import math
from enum import IntEnum
from typing import Any

from telemetry.errors import ContractError


class DataType(IntEnum):
    """Sparkplug's types. The values of those from DATASET on, BYTES and FILE apart, stay bytes."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14
    UUID = 15
    DATASET = 16
    BYTES = 17
    FILE = 18
    TEMPLATE = 19
    PROPERTY_SET = 20
    PROPERTY_SET_LIST = 21
    INT8_ARRAY = 22
    INT16_ARRAY = 23
    INT32_ARRAY = 24
    INT64_ARRAY = 25
    UINT8_ARRAY = 26
    UINT16_ARRAY = 27
    UINT32_ARRAY = 28
    UINT64_ARRAY = 29
    FLOAT_ARRAY = 30
    DOUBLE_ARRAY = 31
    BOOLEAN_ARRAY = 32
    STRING_ARRAY = 33
    DATETIME_ARRAY = 34


Scalar = int | float | bool | str | bytes


def write_value(
    to: Any, datatype: DataType, value: Scalar | None, fields: dict[DataType, str], where: str
) -> None:
    """Write a value into the field of its type. Raises `ValueError`."""
    if value is None:
        to.is_null = True
        return
    if datatype is DataType.DOUBLE and type(value) is float:  # nearly every sample
        to.double_value = value
        return
    name = fields.get(datatype)
    if name is None:
        raise ValueError(f"{where!r}: expected a datatype that has a place here, was {datatype!r}")
    if datatype in _BITS:
        _, lowest, highest = _BITS[datatype]
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise ValueError(
                f"{where!r}: expected {datatype.name} in {lowest} to {highest}, was {value!r}"
            )
        # A negative number is written in the width of its own type, which every reader takes.
        value &= highest - lowest
    elif name in ("float_value", "double_value"):
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError(f"{where!r}: expected {datatype.name}, was {value!r}")
        value = _floating(value, datatype, where)
    elif not isinstance(value, _PYTHON_TYPES[name]):
        raise ValueError(f"{where!r}: expected {datatype.name}, was {value!r:.80}")
    setattr(to, name, value)


def _floating(value: float, datatype: DataType, where: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{where!r}: expected {datatype.name}, was {value!r:.80}") from None
    if datatype is DataType.FLOAT and math.isfinite(number) and abs(number) > _FLOAT_MAX:
        raise ValueError(f"{where!r}: expected FLOAT up to {_FLOAT_MAX}, was {number}")
    return number


def read_datatype(code: int, where: str) -> DataType:
    """Return the type of that number. Raises `ContractError`."""
    datatype = _DATATYPES.get(code)
    if datatype is None:
        raise ContractError(f"{where!r}: expected a datatype in 1 to 34, was {code}")
    return datatype


def read_value(
    of: Any, datatype: DataType | None, fields: dict[DataType, str], where: str
) -> Scalar | None:
    """Read a value as its type says, wherever a foreign node may have put it.

    Some write 32-bit numbers into the 64-bit field or a double for a float, some extend the sign
    of a negative number to the width of the field, some leave out a null without saying so.
    Raises `ContractError`.
    """
    written = of.WhichOneof("value")
    if written is None:
        return None
    value: Scalar = getattr(of, written)
    if datatype is None:
        return value
    expected = fields.get(datatype)
    if expected in _WHOLE and written in _WHOLE:
        return _read_whole(value, _WHOLE[written], datatype, where)
    if written == expected or (expected in _FLOATING and written in _FLOATING):
        return value
    raise ContractError(f"{where!r}: expected {datatype.name}, was {written} {value!r:.80}")


def _read_whole(value: Any, width: int, datatype: DataType, where: str) -> int:
    bits, lowest, highest = _BITS[datatype]
    number: int = value
    if lowest < 0 and number > highest:
        number -= 1 << (bits if number < 1 << bits else width)
    if not lowest <= number <= highest:
        raise ContractError(f"{where!r}: expected {datatype.name}, was {value}")
    return number


_DATATYPES = {int(datatype): datatype for datatype in DataType}

_BITS = {
    DataType.INT8: (8, -(1 << 7), (1 << 7) - 1),
    DataType.INT16: (16, -(1 << 15), (1 << 15) - 1),
    DataType.INT32: (32, -(1 << 31), (1 << 31) - 1),
    DataType.INT64: (64, -(1 << 63), (1 << 63) - 1),
    DataType.UINT8: (8, 0, (1 << 8) - 1),
    DataType.UINT16: (16, 0, (1 << 16) - 1),
    DataType.UINT32: (32, 0, (1 << 32) - 1),
    DataType.UINT64: (64, 0, (1 << 64) - 1),
    DataType.DATETIME: (64, 0, (1 << 64) - 1),
}
"""Whole numbers: their width, the lowest and the highest."""

_WHOLE = {"int_value": 32, "long_value": 64}
"""The fields of whole numbers and how many bits they hold."""

_FLOATING = ("float_value", "double_value")
_FLOAT_MAX = 3.4028234663852886e38

_COMMON_FIELDS = {
    **{d: "int_value" if bits <= 32 else "long_value" for d, (bits, _, _) in _BITS.items()},
    DataType.FLOAT: "float_value",
    DataType.DOUBLE: "double_value",
    DataType.BOOLEAN: "boolean_value",
    DataType.STRING: "string_value",
    DataType.TEXT: "string_value",
    DataType.UUID: "string_value",
}

METRIC_FIELDS = {
    **_COMMON_FIELDS,
    **{d: "bytes_value" for d in DataType if d >= DataType.INT8_ARRAY},
    DataType.BYTES: "bytes_value",
    DataType.FILE: "bytes_value",
    DataType.DATASET: "dataset_value",
    DataType.TEMPLATE: "template_value",
}

PROPERTY_FIELDS = {
    **_COMMON_FIELDS,
    DataType.PROPERTY_SET: "propertyset_value",
    DataType.PROPERTY_SET_LIST: "propertysets_value",
}

_PYTHON_TYPES: dict[str, type] = {
    "boolean_value": bool,
    "string_value": str,
    "bytes_value": bytes,
    "dataset_value": bytes,
    "template_value": bytes,
    "propertyset_value": bytes,
    "propertysets_value": bytes,
}
