"""The wire contract from both ends: what the gateway says, the server's engine accepts."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.edge_session import Leave, Output, Publish
from server.engine.effects import (
    Accepted,
    AckDue,
    Effect,
    GatewayChanged,
    MessageDropped,
    PointSeen,
    RebirthDue,
)
from server.engine.engine import Engine
from server.engine.events import Arrived
from telemetry.sample import Sample
from telemetry.sparkplug import MessageKind, decode, parse_topic
from tests.unit.gateway.edge_world import BIRTHS, World
from tests.unit.gateway.field import REBIRTH

DEVICES = tuple(BIRTHS)


class Plant:
    """A gateway's session and a server's engine, and a wire that loses what it is told to."""

    def __init__(self) -> None:
        self.world = World()
        self.engine = Engine("mainwatch")
        self.effects: list[Effect] = []
        self.lose = 0
        """How many of the next data messages never arrive."""

    def connect(self) -> None:
        self.carry(self.world.connect())
        self.carry(self.world.state(online=True))

    def carry(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Publish):
                self.arrive(output)
        if any(isinstance(o, Leave) for o in outputs):
            self.connect()

    def arrive(self, message: Publish) -> None:
        if self.lose and parse_topic(message.topic).kind is MessageKind.DDATA:
            self.lose -= 1
            return
        at = self.world.at
        event = Arrived(at=at, topic=message.topic, payload=message.payload)
        effects = self.engine.apply(event)
        self.effects += effects
        for effect in effects:
            if isinstance(effect, AckDue):
                said = self.world.ack(effect.offset, epoch=effect.epoch, ranges=effect.ranges)
                self.carry(said)
            elif isinstance(effect, RebirthDue):
                topic = parse_topic(message.topic)
                command = f"spBv1.0/{topic.group}/NCMD/{topic.edge}"
                self.carry(self.world.hear(command, REBIRTH))

    def accepted(self) -> dict[int, Sample]:
        found: dict[int, Sample] = {}
        for effect in self.effects:
            if isinstance(effect, Accepted):
                for n, sample in enumerate(effect.samples):
                    assert effect.first_offset + n not in found, "accepted twice"
                    found[effect.first_offset + n] = sample
        return found

    def stored(self) -> dict[int, Sample]:
        return {r.first + n: s for r in self.world.rows for n, s in enumerate(r.samples)}

    def told(self, kind: type[Effect]) -> list[Effect]:
        return [e for e in self.effects if isinstance(e, kind)]


def test_births_data_deaths_and_returns_are_accepted_without_a_word_of_complaint():
    plant = Plant()
    plant.connect()
    for value, alive in [(1.0, None), (2.0, None), (None, None), (None, False)]:
        plant.world.store("pt-1", value=value, alive=alive)
        plant.world.store("pt-2")
        plant.carry(plant.world.pump())
        plant.carry(plant.world.tick())
    plant.world.store("pt-1", value=3.0, alive=True)
    plant.carry(plant.world.pump())

    assert plant.accepted() == plant.stored()
    assert plant.told(MessageDropped) == plant.told(RebirthDue) == []
    assert sorted(e.point for e in plant.told(PointSeen)) == ["pt-1/pressure", "pt-2/pressure"]
    assert plant.world.session.acked == plant.world.head


def test_a_new_connection_continues_where_the_server_stands():
    plant = Plant()
    plant.connect()
    plant.world.store()
    plant.carry(plant.world.pump())
    plant.carry(plant.world.session.leaving(at=plant.world.at))
    plant.world.session.lost()
    plant.world.now_ms += 20_000
    plant.world.store()
    plant.connect()
    plant.carry(plant.world.pump())

    assert plant.accepted() == plant.stored()
    assert [e.online for e in plant.told(GatewayChanged)] == [True, False, True]
    assert plant.told(MessageDropped) == []


def test_a_new_server_gets_everything_that_the_gateway_still_holds():
    plant = Plant()
    plant.connect()
    for _ in range(5):
        plant.world.store()
    plant.carry(plant.world.pump())
    plant.world.session.lost()
    plant.engine = Engine("mainwatch")
    plant.effects.clear()

    plant.connect()
    plant.carry(plant.world.pump())

    assert plant.accepted() == plant.stored()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("store"), st.integers(0, 1)),
            st.tuples(st.just("pump"), st.just(0)),
            st.tuples(st.just("lose"), st.integers(1, 4)),
            st.tuples(st.just("tick"), st.integers(500, 13_000)),
            st.tuples(st.just("cut"), st.just(0)),
        ),
        max_size=50,
    )
)
def test_whatever_is_lost_on_the_way_every_sample_is_accepted_once(script):
    plant = Plant()
    plant.connect()
    for what, n in script:
        match what:
            case "store":
                plant.world.store(DEVICES[n])
            case "pump":
                plant.carry(plant.world.pump())
            case "lose":
                plant.lose = n
            case "tick":
                plant.carry(plant.world.tick(n))
            case "cut":
                plant.world.session.lost()
                plant.connect()
    plant.lose = 0
    for _ in range(60):
        plant.carry(plant.world.pump())
        plant.carry(plant.world.tick(2_000))

    assert plant.accepted() == plant.stored()
    assert plant.world.session.acked == plant.world.head
    assert plant.told(MessageDropped) == []


def test_how_a_device_is_takes_no_offset_and_no_complaint():
    plant = Plant()
    counts = {"pt-1": 0.0, "pt-2": 0.0}
    plant.world.session.vitals_of = lambda device: {"timeouts_total": counts[device]}
    plant.connect()
    plant.world.store("pt-1")
    plant.carry(plant.world.pump())
    counts["pt-1"] = 3.0
    plant.world.now_ms += 10_000
    plant.carry(plant.world.tick())
    plant.world.store("pt-1")
    plant.carry(plant.world.pump())

    reports = [
        m
        for o in plant.world.said
        if isinstance(o, Publish) and parse_topic(o.topic).kind is MessageKind.DDATA
        for m in decode(o.payload).metrics
        if m.name == "mw/health/timeouts_total"
    ]
    assert [m.value for m in reports] == [3.0]
    assert plant.accepted() == plant.stored()
    assert plant.told(MessageDropped) == plant.told(RebirthDue) == []
