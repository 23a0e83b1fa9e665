"""The edge session in a storm: a wire that loses and cuts, a host that comes, goes and rambles."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.edge_session import Confirm, Leave, Output, Publish, Rewind
from telemetry import extension
from telemetry.ranges import Ranges
from telemetry.sparkplug import MessageKind as K
from telemetry.sparkplug import decode, parse_topic
from tests.unit.gateway.edge_world import BIRTHS, NCMD, World, published, value
from tests.unit.gateway.field import REBIRTH

STEPS = (
    *("store", "dead", "alive", "tick", "pump", "deliver", "lose"),
    *("ack", "nonsense", "rebirth", "offline", "cut"),
)
DEVICES = tuple(BIRTHS)

steps = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 13_000)), max_size=80)


class Server:
    """What a true server does with what arrives: it commits, and acknowledges the prefix."""

    def __init__(self) -> None:
        self.held: set[int] = set()
        self.acked = 0

    def take(self, message: Publish) -> None:
        topic = parse_topic(message.topic)
        if topic.kind is K.DDATA:
            payload = decode(message.payload)
            offset = value(payload, extension.OFFSET)
            self.held |= {offset + n for n in range(len(payload.metrics) - 2)}
        while self.acked in self.held:
            self.acked += 1

    def beyond(self) -> tuple[tuple[int, int], ...]:
        found = Ranges()
        for offset in sorted(self.held):
            if offset > self.acked:
                found.add(offset, offset + 1)
        return tuple(found)


def follows_the_rules(said: list[Output]) -> None:
    """Check a whole conversation: births before data, `seq` without a gap, the living only."""
    seq: int | None = None
    born: set[str] = set()
    for topic, payload in published(said):
        match topic.kind:
            case K.NDEATH:
                seq, born = None, set()
                continue
            case K.NBIRTH:
                assert payload.seq == 0
                born = set()
            case _:
                assert seq is not None, f"{topic} before the birth of the node"
                assert payload.seq == (seq + 1) % 256
        seq = payload.seq
        if topic.kind is K.DBIRTH:
            born.add(topic.device)
        elif topic.kind is K.DDATA:
            assert topic.device in born
        elif topic.kind is K.DDEATH:
            born.remove(topic.device)


class Storm:
    """A session, a wire that loses what it likes, and a true server; each method is a step."""

    def __init__(self) -> None:
        self.world, self.server = World(), Server()
        self.world.live()
        self.wire: list[Publish] = []

    def move(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Publish):
                self.wire.append(output)
            assert not isinstance(output, Rewind)
            assert not isinstance(output, Confirm) or output.offset <= self.server.acked
        if any(isinstance(o, Leave) for o in outputs):
            self.connect()

    def connect(self) -> None:
        self.wire.clear()
        self.move(self.world.connect())
        self.move(self.world.state(online=True))

    def store(self, n: int) -> None:
        self.world.store(DEVICES[n % 2])

    def dead(self, n: int) -> None:
        self.world.store(DEVICES[n % 2], value=None, alive=False)

    def alive(self, n: int) -> None:
        self.world.store(DEVICES[n % 2], alive=True)

    def tick(self, n: int) -> None:
        self.move(self.world.tick(n))

    def pump(self, _n: int = 0) -> None:
        self.move(self.world.pump())

    def deliver(self, n: int) -> None:
        for message in self.wire[: n % 7]:
            self.server.take(message)
        self.lose(n)

    def lose(self, n: int) -> None:
        del self.wire[: n % 7]

    def ack(self, _n: int = 0) -> None:
        self.move(self.world.ack(self.server.acked, ranges=self.server.beyond()))

    def nonsense(self, n: int) -> None:
        self.move(self.world.ack(self.world.head + 1 + n))

    def rebirth(self, _n: int) -> None:
        self.move(self.world.hear(NCMD, REBIRTH))

    def offline(self, _n: int) -> None:
        self.world.now_ms += 1
        self.move(self.world.state(online=False))

    def cut(self, _n: int) -> None:
        self.world.session.lost()
        self.connect()

    def calm(self) -> None:
        """Let everything arrive from now on."""
        for _ in range(200):
            self.pump()
            for message in self.wire:
                self.server.take(message)
            self.wire.clear()
            self.ack()
            if self.world.session.acked == self.world.head:
                return
            self.tick(1_000)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_whatever_happens_nothing_is_lost_and_only_the_committed_is_confirmed(script):
    storm = Storm()
    for step, n in script:
        getattr(storm, step)(n)

    storm.calm()

    head = storm.world.head
    assert storm.server.held >= set(range(head))
    assert storm.world.session.acked == storm.server.acked == head
    follows_the_rules(storm.world.said)
