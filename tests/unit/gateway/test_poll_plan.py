"""The plan of block reads: complete, within the limits, and as cheap as it can be."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.line_timing import LineTiming
from gateway.core.poll_plan import Block, Costs, Wanted, is_settled, load, plan, polls
from telemetry.register_map import Form, Register, Table

WORD_FORMS = [f for f in Form if f not in {Form.BIT, Form.STRING}]


def costs(
    *,
    baud: int = 9600,
    turnaround_s: float = 0.01,
    pause_s: float = 0.0,
    count_max: int = 125,
    barred: frozenset[tuple[Table, int]] = frozenset(),
) -> Costs:
    timing = LineTiming(baud=baud, char_bits=11, has_gaps=True)
    return Costs(
        timing=timing,
        turnaround_s=turnaround_s,
        pause_s=pause_s,
        count_max=count_max,
        barred=barred,
    )


def register(address: int, form: Form = Form.UINT16, table: Table = Table.HOLDING) -> Register:
    return Register(
        name=f"{table}-{address}-{form}", address=address, form=form, unit="bar", table=table
    )


some_registers = st.lists(
    st.builds(
        register,
        st.integers(0, 400),
        st.sampled_from(WORD_FORMS),
        st.sampled_from([Table.HOLDING, Table.INPUT]),
    ),
    unique_by=lambda r: r.name,
    max_size=30,
)
some_costs = st.builds(
    costs,
    baud=st.sampled_from([1200, 9600, 115200]),
    turnaround_s=st.floats(0, 0.2),
    pause_s=st.floats(0, 0.1),
    count_max=st.integers(4, 125),
)


def spans(blocks: tuple[Block, ...]) -> list[tuple[int, int]]:
    return [(b.address, b.count) for b in blocks]


def partitions(items: list[Register]) -> Iterator[list[list[Register]]]:
    """Every way of putting things into groups, whatever the groups."""
    if not items:
        yield []
        return
    first, *rest = items
    for groups in partitions(rest):
        for n in range(len(groups)):
            yield [*groups[:n], [first, *groups[n]], *groups[n + 1 :]]
        yield [[first], *groups]


def cheapest(wanted: list[Register], by: Costs) -> float:
    best = float("inf")
    for groups in partitions(wanted):
        total = 0.0
        for group in groups:
            begin, end = min(r.address for r in group), max(r.end for r in group)
            fits = end - begin <= by.count_max and len({r.table for r in group}) == 1
            total += by.read_s(group[0].table, end - begin) if fits else float("inf")
        best = min(best, total)
    return best


@settings(max_examples=200, deadline=None)
@given(some_registers, some_costs)
def test_every_register_is_read_once_within_the_limits(wanted, by):
    blocks = plan(wanted, by)

    planned = [r for b in blocks for r in b.registers]
    assert sorted(r.name for r in planned) == sorted(r.name for r in wanted)
    for block in blocks:
        assert 1 <= block.count <= by.count_max
        assert all(block.address <= r.address and r.end <= block.end for r in block.registers)
        assert {r.table for r in block.registers} == {block.table}


@settings(max_examples=60, deadline=None)
@given(some_registers.map(lambda rs: rs[:7]), some_costs)
def test_no_other_way_of_reading_together_is_cheaper(wanted, by):
    found = sum(map(by.block_s, plan(wanted, by)))

    assert found == pytest.approx(cheapest(wanted, by))


@settings(max_examples=100, deadline=None)
@given(some_registers, some_costs, st.randoms(use_true_random=False))
def test_the_plan_does_not_depend_on_the_order_asked_for(wanted, by, random):
    shuffled = random.sample(wanted, len(wanted))

    assert plan(wanted, by) == plan(shuffled, by)


@pytest.mark.parametrize(
    ("baud", "turnaround_s", "hole"),
    [(9600, 0.0, 9), (9600, 0.03, 23), (38400, 0.01, 30), (115200, 0.0, 24), (115200, 0.01, 77)],
)
def test_a_hole_is_read_as_long_as_that_is_cheaper_than_another_request(baud, turnaround_s, hole):
    by = costs(baud=baud, turnaround_s=turnaround_s)

    assert len(plan([register(0), register(1 + hole)], by)) == 1
    assert len(plan([register(0), register(3 + hole)], by)) == 2


def test_what_a_device_refuses_is_not_read_across():
    by = costs(barred=frozenset({(Table.HOLDING, 2)}))

    assert spans(plan([register(0), register(1), register(3)], by)) == [(0, 2), (3, 1)]


def test_bits_are_read_by_the_octet_and_may_be_many():
    wanted = [
        Register(name=f"b{a}", address=a, form=Form.BIT, unit="", table=Table.COIL)
        for a in (0, 90, 1_500)
    ]

    assert spans(plan(wanted, costs())) == [(0, 91), (1_500, 1)]


def test_a_register_longer_than_a_request_is_refused():
    with pytest.raises(ValueError, match="expected at most 1 words, was 2"):
        plan([register(0, Form.FLOAT32)], costs(count_max=1))


def wanted(address: int, period_ms: int, *, is_low: bool = False) -> Wanted:
    return Wanted(register=register(address), period_ms=period_ms, is_low=is_low)


def test_a_rare_register_rides_along_where_that_is_cheaper():
    near, far = wanted(2, 2_000), wanted(90, 60_000)

    found = polls([wanted(0, 1_000), near, far], costs())

    assert [(p.period_ms, spans(p.blocks)) for p in found] == [
        (1_000, [(0, 3)]),
        (60_000, [(90, 1)]),
    ]


def test_a_register_of_high_priority_never_waits_for_one_of_low():
    found = polls([wanted(0, 1_000, is_low=True), wanted(1, 5_000)], costs())

    assert [(p.period_ms, p.is_low) for p in found] == [(5_000, False), (1_000, True)]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.sampled_from([1_000, 2_000, 60_000]), st.booleans()),
        unique_by=lambda t: t[0],
        min_size=1,
        max_size=20,
    ),
    some_costs,
)
def test_polls_read_everything_often_enough_and_never_cost_more_than_apart(asked, by):
    everything = [wanted(a, p, is_low=low) for a, p, low in asked]

    found = polls(everything, by)

    read = {r.name: (p.period_ms, p.is_low) for p in found for b in p.blocks for r in b.registers}
    for w in everything:
        period_ms, is_low = read[w.register.name]
        assert period_ms <= w.period_ms
        assert w.is_low or not is_low
    apart = sum(
        load(polls([w for w in everything if (w.period_ms, w.is_low) == key], by), by)
        for key in {(w.period_ms, w.is_low) for w in everything}
    )
    assert load(found, by) <= apart + 1e-12


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), some_costs, st.floats(0, 0.5))
def test_a_settled_plan_is_the_same_at_any_turnaround(holes, by, turnaround_s):
    addresses = [n + sum(holes[: n + 1]) for n in range(len(holes))]
    wanted = [Wanted(register=register(a), period_ms=1000, is_low=False) for a in addresses]
    before = polls(wanted, by)

    if is_settled(before):
        assert polls(wanted, replace(by, turnaround_s=turnaround_s)) == before
    assert is_settled(before) == (not any(holes[1:]) and len(before[0].blocks) == 1)
