"""RTU frames: checksums, requests out of lumps of bytes, and how long they take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer.rtu import FramerRTU

from firmware_sim.core.rtu import Requests, Timing, checksum, framed, is_whole

READ = framed(1, bytes.fromhex("03 0000 0002"))
WRITE = framed(2, bytes.fromhex("10 0001 0002 04 000A 0102"))
IDENTIFY = framed(3, bytes.fromhex("2B0E 01 00"))
UNKNOWN = framed(4, bytes.fromhex("41 01 02 03"))


@given(st.binary(min_size=2, max_size=250))
def test_checksums_agree_with_another_implementation(octets: bytes) -> None:
    assert int.from_bytes(checksum(octets), "big") == FramerRTU.compute_CRC(octets)
    assert is_whole(octets + checksum(octets))


@given(st.lists(st.sampled_from([READ, WRITE, IDENTIFY]), max_size=4), st.data())
def test_requests_are_found_however_their_bytes_come(
    frames: list[bytes], data: st.DataObject
) -> None:
    stream, found, requests = b"".join(frames), [], Requests()
    while stream:
        n = data.draw(st.integers(1, len(stream)))
        found += requests.feed(stream[:n])
        stream = stream[n:]

    assert found == frames
    assert len(requests) == 0


def test_a_spoilt_request_is_thrown_away_at_the_next_silence() -> None:
    requests = Requests()

    assert requests.feed(READ[:-1] + b"\x00") == []
    assert requests.silence() is None
    assert requests.feed(READ) == [READ]


def test_a_function_that_nobody_knows_ends_with_silence() -> None:
    requests = Requests()

    assert requests.feed(UNKNOWN) == []
    assert requests.silence() == UNKNOWN


@pytest.mark.parametrize(
    ("baud", "registers", "per_s"),
    [
        (9600, 2, 36.4),
        (9600, 125, 3.2),
        (19200, 10, 43.6),
        (38400, 60, 24.0),
        (115200, 2, 195.2),
        (115200, 125, 34.9),
    ],
)
def test_a_line_is_as_fast_as_the_standard_allows(baud: int, registers: int, per_s: float) -> None:
    exchange_s = Timing(baud=baud).exchange_s(8, 5 + 2 * registers, turnaround_s=0.0)

    assert 1 / exchange_s == pytest.approx(per_s, abs=0.05)


def test_above_19200_the_gap_is_fixed() -> None:
    assert Timing(baud=9600).gap_s == pytest.approx(3.5 * 11 / 9600)
    assert Timing(baud=38400).gap_s == Timing(baud=115200).gap_s == 0.00175
