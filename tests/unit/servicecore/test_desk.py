"""The desk: effects become tickets once, people's acts are committed whole, the trail holds."""

import asyncio
import sqlite3

import pytest

from server.engine import effects
from server.servicecore.desk import ACTOR_LENGTH_MAX, Desk
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.workorder import State, Step
from telemetry.errors import StorageError
from telemetry.instant import Instant
from tests.support.plant import Journal, born, burst, seen

AT = 1_800_000_000_000


def of_ticket(board):
    return [e for e in board.trail if e.entity == "T-000001"]


def test_an_automatic_proposal_becomes_one_ticket_and_a_restart_makes_no_other(journal, with_desk):
    journal.record(*burst(1, at=AT))

    async def follow(desk: Desk):
        await desk.catch_up()
        return await desk.board()

    with_desk(follow)
    board = with_desk(follow)

    assert [t.number for t in board.tickets] == ["T-000001"]
    ticket = board.tickets[0]
    assert (ticket.incident, ticket.state, ticket.zone) == ("INC-000001", State.ISSUED, "north")
    assert (ticket.dispatch_seq, ticket.dispatch_n) == (1, 2)
    assert [(e.entity, e.verb, e.actor) for e in board.trail] == [
        ("INC-000001", "work_incident", "mainwatch"),
        ("T-000001", "issue", "mainwatch"),
    ]


def test_a_proposal_to_confirm_waits_for_a_person_and_is_issued_once(journal, with_desk):
    journal.record(*burst(1, at=AT, mode="confirm"))

    async def confirm(desk: Desk):
        await desk.catch_up()
        before = await desk.board()
        number = await desk.dispatch("INC-000001", actor="Li")
        with pytest.raises(Refused, match="already has the open ticket T-000001"):
            await desk.dispatch("INC-000001", actor="Wang")
        return before, number, await desk.board()

    before, number, board = with_desk(confirm)

    assert list(before.proposals) == ["INC-000001"]
    assert not before.tickets
    assert number == "T-000001"
    assert not board.proposals
    assert [t.number for t in board.tickets] == ["T-000001"]


def test_an_incident_with_an_open_ticket_gets_no_second_but_a_worse_one(journal, with_desk):
    _, opened, proposal = burst(1, at=AT, mode="confirm")
    journal.record(opened, proposal)
    journal.record(burst(1, at=AT + 5000)[2])
    journal.record(burst(1, at=AT + 9000)[2])

    async def act(desk: Desk):
        await desk.catch_up(limit=2)
        await desk.dispatch("INC-000001", actor="Li")
        await desk.catch_up()
        return await desk.board()

    board = with_desk(act)

    assert [(t.number, t.kind, t.severity) for t in board.tickets] == [("T-000001", "burst", 1)]
    assert [e.verb for e in of_ticket(board)] == ["worsen", "issue"]


def test_a_burst_overtakes_a_proposal_that_nobody_confirmed(journal, with_desk):
    journal.record(*burst(1, at=AT, mode="confirm"))
    journal.record(burst(1, at=AT + 5000)[2])

    async def act(desk: Desk):
        await desk.catch_up()
        return await desk.board()

    board = with_desk(act)

    assert [t.kind for t in board.tickets] == ["burst"]
    assert not board.proposals


def test_a_closed_incident_takes_its_proposal_back(journal, with_desk):
    journal.record(*burst(1, at=AT, mode="confirm"))
    journal.record(
        effects.IncidentClosed(at=Instant(AT + 9), incident="INC-000001", because=("x",))
    )

    async def act(desk: Desk):
        await desk.catch_up()
        with pytest.raises(Refused, match="nothing is proposed"):
            await desk.dispatch("INC-000001", actor="Li")
        return await desk.board()

    assert with_desk(act).incidents[0].closed_at == AT + 9


def test_a_ticket_goes_its_way_and_every_step_is_in_the_trail(journal, with_desk):
    journal.record(*burst(1, at=AT))

    async def act(desk: Desk):
        await desk.catch_up()
        for step, text in (
            (Step.ACCEPT, ""),
            (Step.ARRIVE, ""),
            (Step.REPLY, "clamp fitted"),
            (Step.CLOSE, ""),
        ):
            await desk.step("T-000001", step, actor="Li", text=text)
        return await desk.board(), await desk.trail_break()

    board, broken = with_desk(act)

    ticket = board.tickets[0]
    assert (ticket.state, ticket.holder, ticket.result) == (State.CLOSED, "Li", "clamp fitted")
    assert [e.verb for e in of_ticket(board)] == ["close", "reply", "arrive", "accept", "issue"]
    assert [e.after for e in of_ticket(board)][:2] == ["closed", "replied"]
    assert broken is None


def test_a_step_on_a_ticket_that_changed_meanwhile_is_refused(journal, with_desk):
    journal.record(*burst(1, at=AT))

    async def act(desk: Desk):
        await desk.catch_up()
        seen_version = (await desk.board()).tickets[0].version
        await desk.step(
            "T-000001", Step.RETURN, actor="Li", text="wrong desk", version=seen_version
        )
        await desk.step("T-000001", Step.REISSUE, actor="Wang")
        with pytest.raises(Refused, match="changed meanwhile"):
            await desk.step("T-000001", Step.ACCEPT, actor="Zhao", version=seen_version)

    with_desk(act)


def test_of_two_who_click_at_once_one_wins(journal, with_desk):
    journal.record(*burst(1, at=AT))

    async def act(desk: Desk):
        await desk.catch_up()
        outcomes = []

        async def click(actor: str) -> None:
            try:
                outcomes.append(await desk.step("T-000001", Step.ACCEPT, actor=actor, version=1))
            except Refused as e:
                outcomes.append(e.key)

        async with asyncio.TaskGroup() as group:
            for actor in ("Li", "Wang"):
                group.create_task(click(actor))
        return outcomes

    assert sorted(with_desk(act)) == ["accepted", "step"]


def test_an_acknowledgement_is_queued_for_the_engine_with_its_trail(journal, with_desk):
    journal.record(*burst(1, at=AT))

    async def ask(desk: Desk):
        await desk.catch_up()
        await desk.acknowledge_alarm("A-000001", actor="Li", note="seen")
        with pytest.raises(Refused, match="Li has already asked"):
            await desk.acknowledge_alarm("A-000001", actor="Wang")
        return await desk.commands(), await desk.board()

    async def answered(desk: Desk):
        assert desk.commands_waiting.is_set()
        await desk.catch_up()
        with pytest.raises(Refused, match="already acknowledged by Li"):
            await desk.acknowledge_alarm("A-000001", actor="Wang")
        return await desk.board()

    commands, board = with_desk(ask)
    assert [(c.verb, c.subject, c.actor, c.note) for c in commands] == [
        ("acknowledge_alarm", "A-000001", "Li", "seen")
    ]
    assert board.alarms[0].asked_by == "Li"
    assert board.trail[0].verb == "acknowledge_alarm"

    journal.record(
        effects.AlarmAcknowledged(at=Instant(AT), alarm="A-000001", actor="Li", note="seen"),
        effects.CommandDone(at=Instant(AT), key=commands[0].key),
    )
    board = with_desk(answered)
    assert (board.alarms[0].acknowledged_by, board.alarms[0].asked_by) == ("Li", "")
    assert not board.queued


def test_what_the_engine_refuses_is_shown_and_may_be_asked_again(journal, with_desk):
    journal.record(*burst(1, at=AT))

    async def ask(desk: Desk):
        await desk.catch_up()
        await desk.acknowledge_incident("INC-000001", actor="Li")
        key = (await desk.commands())[0].key
        await desk.command_journalled(key)
        journal.record(effects.CommandDone(at=Instant(AT), key=key, refused="no such incident"))
        await desk.catch_up()
        board = await desk.board()
        await desk.acknowledge_incident("INC-000001", actor="Li")
        return board, [c.key == key for c in await desk.commands()]

    board, same = with_desk(ask)

    assert board.incidents[0].refusal == "no such incident"
    assert board.alarms[0].asked_by == ""
    assert same == [False]


def test_an_incident_is_not_closed_over_an_active_alarm(journal, with_desk):
    journal.record(*burst(1, at=AT))

    async def act(desk: Desk):
        await desk.catch_up()
        with pytest.raises(Refused, match="A-000001"):
            await desk.close_incident("INC-000001", actor="Li")
        journal.record(effects.AlarmCleared(at=Instant(AT), alarm="A-000001", because=("back",)))
        await desk.catch_up()
        await desk.close_incident("INC-000001", actor="Li")
        return await desk.commands()

    assert [c.verb for c in with_desk(act)] == ["close_incident"]


@pytest.mark.parametrize(
    ("actor", "words"), [(" ", "start your shift"), ("x" * (ACTOR_LENGTH_MAX + 1), "at most 40")]
)
def test_nobody_acts_without_a_proper_name(journal, with_desk, actor, words):
    journal.record(*burst(1, at=AT))

    async def act(desk: Desk):
        await desk.catch_up()
        with pytest.raises(Refused, match=words):
            await desk.acknowledge_alarm("A-000001", actor=actor)

    with_desk(act)


def test_the_trail_can_be_neither_changed_nor_deleted_and_shows_who_did_it_anyway(
    journal, with_desk, tmp_path
):
    journal.record(*burst(1, at=AT))

    async def act(desk: Desk):
        await desk.catch_up()
        await desk.step("T-000001", Step.ACCEPT, actor="Li")

    async def check(desk: Desk):
        return await desk.trail_break()

    with_desk(act)
    db = sqlite3.connect(tmp_path / "desk.db", isolation_level=None)
    for spoil in ("UPDATE ticket_event SET actor = 'Wang'", "DELETE FROM ticket_event"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute(spoil)
    assert with_desk(check) is None

    db.execute("DROP TRIGGER ticket_event_no_UPDATE")
    db.execute("UPDATE ticket_event SET actor = 'Wang' WHERE seq = 2")
    db.close()
    assert with_desk(check) == 2


@pytest.mark.parametrize("loss", ["another", "gone", "older"])
def test_a_lost_journal_stops_the_desk_with_a_clear_word(journal, with_desk, tmp_path, loss):
    journal.record(*burst(1, at=AT))

    async def follow(desk: Desk):
        await desk.catch_up()

    with_desk(follow)
    if loss == "another":
        journal.db.execute("UPDATE meta SET value = 'another' WHERE key = 'uuid'")
    elif loss == "older":
        journal.db.execute("DELETE FROM effect")
    else:
        journal.close()
        for path in tmp_path.glob("journal.db*"):
            path.unlink()

    with pytest.raises(StorageError, match=r"journal\.db: expected"):
        with_desk(follow)


def test_an_effect_of_a_newer_version_stops_the_desk_rather_than_be_skipped(journal, with_desk):
    journal.db.execute("INSERT INTO effect VALUES (1, 0, 5, 'WaterBoiled', '{}')")

    async def follow(desk: Desk):
        await desk.catch_up()

    with pytest.raises(StorageError, match=r"effect \(1, 0\) of kind 'WaterBoiled'"):
        with_desk(follow)


def test_a_desk_without_a_journal_waits_for_one(with_desk):
    async def follow(desk: Desk):
        return await desk.catch_up()

    assert with_desk(follow) == 0


def test_gateways_points_and_dropped_messages_are_kept_for_the_screens(journal, with_desk):
    journal.record(
        born(AT), seen("north-12/pressure", AT), seen("new/pressure", AT, status="in_test")
    )
    journal.record(
        effects.GatewayChanged(
            at=Instant(AT), gateway="gw-01", online=True, epoch=7, because="hole", lost=12
        ),
        effects.MessageDropped(at=Instant(AT), source="gw-09", because="not Sparkplug", count=100),
        seen("north-12/pressure", AT, status="refused"),
    )

    async def act(desk: Desk):
        await desk.catch_up()
        return await desk.board()

    board = with_desk(act)

    assert [(g.id, g.online, g.lost) for g in board.gateways] == [("gw-01", True, 12)]
    assert [(p.id, p.status) for p in board.seen_points] == [
        ("new/pressure", "in_test"),
        ("north-12/pressure", "contested"),
    ]
    assert [(d.source, d.count) for d in board.dropped] == [("gw-09", 100)]


def test_follow_carries_out_what_comes_while_it_runs(journal: Journal, with_desk):
    async def act(desk: Desk):
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(desk.follow(stop))
            revision = desk.changes.revision
            journal.record(*burst(1, at=AT))
            desk.woken.set()
            await desk.changes.wait_beyond(revision, 5)
            stop.set()
            desk.woken.set()
        return await desk.board()

    assert [t.number for t in with_desk(act).tickets] == ["T-000001"]


def test_a_file_that_is_no_database_is_refused_in_one_sentence(with_desk, tmp_path):
    (tmp_path / "desk.db").write_text(
        "not a database at all, but long enough to be read as one" * 9
    )

    async def nothing(desk: Desk):
        raise AssertionError

    with pytest.raises(StorageError, match=r"desk\.db: cannot be opened"):
        with_desk(nothing)
