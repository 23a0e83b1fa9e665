"""The month's messages about arrears are owed before the day that the utility sets."""

import asyncio
from dataclasses import replace

import pytest

from server.servicecore.desk import Desk
from server.servicecore.rules.permissions import Actor, Role
from server.servicecore.rules.policy_form import KEYS, PolicyFile, Sourced
from server.servicecore.rules.refusal import Refused
from tests.support.books import book, local, shown
from tests.support.plant import ManualClock

pytestmark = pytest.mark.requirement("R81")


def on(tmp_path, day: float | None, act, *, at: str):
    rules = book("xinyang-water")
    values = dict(rules.policy.values)
    if day is not None:
        values["arrears.day_of_month"] = Sourced(value=day, source="site: asked")
    rules = replace(rules, policy=replace(rules.policy, values=values))
    clock = ManualClock(local(at))

    async def run():
        desk = await Desk.open(
            tmp_path / "desk.db", journal=tmp_path / "journal.db", clock=clock, book=rules
        )
        try:
            return await act(desk, clock)
        finally:
            await desk.close()

    return asyncio.run(run())


def test_the_run_is_owed_before_the_day_and_a_day_that_passes_is_on_record_once(tmp_path):
    async def act(desk: Desk, clock):
        first = await desk.arrears.run()
        quiet = await desk.arrears.watch()
        clock.at = local("2026-03-10 00:00")
        late = [await desk.arrears.watch() for _ in range(2)]
        with pytest.raises(Refused, match="say why or with what"):
            await desk.arrears.sent(actor="Qian", text=" ")
        await desk.arrears.sent(actor="Qian", text="412 messages")
        with pytest.raises(Refused, match="were sent by Qian"):
            await desk.arrears.sent(actor="Sun", text="again")
        done = await desk.arrears.run()
        clock.at = local("2026-04-01 00:00")
        return first, quiet, late, done, await desk.arrears.run()

    first, quiet, late, done, april = on(tmp_path, 10, act, at="2026-03-09 23:59")

    assert (first.month, shown(first.due), first.is_late) == ("2026-03", "2026-03-10 00:00", False)
    assert (quiet, late) == ("", ["2026-03", ""])
    assert (done.sent_by, done.is_late) == ("Qian", True)
    assert (april.month, april.sent_at, april.is_late) == ("2026-04", None, False)


def test_what_is_sent_in_time_is_not_late_and_a_short_month_ends_with_its_last_day(tmp_path):
    async def act(desk: Desk, clock):
        crew = Actor(name="Zhao", roles=frozenset({Role.CREW}))
        with pytest.raises(Refused, match="may not do this"):
            await desk.arrears.sent(actor=crew, text="3 messages")
        await desk.arrears.sent(actor="Qian", text="3 messages")
        clock.at = local("2026-02-28 09:00")
        return await desk.arrears.run(), await desk.arrears.watch()

    run, missed = on(tmp_path, 31, act, at="2026-02-27 23:59")

    assert (shown(run.due), run.is_late, missed) == ("2026-02-28 00:00", False, "")


def test_where_the_text_leaves_the_day_blank_nothing_is_owed(tmp_path):
    async def act(desk: Desk, clock):
        with pytest.raises(Refused):
            await desk.arrears.sent(actor="Qian", text="3 messages")
        return await desk.arrears.run(), await desk.arrears.watch()

    assert on(tmp_path, None, act, at="2026-02-27 23:59") == (None, "")


def test_a_day_before_the_first_is_refused():
    head = {"schema": "mainwatch.policy/1", "id": "x", "kind": "water"}
    head["name"] = {"zh": "某", "en": "X"}
    value = {"value": 0.0, "source": "site: asked"}
    file = PolicyFile.model_validate({"policy": head, "values": {"arrears.day_of_month": value}})

    assert KEYS["arrears.day_of_month"].at_least == 1
    assert file.problems() == ["values.arrears.day_of_month: expected at least 1, was 0"]
