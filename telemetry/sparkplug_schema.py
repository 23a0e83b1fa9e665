"""The Sparkplug B payload as protobuf messages, described at run time from its field numbers.

There is no generated file to keep in step with the protobuf runtime. The edition gives every field
a presence of its own and has strings checked for UTF-8 while parsing. Values that Mainwatch does
not look into (data sets, templates, nested property sets, metadata) are length-delimited on the
wire and are declared as bytes here: they are never parsed, so they cannot nest without end.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "mainwatch.sparkplug"

_Field = descriptor_pb2.FieldDescriptorProto

_UINT32 = _Field.TYPE_UINT32
_UINT64 = _Field.TYPE_UINT64
_FLOAT = _Field.TYPE_FLOAT
_DOUBLE = _Field.TYPE_DOUBLE
_BOOL = _Field.TYPE_BOOL
_STRING = _Field.TYPE_STRING
_BYTES = _Field.TYPE_BYTES

_PROPERTY_VALUE = (
    ("type", 1, _UINT32),
    ("is_null", 2, _BOOL),
    ("int_value", 3, _UINT32),
    ("long_value", 4, _UINT64),
    ("float_value", 5, _FLOAT),
    ("double_value", 6, _DOUBLE),
    ("boolean_value", 7, _BOOL),
    ("string_value", 8, _STRING),
    ("propertyset_value", 9, _BYTES),
    ("propertysets_value", 10, _BYTES),
)

_METRIC = (
    ("name", 1, _STRING),
    ("alias", 2, _UINT64),
    ("timestamp", 3, _UINT64),
    ("datatype", 4, _UINT32),
    ("is_historical", 5, _BOOL),
    ("is_transient", 6, _BOOL),
    ("is_null", 7, _BOOL),
    ("metadata", 8, _BYTES),
    ("int_value", 10, _UINT32),
    ("long_value", 11, _UINT64),
    ("float_value", 12, _FLOAT),
    ("double_value", 13, _DOUBLE),
    ("boolean_value", 14, _BOOL),
    ("string_value", 15, _STRING),
    ("bytes_value", 16, _BYTES),
    ("dataset_value", 17, _BYTES),
    ("template_value", 18, _BYTES),
)

_PAYLOAD = (
    ("timestamp", 1, _UINT64),
    ("seq", 3, _UINT64),
    ("uuid", 4, _STRING),
    ("body", 5, _BYTES),
)


def _describe(
    file: descriptor_pb2.FileDescriptorProto,
    name: str,
    fields: tuple[tuple[str, int, "_Field.Type.ValueType"], ...],
) -> descriptor_pb2.DescriptorProto:
    """Add a message; its fields named `..._value` exclude each other in the oneof `value`."""
    message = file.message_type.add(name=name)
    if any(field.endswith("_value") for field, _, _ in fields):
        message.oneof_decl.add(name="value")
    for field, number, kind in fields:
        added = message.field.add(name=field, number=number, type=kind, label=_Field.LABEL_OPTIONAL)
        if field.endswith("_value"):
            added.oneof_index = 0
    return message


def _nest(
    message: descriptor_pb2.DescriptorProto,
    field: str,
    number: int,
    of: str,
    label: "_Field.Label.ValueType",
) -> None:
    """Add a field that holds another message."""
    message.field.add(
        name=field,
        number=number,
        type=_Field.TYPE_MESSAGE,
        type_name=f".{PACKAGE}.{of}",
        label=label,
    )


def _build() -> Any:
    """Return the class of the payload message; the other classes hang on its fields."""
    file = descriptor_pb2.FileDescriptorProto(
        name="mainwatch/sparkplug.proto",
        package=PACKAGE,
        syntax="editions",
        edition=descriptor_pb2.EDITION_2023,
    )
    _describe(file, "PropertyValue", _PROPERTY_VALUE)
    properties = _describe(file, "PropertySet", ())
    properties.field.add(name="keys", number=1, type=_STRING, label=_Field.LABEL_REPEATED)
    _nest(properties, "values", 2, "PropertyValue", _Field.LABEL_REPEATED)
    metric = _describe(file, "Metric", _METRIC)
    _nest(metric, "properties", 9, "PropertySet", _Field.LABEL_OPTIONAL)
    payload = _describe(file, "Payload", _PAYLOAD)
    _nest(payload, "metrics", 2, "Metric", _Field.LABEL_REPEATED)
    # A pool of our own: the names cannot clash with a Sparkplug schema that another library loads.
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Payload"))


PayloadMessage = _build()
"""The class of a payload. Its values are read and written by `telemetry.sparkplug` only."""
