"""Ranges of offsets, against a model built of sets, and their form on the wire."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.errors import ContractError
from telemetry.ranges import RANGES_MAX, Ranges, decode_ranges, encode_ranges

number = st.integers(0, 60)
steps = st.lists(
    st.tuples(st.just("add"), number, number) | st.tuples(st.just("remove"), number, number),
    max_size=25,
)


@given(steps, number)
@settings(max_examples=300)
def test_ranges_are_a_set_of_numbers(steps: list[tuple[str, int, int]], asked: int) -> None:
    ranges, model = Ranges(), set[int]()
    for step, lo, hi in steps:
        if step == "add":
            new = ranges.add(lo, hi)

            assert set(range(lo, hi)) - model == numbers(new)
            assert_sorted_and_apart(new)
            model |= set(range(lo, hi))
        else:
            ranges.remove_below(lo)
            model = {n for n in model if n >= lo}

        assert numbers(ranges) == model
        assert_sorted_and_apart(ranges)
        assert len(list(ranges)) == len(ranges)
        assert next(n for n in range(asked, 200) if n not in model) == ranges.end_of_prefix(asked)


def numbers(ranges: Ranges | tuple[tuple[int, int], ...]) -> set[int]:
    return {n for lo, hi in ranges for n in range(lo, hi)}


def assert_sorted_and_apart(ranges: Ranges | tuple[tuple[int, int], ...]) -> None:
    ends = [end for pair in ranges for end in pair]

    assert ends == sorted(set(ends))


def test_ranges_of_the_same_numbers_are_equal() -> None:
    one, other = Ranges(), Ranges()
    one.add(0, 5)
    other.add(3, 5)
    other.add(0, 3)

    assert one == other
    assert one != Ranges()
    assert one != [(0, 5)]
    assert repr(one) == "Ranges([(0, 5)])"


@given(
    st.integers(0, 2**63),
    st.lists(st.tuples(st.integers(0, 2**40), st.integers(1, 2**40)), max_size=RANGES_MAX),
)
def test_ranges_come_back_from_the_wire(base: int, distances: list[tuple[int, int]]) -> None:
    ranges, at = [], base
    for gap, length in distances:
        ranges.append((at + gap, at + gap + length))
        at += gap + length

    assert decode_ranges(encode_ranges(ranges, base=base), base=base) == tuple(ranges)


def test_only_the_lowest_ranges_are_sent() -> None:
    ranges = [(10 * n, 10 * n + 1) for n in range(1, RANGES_MAX + 5)]

    assert decode_ranges(encode_ranges(ranges, base=0), base=0) == tuple(ranges[:RANGES_MAX])


@pytest.mark.parametrize(
    "ranges", [[(9, 12)], [(11, 11)], [(20, 22), (21, 23)], [(30, 31), (20, 21)], [(11, 2**64)]]
)
def test_ranges_that_are_none_are_our_mistake(ranges: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="expected a range that begins at"):
        encode_ranges(ranges, base=10)


@pytest.mark.parametrize(
    ("data", "because"),
    [
        (b"\x01", "end within one"),
        (b"\x01\x80", "end within one"),
        (b"\x01\x00", "expected a range of offsets, was 11 to 11"),
        (b"\x01" + b"\xff" * 10, "at most 64 bits"),
        (b"\x01" + b"\xff" * 9 + b"\x01", "expected a range of offsets"),
        (b"\x01\x01" * (RANGES_MAX + 1), "at most 32 ranges"),
    ],
)
def test_bytes_that_are_no_ranges_are_a_contract_error(data: bytes, because: str) -> None:
    with pytest.raises(ContractError, match=because):
        decode_ranges(data, base=10)


@given(st.binary(max_size=80), st.integers(0, 2**64 - 1))
def test_random_bytes_are_ranges_or_a_contract_error(data: bytes, base: int) -> None:
    try:
        found = decode_ranges(data, base=base)
    except ContractError:
        return

    assert_sorted_by_gap(found, base)


def assert_sorted_by_gap(found: tuple[tuple[int, int], ...], base: int) -> None:
    at = base
    for lo, hi in found:
        assert at <= lo < hi < 2**64
        at = hi
