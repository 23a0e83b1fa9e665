"""The edge session without a socket: births before data, acknowledgements, rewinds, deaths."""

from dataclasses import replace

import pytest

from gateway.core.edge_session import (
    ACK_PATIENCE_MS,
    UNACKNOWLEDGED_MS,
    WINDOW_ROWS,
    Confirm,
    Leave,
    Rewind,
)
from gateway.core.messages import COMMAND_TYPES
from gateway.core.rows import Layout, Row
from telemetry import extension
from telemetry.sample import Quality, Reason, Sample
from telemetry.sparkplug import DataType, Metric, Payload, decode, encode
from telemetry.sparkplug import MessageKind as K
from tests.unit.gateway.edge_world import (
    BIRTHS,
    EPOCH,
    NCMD,
    STATE,
    World,
    kinds,
    metric,
    published,
    value,
)
from tests.unit.gateway.field import REBIRTH, START, ack


def test_nothing_is_published_before_the_host_is_online():
    world = World()
    world.store()

    assert world.connect() == []
    assert world.session.wants() is None
    assert world.state(online=False) == []
    assert kinds(world.state(online=True)) == ["NBIRTH", "DBIRTH pt-1", "DBIRTH pt-2"]
    world.ack(0)
    assert kinds(world.pump()) == ["DDATA pt-1"]


def test_without_a_primary_host_births_follow_the_connection():
    world = World(host="", is_acknowledged=False)

    assert kinds(world.connect()) == ["NBIRTH", "DBIRTH pt-1", "DBIRTH pt-2"]


def test_the_node_is_born_with_its_log_and_with_what_a_host_may_command():
    world = World()
    world.store()
    world.live()

    topic, birth = published(world.said)[1]
    assert (topic.kind, birth.seq) == (K.NBIRTH, 0)
    assert {m.name: m.value for m in birth.metrics} == {
        extension.BDSEQ: 0,
        extension.REBIRTH: False,
        extension.EPOCH: EPOCH,
        extension.HEAD: 1,
        extension.TAIL: 0,
        extension.ACK: None,
        extension.ACK_EPOCH: None,
        extension.SACK: None,
    }
    transient = {m.name for m in birth.metrics if m.is_transient}
    assert transient == {n for n in (m.name for m in birth.metrics) if n.startswith("mw/")}


def test_a_device_is_born_with_its_points_and_last_values():
    world = World()
    world.store("pt-1", value=312.5)
    world.live()

    first, second = (p for t, p in published(world.said) if t.kind is K.DBIRTH)
    pressure = first.metrics[-1]
    assert (pressure.name, pressure.value) == ("pressure", 312.5)
    assert second.metrics[-1].value is None
    assert {k: p.value for k, p in pressure.properties.items()} == {
        extension.POINT: "pt-1/pressure",
        extension.QUANTITY: "pressure",
        extension.UNIT: "kPa",
        extension.ZONE: "north",
        extension.PLACE: "文化路12号",
        extension.PERIOD_MS: 1_000,
        extension.MINIMUM: 0.0,
        extension.MAXIMUM: 1_600.0,
        extension.RESOLUTION: 0.1,
    }


def test_a_scan_travels_with_its_offset_and_only_a_doubt_with_its_reason():
    world = World()
    world.live()
    world.store(value=3.0)
    world.store(value=None)

    (_, good), (_, bad) = published(world.pump())

    assert [value(p, extension.OFFSET) for p in (good, bad)] == [0, 1]
    assert value(good, extension.EPOCH) == EPOCH
    assert (good.metrics[2].value, good.metrics[2].properties) == (3.0, {})
    assert bad.metrics[2].value is None
    assert {k: p.value for k, p in bad.metrics[2].properties.items()} == {
        extension.QUALITY: 0,
        extension.REASON: "timeout",
    }


def test_an_uncertain_value_travels_as_stale_with_its_reason():
    world = World()
    world.live()
    world.store()
    doubtful = Sample(
        point=BIRTHS["pt-1"][0].point,
        at=START,
        value=1.0,
        quality=Quality.UNCERTAIN,
        reason=Reason.COUNTER_RESET,
    )
    world.rows[0] = Row(first=0, layout=world.rows[0].layout, samples=(doubtful,))

    ((_, payload),) = published(world.pump())

    assert payload.metrics[2].value == 1.0
    assert payload.metrics[2].properties[extension.QUALITY].value == 500


def test_what_was_read_before_the_birth_is_historical():
    world = World()
    world.store()
    world.now_ms = 10_000
    world.live()
    world.store()

    late, live = published(world.pump())

    assert [late[1].metrics[2].is_historical, live[1].metrics[2].is_historical] == [True, False]


def test_what_is_read_after_the_clock_was_set_back_is_not_historical():
    world = World()
    world.now_ms = 600_000
    world.live()
    world.now_ms = 300_000
    world.store()

    (_, live) = published(world.pump())[0]

    assert not live.metrics[2].is_historical


def test_only_an_acknowledgement_confirms():
    world = World()
    world.live()
    for _ in range(5):
        world.store()
    world.pump()

    assert world.ack(3) == [Confirm(offset=3)]
    assert world.ack(3) == []
    assert world.ack(2) == []  # late
    assert world.ack(5) == [Confirm(offset=5)]


@pytest.mark.parametrize(("offset", "epoch"), [(6, EPOCH), (3, EPOCH + 1), (2**63, EPOCH)])
def test_an_acknowledgement_that_cannot_be_meant_is_ignored_and_counted(offset, epoch):
    world = World()
    world.live()
    for _ in range(5):
        world.store()
    world.pump()

    assert world.ack(offset, epoch=epoch) == []
    assert (world.session.ignored, world.session.acked) == (1, 0)


@pytest.mark.parametrize("payload", [b"", b"\xff\xff\xff", b"{}"])
def test_a_command_that_is_none_is_ignored(payload):
    world = World()
    world.live()

    assert world.hear(NCMD, payload) == []
    assert world.hear(STATE, payload) == []


def test_a_server_that_was_restored_gets_everything_again():
    world = World()
    world.live()
    for _ in range(5):
        world.store()
    world.pump()
    world.ack(5)
    world.session.lost()
    world.now_ms = 60_000
    world.connect()
    world.state(online=True)

    assert world.ack(2) == [Rewind(offset=2)]
    assert [value(p, extension.OFFSET) for _, p in published(world.pump())] == [2, 3, 4]


def test_after_a_birth_the_host_may_first_say_what_it_has():
    world = World()
    for _ in range(5):
        world.store()
    world.connect()
    world.state(online=True)
    assert world.pump() == []

    assert world.ack(3) == [Confirm(offset=3)]
    assert [value(p, extension.OFFSET) for _, p in published(world.pump())] == [3, 4]


def test_a_host_that_says_nothing_gets_everything_after_a_second():
    world = World()
    world.store()
    world.connect()
    world.state(online=True)

    assert world.tick(999) == []
    assert world.pump() == []
    world.tick(1)
    assert kinds(world.pump()) == ["DDATA pt-1"]


def test_what_was_lost_on_the_way_is_sent_again_and_nothing_else():
    world = World()
    world.live()
    for _ in range(6):
        world.store()
    world.pump()
    world.tick()
    assert world.ack(1, ranges=((2, 3), (4, 5))) == [Confirm(offset=1)]
    assert world.pump() == []  # it may still be on its way

    world.tick()
    world.ack(1, ranges=((2, 3), (4, 5)))

    assert [value(p, extension.OFFSET) for _, p in published(world.pump())] == [1, 3]
    assert world.ack(6) == [Confirm(offset=6)]


def test_ranges_that_cannot_be_read_are_ignored_with_their_acknowledgement():
    world = World()
    world.live()
    world.store()
    world.pump()
    held = Metric(name=extension.SACK, value=b"\xff", datatype=DataType.BYTES)
    good = decode(ack(EPOCH, 1), datatypes=COMMAND_TYPES).metrics
    metrics = (*(replace(m, datatype=DataType.UINT64) for m in good), held)

    said = world.hear(NCMD, encode(Payload(timestamp=START, metrics=metrics), with_datatypes=False))

    assert (said, world.session.ignored) == ([], 1)


def test_a_rebirth_keeps_the_birth_number_and_resends_no_data():
    world = World()
    world.live()
    world.store()
    world.pump()

    again = published(world.hear(NCMD, REBIRTH))

    assert [t.kind for t, _ in again] == [K.NBIRTH, K.DBIRTH, K.DBIRTH]
    assert [p.seq for _, p in again] == [0, 1, 2]
    assert value(again[0][1], extension.BDSEQ) == 0
    assert world.session.wants() is None


def test_a_host_that_goes_offline_ends_the_session_with_a_death():
    world = World()
    world.live()
    world.now_ms += 5

    death, leave = world.state(online=False)

    assert kinds([death]) == ["NDEATH"]
    assert leave == Leave(because="the host went offline")
    assert not world.session.is_born


def test_an_older_offline_of_the_host_is_ignored():
    world = World()
    world.live()

    assert world.state(online=False, at=START - 1) == []
    assert world.session.is_born


def test_at_most_a_window_is_on_its_way():
    world = World()
    world.live()
    for _ in range(WINDOW_ROWS + 50):
        world.store()

    assert len(world.pump()) == WINDOW_ROWS
    world.ack(10)
    assert len(world.pump()) == 10


def test_without_progress_the_connection_is_given_up_and_all_is_sent_again():
    world = World()
    world.live()
    for _ in range(3):
        world.store()
    world.pump()
    world.ack(1)

    assert not any(isinstance(o, Leave) for o in world.tick(ACK_PATIENCE_MS - 1))
    outputs = world.tick(1)

    assert outputs[-1] == Leave(because="the host acknowledges nothing")
    assert kinds(outputs)[-1] == "NDEATH"
    world.live()
    assert [value(p, extension.OFFSET) for _, p in published(world.pump())] == [1, 2]


def test_with_nothing_on_its_way_patience_has_no_end():
    world = World()
    world.live()
    world.store()
    world.pump()
    world.ack(1)

    for _ in range(60):
        assert not any(isinstance(o, Leave) for o in world.tick())


def test_a_broker_that_never_shows_the_host_is_left():
    world = World()
    world.connect()

    assert world.tick(59_999) == []
    assert world.tick(1) == [Leave(because="no STATE of the host was seen")]


def test_head_and_tail_are_told_every_ten_seconds():
    world = World()
    world.live()
    world.store()

    said = [world.tick() for _ in range(20)]

    reports = [(n, p) for n, o in enumerate(said) for t, p in published(o) if t.kind is K.NDATA]
    assert [n for n, _ in reports] == [9, 19]
    assert [(value(p, extension.HEAD), value(p, extension.TAIL)) for _, p in reports] == [
        (1, 0)
    ] * 2


def test_a_device_dies_after_its_last_words_and_is_born_before_its_next():
    world = World()
    world.live()
    world.store("pt-1", value=None, alive=False)
    world.store("pt-2")
    dying = kinds(world.pump())
    world.store("pt-2")
    world.store("pt-1", alive=True)

    assert dying == ["DDATA pt-1", "DDEATH pt-1", "DDATA pt-2"]
    assert kinds(world.pump()) == ["DDATA pt-2", "DBIRTH pt-1", "DDATA pt-1"]


def test_a_dead_device_is_born_with_the_others_and_told_dead_at_once():
    world = World()
    world.live()
    world.store("pt-1", value=None, alive=False)
    world.pump()
    world.ack(1)
    world.session.lost()
    world.connect()

    assert kinds(world.state(online=True)) == [
        "NBIRTH",
        "DBIRTH pt-1",
        "DBIRTH pt-2",
        "DDEATH pt-1",
    ]


def test_rows_of_a_retired_point_are_born_before_they_are_sent():
    world = World()
    world.live()
    world.store("pt-1")
    retired = metric("old", "pressure")
    sample = Sample(point=retired.point, at=START, value=2.0)
    layout = Layout(device="pt-1", metrics=(retired,))
    world.rows[0] = Row(first=0, layout=layout, samples=(sample,))

    said = published(world.pump())

    assert [t.kind for t, _ in said] == [K.NBIRTH, K.DBIRTH, K.DBIRTH, K.DDATA]
    assert [m.name for m in said[1][1].metrics[2:]] == ["pressure", "pressure_old"]
    assert said[-1][1].metrics[2].name == "pressure_old"


def test_with_a_host_that_never_acknowledges_what_is_old_enough_counts():
    world = World(is_acknowledged=False)
    world.live()
    world.store()
    world.pump()
    world.tick(5_000)
    world.store()
    world.pump()

    confirmed = [
        (world.now_ms, o.offset) for _ in range(80) for o in world.tick() if isinstance(o, Confirm)
    ]

    assert confirmed == [(UNACKNOWLEDGED_MS, 1), (UNACKNOWLEDGED_MS + 5_000, 2)]


def test_a_long_backlog_to_such_a_host_stays_small_in_memory():
    world = World(is_acknowledged=False)
    world.live()
    for _ in range(2_000):
        world.store()

    assert len(world.pump()) == 2_000
    assert len(world.session._on_the_way) == 1
