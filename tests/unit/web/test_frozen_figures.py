"""A month's figures are a file once it is over, its hash in the trail; a restatement is another."""

import hashlib
import json

import pytest

from mainwatch.audit import verify
from server.servicecore.frozen import changed_files
from server.servicecore.rules.permissions import Actor, Role
from server.servicecore.rules.refusal import Refused
from tests.support.books import book, local
from tests.unit.web.test_order_pages import on_shift, told
from tests.unit.web.test_register_pages import post

T1 = "T-000001"
MONTH = "2027-01"  # in which the plant's burst is
CREW = Actor(name="Zhao", roles=frozenset({Role.CREW}))


def test_the_month_is_frozen_once_when_it_is_over_and_late_acts_do_not_change_it(browse, plant):
    folder = plant / "figures"

    async def act(browser, desk):
        during = await desk.frozen.freeze_due()
        desk.ground.clock.at = local("2027-02-01 00:00")
        frozen = [await desk.frozen.freeze_due() for _ in range(2)]
        text = (folder / f"{MONTH}.json").read_bytes()
        await desk.step(T1, "accept", actor="Zhao")
        await desk.step(T1, "reply", actor="Zhao", text="late")
        entry = (await desk.frozen.of(MONTH))[0]
        page = (await browser.get(f"/figures?month={MONTH}")).text
        answer = await browser.get(f"/figures/{MONTH}/frozen/1")
        return during, frozen, text, entry, page, answer.content

    during, frozen, text, entry, page, answer = browse(act, book=book("demo-water"))
    body = json.loads(text)

    assert (during, frozen) == ("", [MONTH, ""])
    assert entry.hash == hashlib.sha256(text).hexdigest()
    assert (entry.by, entry.revision, entry.file) == ("mainwatch", 1, f"{MONTH}.json")
    assert (body["form"], body["month"], body["policy"]) == (
        "mainwatch.figures/1",
        MONTH,
        "demo-water",
    )
    assert body["end"] == local("2027-02-01 00:00")
    assert [load["open"] for load in body["loads"].values()] == [1]
    assert answer == text
    assert entry.hash[:16] in page


def test_a_restatement_is_a_new_file_with_its_reason_and_the_old_one_stays(browse, plant):
    async def act(browser, desk):
        await on_shift(browser)
        early = await post(browser, f"/figures/{MONTH}/restate", text="a wrong calendar")
        desk.ground.clock.at = local("2027-02-01 00:00")
        await desk.frozen.freeze_due()
        blank = await post(browser, f"/figures/{MONTH}/restate", text=" ")
        with pytest.raises(Refused, match="may not do this"):
            await desk.frozen.restate(MONTH, actor=CREW, reason="x")
        done = await post(browser, f"/figures/{MONTH}/restate", text="a wrong calendar")
        files = sorted(p.name for p in (plant / "figures").iterdir())
        kept = [(f.revision, f.by, f.reason) for f in await desk.frozen.of(MONTH)]
        return early, blank, done, files, kept

    early, blank, done, files, kept = browse(act, book=book("demo-water"))

    assert [a.status_code for a in (early, blank, done)] == [409, 409, 303]
    assert "say why" in told(blank.text)
    assert files == [f"{MONTH}.json", f"{MONTH}.r2.json"]
    assert kept == [(1, "mainwatch", ""), (2, "Li", "a wrong calendar")]


def test_a_file_that_was_changed_is_not_shown_as_what_was_frozen(browse, plant):
    async def act(browser, desk):
        desk.ground.clock.at = local("2027-02-01 00:00")
        await desk.frozen.freeze_due()
        database, path = plant / "desk.db", plant / "figures" / f"{MONTH}.json"
        before = verify(database, heads=None, as_json=True), changed_files(database)
        path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
        changed = await browser.get(f"/figures/{MONTH}/frozen/1")
        proof = verify(database, heads=None, as_json=True), changed_files(database)
        path.unlink()
        gone = await browser.get(f"/figures/{MONTH}/frozen/1")
        unknown = await browser.get("/figures/x/frozen/1")
        return (before, proof), changed.status_code, gone.status_code, unknown

    proofs, changed, gone, unknown = browse(act, book=book("demo-water"))

    assert (changed, gone, unknown.status_code) == (409, 409, 404)
    assert proofs == ((0, []), (1, [f"{MONTH}.json"]))


def test_a_month_before_the_first_act_is_not_frozen(browse, plant):
    async def act(browser, desk):
        desk.ground.clock.at = local("2027-01-31 23:59")
        return await desk.frozen.freeze_due(), (plant / "figures").exists()

    assert browse(act, book=book("demo-water")) == ("", False)
