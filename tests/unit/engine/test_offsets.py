"""Whatever the link does to messages, every sample is taken in exactly once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from server.engine.effects import Accepted, AckDue
from server.engine.engine import Engine
from server.engine.events import Arrived
from tests.scenarios.town_stream import START
from tests.unit.engine.wire import Wire, reading


def born():
    engine, wire = Engine("mainwatch"), Wire()
    engine.apply(wire.nbirth(START))
    engine.apply(wire.dbirth(START, "pt-1", {"pressure": "a/pressure"}))
    return engine, wire


def scan(first, length):
    return [reading("pressure", START, float(first + k)) for k in range(length)]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=40))
def test_loss_repetition_and_reordering_never_double_or_lose_a_sample(messages):
    engine, wire = born()
    taken = {}
    sent = set()
    for first, length in messages:
        sent |= set(range(first, first + length))
        effects = engine.apply(wire.ddata(START, "pt-1", scan(first, length), offset=first))
        for accepted in (e for e in effects if isinstance(e, Accepted)):
            for k, sample in enumerate(accepted.samples):
                offset = accepted.first_offset + k
                assert offset not in taken
                taken[offset] = sample.value
        ack = next(e for e in effects if isinstance(e, AckDue))
        prefix = next(n for n in range(100) if n not in sent)

        assert ack.offset == prefix
        beyond = {n for lo, hi in ack.ranges for n in range(lo, hi)}
        assert beyond == {n for n in sent if n >= prefix}
    assert taken == {n: float(n) for n in sent}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 30), st.lists(st.tuples(st.integers(0, 25), st.integers(1, 5)), max_size=10))
def test_what_a_gateway_gave_up_is_counted_as_lost_exactly(tail, messages):
    engine, wire = born()
    sent = set()
    for first, length in messages:
        sent |= set(range(first, first + length))
        engine.apply(wire.ddata(START, "pt-1", scan(first, length), offset=first))

    effects = engine.apply(wire.ndata(START, head=100, tail=tail))

    lost = len(set(range(tail)) - sent)
    assert [e.lost for e in effects if hasattr(e, "lost")] == ([lost] if lost else [])


def kinds_of_messages():
    wire = Wire()
    return [
        wire.nbirth(START),
        wire.dbirth(START, "pt-1", {"pressure": "a/pressure"}),
        wire.ddata(START, "pt-1", scan(0, 4)),
        wire.ndata(START, head=9, tail=0),
        wire.ndeath(START),
    ]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_messages_never_raise(data):
    engine, _ = born()
    for _ in range(4):
        message = data.draw(st.sampled_from(kinds_of_messages()))
        body = bytearray(message.payload)
        for _ in range(data.draw(st.integers(0, 4))):
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.integers(0, len(body)))
        topic = data.draw(
            st.sampled_from([message.topic, "spBv1.0/demo/DDATA/gw-01/pt-2", "x", "spBv1.0/a"])
        )
        whole = bytes(body[:cut] if data.draw(st.booleans()) else body)

        engine.apply(Arrived(at=START, topic=topic, payload=whole))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.binary(max_size=200))
def test_noise_never_raises(topic, payload):
    engine, _ = born()

    engine.apply(Arrived(at=START, topic=topic, payload=payload))
    engine.apply(Arrived(at=START, topic=f"spBv1.0/demo/DDATA/{topic}", payload=payload))
