"""The pure half of a line: judging what was heard, finding what is refused, what is due next."""

from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.core.rtu import framed
from gateway.core.isolation import Isolation
from gateway.core.poll_plan import Block
from gateway.core.rtu_reply import Heard, judge
from gateway.core.schedule import Schedule, Slot
from telemetry.register_map import Form, Register, Table

ASKED = framed(7, bytes((3, 0, 100, 0, 2)))
REPLY = framed(7, bytes((3, 4, 0, 1, 0, 2)))


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=40))
def test_noise_is_no_reply(octets):
    assert judge(ASKED, octets).heard is not Heard.REPLY


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 8 * len(REPLY) - 1), st.integers(0, 8 * len(REPLY) - 1))
def test_a_reply_with_one_or_two_wrong_bits_is_none(one, two):
    spoilt = bytearray(REPLY)
    for bit in {one, two}:
        spoilt[bit // 8] ^= 1 << bit % 8

    assert judge(ASKED, bytes(spoilt)).heard is not Heard.REPLY


@given(st.integers(0, len(REPLY) - 1))
def test_the_beginning_of_a_reply_is_waited_for(length):
    assert judge(ASKED, REPLY[:length]).heard is Heard.NOTHING


@given(st.integers(1, 247), st.integers(1, 125), st.booleans())
def test_only_the_reply_of_the_right_unit_and_length_is_one(unit, count, is_input):
    function = 4 if is_input else 3
    said = framed(unit, bytes((function, 2 * count)) + bytes(2 * count))

    heard = judge(ASKED, said).heard

    assert (heard is Heard.REPLY) == (unit == 7 and count == 2 and not is_input)
    if unit != 7:
        assert heard is Heard.FOREIGN


def test_a_frame_before_the_reply_makes_both_worthless():
    assert judge(ASKED, framed(7, b"\x83\x06") + REPLY).heard is not Heard.REPLY
    assert judge(ASKED, ASKED + REPLY).echoed
    assert judge(ASKED, ASKED).heard is Heard.NOTHING


def some_block(addresses: list[int]) -> Block:
    registers = tuple(
        Register(name=f"r{a}", address=a, form=Form.UINT16, unit="") for a in addresses
    )
    return Block(
        table=Table.HOLDING,
        address=addresses[0],
        count=addresses[-1] + 1 - addresses[0],
        registers=registers,
    )


@settings(max_examples=300, deadline=None)
@given(st.sets(st.integers(0, 124), min_size=2, max_size=125), st.data())
def test_one_refused_address_is_found_in_eight_reads(addresses, data):
    block = some_block(sorted(addresses))
    bad = data.draw(st.integers(block.address, block.end - 1))
    search, reads = Isolation(block), 0

    while search.verdict is None:
        asked = search.next
        assert block.address <= asked.address < asked.end <= block.end
        search.told(refused=asked.address <= bad < asked.end)
        reads += 1

    assert bad in search.verdict.refused
    wanted = {r.address for r in block.registers}
    assert bad not in wanted or search.verdict.refused == range(bad, bad + 1)
    assert reads <= 8


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 125), st.data())
def test_a_device_that_minds_the_length_keeps_all_its_registers(count, data):
    longest = data.draw(st.integers(1, count - 1))
    search = Isolation(some_block(list(range(count))))

    while search.verdict is None:
        search.told(refused=search.next.count > longest)

    assert search.verdict.refused is None
    assert search.verdict.longest == longest


def slot(due_ms: int, *, is_low: bool = False, is_probe: bool = False) -> Slot:
    return Slot(period_ms=1_000, is_low=is_low, due_ms=due_ms, is_probe=is_probe)


@given(
    st.lists(
        st.builds(slot, st.integers(0, 5_000), is_low=st.booleans(), is_probe=st.booleans()),
        min_size=1,
        max_size=10,
    ),
    st.integers(0, 6_000),
)
def test_what_is_due_goes_first_and_low_priority_never_before_high(slots, now_ms):
    n, due_ms = Schedule(start_ms=0).pick(slots, now_ms)

    is_due = [s for s in slots if s.due_ms <= now_ms]
    if not is_due:
        assert due_ms == min(s.due_ms for s in slots)
    elif slots[n].is_low and not slots[n].is_probe:
        assert all(s.is_low and not s.is_probe for s in is_due)
    else:
        assert slots[n] in is_due


def test_two_probes_never_follow_each_other_while_anything_else_is_due():
    slots = [slot(0, is_probe=True), slot(1, is_probe=True), slot(900)]
    schedule = Schedule(start_ms=0)

    order = []
    for _ in range(3):
        n, _ = schedule.pick(slots, 1_000)
        order.append(n)
        schedule.put_off(slots[n], until_ms=5_000)

    assert order == [0, 2, 1]


def test_what_was_missed_is_counted_and_not_made_up_for():
    schedule = Schedule(start_ms=0)
    late = slot(2_000)

    assert schedule.done(late, now_ms=5_300) == 3
    assert late.due_ms == 6_000


def test_what_low_priority_misses_is_counted_though_it_is_never_its_turn():
    schedule = Schedule(start_ms=0)
    waiting = slot(2_000, is_low=True)

    assert [schedule.overdue(waiting, now_ms=t) for t in (2_500, 4_100, 4_200)] == [0, 2, 0]
    assert schedule.overdue(slot(0), now_ms=9_000) == 0
