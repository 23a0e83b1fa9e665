"""Quality marks by engineers: told to the engine, on the record, taken back with what lay below."""

import pytest

from server.engine.commands import MARK_QUALITY
from server.engine.marking import read
from server.history.marks import Mark
from server.servicecore.desk import Desk
from server.servicecore.rules.permissions import Actor, Role
from server.servicecore.rules.refusal import Refused
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from tests.support.plant import AT, registry

P = "north-12/pressure"
ENGINEER = Actor(name="Eng", roles=frozenset({Role.ENGINEER}))
BEGIN, END = Instant(AT - 2 * HOUR_MS), Instant(AT - HOUR_MS)


async def marked(desk: Desk, *, point: str = P, actor: Actor = ENGINEER, **more) -> None:
    facts = {"begin": BEGIN, "end": END, "quality": "bad", "reason": "frozen in the frost"}
    await desk.marking.mark(point, actor=actor, **{**facts, **more})


def test_a_mark_is_one_transaction_of_trail_and_command(run):
    async def act(desk: Desk):
        await desk.registry_acts.seed(registry())
        await marked(desk)
        entry = (await desk.looks.trail()).entries[0]
        return entry, await desk.commands(), desk.commands_waiting.is_set()

    entry, (command,), is_told = run(act)

    assert (entry.verb, entry.entity, entry.actor) == ("mark_quality", P, "Eng")
    assert (entry.reason, entry.after) == ("frozen in the frost", "bad")
    assert entry.data == {"from": BEGIN, "to": END}
    assert (command.verb, command.subject, is_told) == (MARK_QUALITY, P, True)
    (mark,) = read(command.note)
    assert (mark.begin, mark.end, mark.quality) == (BEGIN, END, 0)
    assert (mark.reason, mark.author) == ("frozen in the frost", "Eng")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"point": "nobody/pressure"}, "there is no nobody/pressure"),
        ({"end": BEGIN}, "expected an end after the beginning"),
        ({"begin": Instant(-1)}, "expected an end after the beginning"),
        ({"end": Instant(AT + 1)}, "expected a period that is over"),
        ({"begin": Instant(AT - 400 * DAY_MS)}, "expected at most 366 days"),
        ({"reason": " "}, "say why"),
        ({"quality": "good"}, "allowed: bad, uncertain"),
        ({"actor": Actor(name="Li", roles=frozenset({Role.DISPATCHER}))}, "may not do this"),
    ],
)
def test_a_mark_that_cannot_be_is_refused(run, wrong, words):
    async def act(desk: Desk):
        await desk.registry_acts.seed(registry())
        with pytest.raises(Refused, match=words):
            await marked(desk, **wrong)
        return await desk.commands()

    assert run(act) == []


def mark(start: int, end: int, quality: int | None, author: str) -> Mark:
    return Mark(
        point=P,
        start=Instant(start),
        end=Instant(end),
        quality=quality,
        reason=author,
        author=author,
        at=Instant(AT),
    )


def test_a_mark_is_taken_back_to_what_the_engine_had_said_below_it(run):
    known = {
        4: mark(BEGIN - HOUR_MS, BEGIN + HOUR_MS // 2, 64, "engine"),
        7: mark(BEGIN, END, 0, "Eng"),
        8: mark(BEGIN - DAY_MS, BEGIN, 0, "Eng"),
        9: mark(BEGIN - DAY_MS, BEGIN, None, "Eng"),
    }

    async def read_marks(point: str):
        return known if point == P else {}

    async def act(desk: Desk):
        await desk.registry_acts.seed(registry())
        desk.marking.read_from(read_marks)
        for gone in (1, 8, 9):  # not there, taken back, itself a taking back
            with pytest.raises(Refused, match="holds no more"):
                await desk.marking.take_back(P, gone, actor=ENGINEER, reason="x")
        with pytest.raises(Refused, match="say why"):
            await desk.marking.take_back(P, 7, actor=ENGINEER, reason="")
        await desk.marking.take_back(P, 7, actor=ENGINEER, reason="the other instrument")
        return (await desk.looks.trail()).entries[0], await desk.commands()

    entry, (command,) = run(act)

    assert (entry.verb, entry.reason) == ("take_back_mark", "the other instrument")
    back, below = read(command.note)
    assert (back.begin, back.end, back.quality, back.author) == (BEGIN, END, None, "Eng")
    assert (below.begin, below.end) == (BEGIN, BEGIN + HOUR_MS // 2)
    assert (below.quality, below.author) == (64, "engine")
