"""The plan of block reads: complete, within the limits, as short as it can be."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.poll_plan import Block, has_holes, plan
from telemetry.register_map import Form, Register, Table


def register(address: int, form: Form = Form.UINT16, table: Table = Table.HOLDING) -> Register:
    return Register(
        name=f"{table}-{address}-{form}", address=address, form=form, unit="bar", table=table
    )


registers = st.lists(
    st.builds(
        register,
        st.integers(0, 400),
        st.sampled_from(Form),
        st.sampled_from(Table),
    ),
    unique_by=lambda r: r.name,
    max_size=30,
)


def spans(blocks: tuple[Block, ...]) -> list[tuple[int, int]]:
    return [(b.address, b.count) for b in blocks]


@settings(max_examples=200, deadline=None)
@given(registers, st.integers(4, 125), st.integers(0, 30))
def test_every_register_is_read_once_within_the_limits(wanted, count_max, hole_max):
    blocks = plan(wanted, count_max=count_max, hole_max=hole_max)

    planned = [r for b in blocks for r in b.registers]
    assert sorted(r.name for r in planned) == sorted(r.name for r in wanted)
    for block in blocks:
        assert 1 <= block.count <= count_max
        assert all(block.address <= r.address and r.end <= block.end for r in block.registers)
        assert {r.table for r in block.registers} == {block.table}
        ends = [block.address]
        for r in block.registers:
            assert r.address - max(ends) <= hole_max
            ends.append(r.end)


@settings(max_examples=100, deadline=None)
@given(registers, st.integers(4, 125), st.randoms(use_true_random=False))
def test_the_plan_does_not_depend_on_the_order_asked_for(wanted, count_max, random):
    shuffled = random.sample(wanted, len(wanted))

    assert plan(wanted, count_max=count_max) == plan(shuffled, count_max=count_max)


@settings(max_examples=100, deadline=None)
@given(registers, st.integers(4, 125), st.integers(0, 30))
def test_crossing_holes_never_costs_a_request(wanted, count_max, hole_max):
    contiguous = plan(wanted, count_max=count_max, hole_max=0)

    assert len(plan(wanted, count_max=count_max, hole_max=hole_max)) <= len(contiguous)


def test_neighbours_share_a_request_and_far_ones_do_not():
    wanted = [register(0, Form.FLOAT32), register(2), register(10), register(60)]

    assert spans(plan(wanted, count_max=125, hole_max=7)) == [(0, 11), (60, 1)]
    assert spans(plan(wanted, count_max=125, hole_max=0)) == [(0, 3), (10, 1), (60, 1)]


def test_a_block_with_unwanted_registers_has_holes():
    crossing, whole = plan(
        [register(0), register(5), register(100), register(101)], count_max=125, hole_max=8
    )

    assert has_holes(crossing)
    assert not has_holes(whole)


def test_a_register_longer_than_a_request_is_refused():
    with pytest.raises(ValueError, match="expected at most 1 words, was 2"):
        plan([register(0, Form.FLOAT32)], count_max=1)
