"""The responder: every function and refusal, and words that another implementation agrees with."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.bit_message import ReadDiscreteInputsResponse
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse

from firmware_sim.core.slave import (
    COILS,
    DISCRETE_INPUTS,
    HOLDING,
    INPUT,
    Refusal,
    Refused,
    Slave,
)

IDENTITY = (b"Maker", b"PT-16", b"2.4", b"", b"Transmitter", b"PT")


class Written:
    """Takes writes down, and refuses the value 666."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int, tuple[int, ...]]] = []

    def __call__(self, table: int, address: int, values: tuple[int, ...]) -> None:
        if 666 in values:
            raise Refused(Refusal.DEVICE_FAILURE)
        self.found.append((table, address, values))


def slave(write: Written | None = None, **more: int) -> Slave:
    images = {
        HOLDING: {a: 0x1100 + a for a in range(10)},
        INPUT: {a: 0x2200 + a for a in range(5, 8)},
        COILS: {a: a % 2 for a in range(20)},
        DISCRETE_INPUTS: {a: int(a % 3 == 0) for a in range(20)},
    }
    return Slave(images, identity=IDENTITY, on_write=write, **more)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("03 0000 0002", "03 04 1100 1101"),
        ("03 0009 0001", "03 02 1109"),
        ("04 0005 0003", "04 06 2205 2206 2207"),
        ("01 0000 000A", "01 02 AA 02"),
        ("02 0000 0008", "02 01 49"),
        ("02 0003 0003", "02 01 01"),
        ("06 0003 1234", "06 0003 1234"),
        ("10 0001 0002 04 000A 0102", "10 0001 0002"),
        ("05 0004 FF00", "05 0004 FF00"),
        ("0F 0000 000A 02 CD01", "0F 0000 000A"),
        ("2B0E 04 04", "2B0E 04 82 00 00 01 04 0B 5472616E736D6974746572"),
    ],
)
def test_a_right_request_is_answered_by_the_letter(asked: str, answered: str) -> None:
    assert slave(Written()).answer(bytes.fromhex(asked)).hex() == bytes.fromhex(answered).hex()


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("03 0009 0002", Refusal.ILLEGAL_ADDRESS),  # the last of them is not there
        ("03 FFFF 0001", Refusal.ILLEGAL_ADDRESS),
        ("04 0000 0001", Refusal.ILLEGAL_ADDRESS),
        ("03 0000 0000", Refusal.ILLEGAL_VALUE),
        ("03 0000 007E", Refusal.ILLEGAL_VALUE),  # 126
        ("01 0000 07D1", Refusal.ILLEGAL_VALUE),  # 2001
        ("03 0000", Refusal.ILLEGAL_VALUE),
        ("01 0014 0001", Refusal.ILLEGAL_ADDRESS),
        ("05 0004 FF01", Refusal.ILLEGAL_VALUE),
        ("05 0032 FF00", Refusal.ILLEGAL_ADDRESS),
        ("06 0032 0001", Refusal.ILLEGAL_ADDRESS),
        ("06 0003 029A", Refusal.DEVICE_FAILURE),
        ("10 0001 0002 03 000A 0102", Refusal.ILLEGAL_VALUE),
        ("10 0001 0000 00", Refusal.ILLEGAL_VALUE),
        ("0F 0000 000A 01 CD", Refusal.ILLEGAL_VALUE),
        ("2B0E 05 00", Refusal.ILLEGAL_VALUE),
        ("2B0E 04 09", Refusal.ILLEGAL_ADDRESS),
        ("2B0D 04 00", Refusal.ILLEGAL_FUNCTION),
        ("07", Refusal.ILLEGAL_FUNCTION),
        ("", Refusal.ILLEGAL_FUNCTION),
    ],
)
def test_a_wrong_request_is_refused_with_its_reason(asked: str, code: Refusal) -> None:
    pdu = bytes.fromhex(asked)

    assert slave(Written()).answer(pdu) == bytes([(pdu[0] if pdu else 0) | 0x80, code])


def test_writes_arrive_with_their_values() -> None:
    write = Written()
    device = slave(write)
    for asked in (
        "06 0003 1234",
        "10 0001 0002 04 000A 0102",
        "05 0004 FF00",
        "0F 0001 0003 01 05",
    ):
        device.answer(bytes.fromhex(asked))

    assert write.found == [
        (HOLDING, 3, (0x1234,)),
        (HOLDING, 1, (0x000A, 0x0102)),
        (COILS, 4, (1,)),
        (COILS, 1, (1, 0, 1)),
    ]


def test_a_device_that_takes_no_writes_does_not_know_the_functions() -> None:
    for asked in ("06 0003 1234", "10 0001 0001 02 000A", "05 0004 FF00", "0F 0000 0001 01 01"):
        pdu = bytes.fromhex(asked)
        assert slave().answer(pdu) == bytes([pdu[0] | 0x80, Refusal.ILLEGAL_FUNCTION])


def test_a_device_without_tables_or_name_does_not_know_their_functions() -> None:
    bare = Slave({HOLDING: {0: 1}})

    for asked in ("01 0000 0001", "02 0000 0001", "2B0E 01 00"):
        assert bare.answer(bytes.fromhex(asked))[1] == Refusal.ILLEGAL_FUNCTION
    assert bare.answer(bytes.fromhex("04 0000 0001"))[1] == Refusal.ILLEGAL_ADDRESS


def test_a_device_reads_no_more_at_once_than_its_sheet_says() -> None:
    narrow = slave(registers_per_read_max=4)

    assert narrow.answer(bytes.fromhex("03 0000 0004"))[0] == 3
    assert narrow.answer(bytes.fromhex("03 0000 0005"))[1] == Refusal.ILLEGAL_VALUE


def test_long_identities_come_in_parts() -> None:
    texts = tuple(bytes([0x41 + n]) * 100 for n in range(6))
    device = Slave({}, identity=texts)
    found, following = {}, 0
    for _ in range(6):
        reply = device.answer(bytes((43, 14, 2, following)))
        assert len(reply) <= 253
        more, following, count = reply[4:7]
        at = 7
        for _ in range(count):
            n, length = reply[at], reply[at + 1]
            found[n] = reply[at + 2 : at + 2 + length]
            at += 2 + length
        assert at == len(reply)
        if not more:
            break

    assert tuple(found[n] for n in range(6)) == texts


@given(st.dictionaries(st.integers(0, 300), st.integers(0, 65535), max_size=200), st.data())
def test_reads_agree_with_another_implementation(
    image: dict[int, int], data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, 300))
    count = data.draw(st.integers(1, 125))
    reply = Slave({HOLDING: image}).answer(struct.pack(">BHH", 3, first, count))
    decoded = DecodePDU(is_server=False).decode(reply)

    wanted = range(first, first + count)
    if all(a in image for a in wanted):
        assert isinstance(decoded, ReadHoldingRegistersResponse)
        assert decoded.registers == [image[a] for a in wanted]
    else:
        assert decoded is not None
        assert decoded.isError()


@given(st.lists(st.booleans(), min_size=1, max_size=100))
def test_bits_agree_with_another_implementation(bits: list[bool]) -> None:
    device = Slave({DISCRETE_INPUTS: {a: int(b) for a, b in enumerate(bits)}})
    decoded = DecodePDU(is_server=False).decode(device.answer(struct.pack(">BHH", 2, 0, len(bits))))

    assert isinstance(decoded, ReadDiscreteInputsResponse)
    assert decoded.bits[: len(bits)] == bits


@given(st.binary(max_size=260))
def test_whatever_is_asked_the_answer_is_a_reply_or_an_exception(pdu: bytes) -> None:
    reply = slave(Written()).answer(pdu)

    assert 2 <= len(reply) <= 253
    function = pdu[0] if pdu else 0
    assert reply[0] in {function, function | 0x80}
