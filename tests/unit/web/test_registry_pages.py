"""The registry on its pages: an engineer's forms, in the reader's unit, with a second person."""

import re
from dataclasses import replace

import pytest

from server.config import PageSection
from server.servicecore.rules.permissions import Role
from tests.support.books import book
from tests.support.plant import registry
from tests.unit.web.test_auth import HERE, enter, join
from tests.unit.web.test_order_pages import on_shift, told
from tests.unit.web.test_register_pages import PAGE, post

P = "north-12/pressure"
PLACE = f"/registry/points/{P}"
EDIT = {"zone": "north", "name_zh": "压力", "name_en": "Pressure", "text": "re-cut"}
ZONE = {
    "name_zh": "北区",
    "name_en": "North",
    "timezone": "Asia/Shanghai",
    "calendar": "cn",
    "inflow": "north-inlet/flow\n-east-inlet/flow",
    "text": "a second meter",
}
ENGLISH = {"accept-language": "en"}
WRONG = (
    {"low": "0,28"},
    {"low": "nan"},
    {"low": "400", "high": "300"},
    {"zone": "atlantis"},
    {"x": "far"},
)


def fields(page: str) -> dict[str, str]:
    """Return what the form of a page is filled in with."""
    inputs = re.findall(r'<input[^>]* name="(\w+)"[^>]* value="([^"]*)"', page)
    return dict(inputs)


def test_limits_are_shown_and_taken_in_the_readers_unit(browse):
    async def act(browser, desk):
        await on_shift(browser)
        await browser.get("/pressure/MPa")
        empty = fields((await browser.get(PLACE)).text)
        done = await post(browser, f"{PLACE}/edit", **EDIT, low="0.57", unit=empty["unit"])
        await browser.get("/pressure/kPa")
        kpa = fields((await browser.get(PLACE)).text)
        await browser.get("/pressure/MPa")
        mpa = fields((await browser.get(PLACE)).text)
        typed = {"low": mpa["low"], "unit": "MPa", "version": mpa["version"]}
        same = await post(browser, f"{PLACE}/edit", **EDIT, **typed)
        stale = await post(browser, f"{PLACE}/edit", **{**EDIT, **typed, "version": "1"})
        return empty, done, kpa, mpa, same, stale, (await desk.registry()).points[P].low

    empty, done, kpa, mpa, same, stale, low = browse(act)

    assert (empty["unit"], empty["low"]) == ("MPa", "")
    assert (done.status_code, done.headers["location"]) == (303, PLACE)
    assert (kpa["low"], mpa["low"], low) == ("570", "0.57", 570.0)
    assert (same.status_code, "nothing would change" in told(same.text)) == (409, True)
    assert (stale.status_code, "changed meanwhile" in told(stale.text)) == (409, True)


def test_what_cannot_be_is_refused_with_its_reason_and_what_was_typed(browse):
    async def act(browser, desk):
        await on_shift(browser)
        answers = [await post(browser, f"{PLACE}/edit", **{**EDIT, **wrong}) for wrong in WRONG]
        missing = await browser.get("/registry/points/nobody")
        return answers, missing, await desk.registry()

    answers, missing, known = browse(act)

    assert [a.status_code for a in answers] == [422] * 5
    words = ("found 0,28", "found nan", "must lie below", "no zone atlantis", "found far")
    assert [w for w, a in zip(words, answers, strict=True) if w not in told(a.text)] == []
    assert 'value="0,28"' in answers[0].text
    assert (missing.status_code, known) == (404, registry())


def test_a_zones_meters_and_calendar_are_edited_and_the_page_tells_what_changed(browse):
    async def act(browser, desk):
        await on_shift(browser)
        done = await post(browser, "/registry/zones/north/edit", **ZONE)
        wrong = await post(browser, "/registry/zones/north/edit", **{**ZONE, "inflow": P})
        page = (await browser.get("/registry")).text
        return done, wrong, page, (await desk.registry()).zones["north"]

    done, wrong, page, zone = browse(act)

    assert done.status_code == 303
    assert [(i.point, i.sign) for i in zone.inflow] == [
        ("north-inlet/flow", 1),
        ("east-inlet/flow", -1),
    ]
    assert "is no flow point" in told(wrong.text)
    assert "Meters: north-inlet/flow 1 → north-inlet/flow 1; east-inlet/flow -1" in page
    assert 'id="queued"' in page  # no engine here
    assert 'id="differences"' in page  # the file says otherwise now


NEW = {
    "id": "west",
    "name_zh": "西区",
    "name_en": "West",
    "timezone": "Asia/Shanghai",
    "calendar": "cn",
    "within": "north",
    "text": "a new estate",
}


def test_a_zone_is_added_filled_and_retired_by_forms(browse):
    async def act(browser, desk):
        await on_shift(browser)
        before = (await browser.get("/registry")).text
        done = await post(browser, "/registry/zones/add", **NEW)
        taken = await post(browser, "/registry/zones/add", **NEW)
        wrong = await post(browser, "/registry/zones/add", **{**NEW, "id": "w.", "within": ""})
        moved = await post(browser, f"{PLACE}/edit", **{**EDIT, "zone": "west"})
        page = (await browser.get("/registry/zones/west")).text
        place = "/registry/zones/west/retire"
        early = await post(browser, place, text="re-cut")
        await post(browser, f"{PLACE}/edit", **EDIT)
        stale = await post(browser, place, text="re-cut", version="1")
        gone = await post(browser, place, text="re-cut")
        after = (await browser.get("/registry")).text
        return before, (done, moved, gone), (taken, wrong), page, (early, stale), after

    before, done, refused, page, not_yet, after = browse(act)

    assert 'action="/registry/zones/add"' in before
    assert '<option value="north" selected>North</option>' in page
    assert 'value="Asia/Shanghai"' in before  # where the others are
    assert [(a.status_code, a.headers["location"]) for a in done] == [
        (303, "/registry"),
        (303, PLACE),
        (303, "/registry"),
    ]
    assert [a.status_code for a in refused] == [409, 422]
    assert "there is a zone west already" in told(refused[0].text)
    assert "found w." in told(refused[1].text)
    assert 'value="w."' in refused[1].text
    assert 'action="/registry/zones/west/retire"' in page
    assert "Lies in zone: – → North" in page
    assert [a.status_code for a in not_yet] == [409, 409]
    assert f"West is still in use: {P}" in told(not_yet[0].text)
    assert "changed meanwhile" in told(not_yet[1].text)
    assert 'href="/registry/zones/west"' not in after
    assert "Lies in zone: North → –" in after


def test_a_zone_is_taken_out_of_another_by_its_form(browse):
    async def act(browser, desk):
        await on_shift(browser)
        place = "/registry/zones/north/edit"
        await post(browser, place, **{**ZONE, "within": "east"})
        put = (await desk.registry()).zones["north"].parent
        out = await post(browser, place, **{**ZONE, "within": "-"})
        return put, out.status_code, (await desk.registry()).zones["north"].parent

    assert browse(act) == ("east", 303, None)


def test_a_statutory_floor_is_written_in_the_readers_unit_and_loosened_by_two(browse):
    async def act(browser, desk):
        await on_shift(browser, "Eng")
        place = f"{PLACE}/floor"
        await browser.get("/pressure/MPa")
        empty = (await browser.get(PLACE)).text
        done = await post(browser, place, statute="0.14", unit="MPa", text="CJ/T 316")
        page, every = (await browser.get(PLACE)).text, (await browser.get("/registry")).text
        stale = await post(browser, place, statute="0.2", unit="MPa", text="x", version="1")
        less = await post(browser, place, statute="0.12", unit="MPa", text="a slip?")
        floor = (await desk.registry()).points[P].statute_kpa
        (waiting,) = await desk.registry_acts.waiting()
        entry = (await desk.looks.trail()).entries[0]
        return empty, (done, less), page, every, stale, floor, waiting, entry

    empty, done, page, every, stale, floor, waiting, entry = browse(act)

    assert "What the law asks for at this place, in MPa" in empty
    assert [(a.status_code, a.headers["location"]) for a in done] == [(303, PLACE)] * 2
    assert 'name="statute" value="0.14"' in page
    assert "Statutory pressure: 0.1400 MPa" in page
    assert "Statutory pressure: – → 0.1400 MPa" in every
    assert '<td class="number">0.1400</td>' in every
    assert (stale.status_code, "changed meanwhile" in told(stale.text)) == (409, True)
    assert (floor, waiting.by, waiting.reason) == (140.0, "Eng", "a slip?")
    assert waiting.loosened == [f"{P} statute"]
    assert (entry.actor, entry.reason) == ("Eng", "a slip?")


@pytest.mark.parametrize(
    ("point", "wrong", "words"),
    [
        (P, {"statute": "140", "unit": "MPa"}, "at most 5 MPa, found 140 MPa"),
        (P, {"statute": "0"}, "above 0"),
        (P, {"statute": "-0.1", "unit": "bar"}, "above 0"),
        (P, {"statute": "0,14", "unit": "MPa"}, "found 0,14"),
        (P, {"statute": "nan", "unit": "MPa"}, "found nan"),
        (P, {"statute": "140", "unit": "m3/h"}, "is no unit of pressure; allowed: MPa, kPa, bar"),
        ("north-inlet/flow", {"statute": "140"}, "is no pressure, so no law sets it a floor"),
    ],
)
def test_a_floor_that_cannot_be_is_refused_by_page_and_api_in_the_same_words(
    browse, point, wrong, words
):
    async def act(browser, desk):
        await on_shift(browser)
        place = f"/registry/points/{point}/floor"
        page = await post(browser, place, text="x", **wrong)
        body = {"actor": "Eng", "text": "x", **wrong}
        api = await browser.post(f"/api/v1{place}", json=body, headers=ENGLISH)
        return page, api, await desk.registry()

    page, api, known = browse(act)

    assert (page.status_code, api.status_code, known) == (422, 422, registry())
    assert words in told(page.text)
    assert api.json()["detail"] == told(page.text)


def test_a_point_is_retired_by_a_form_and_the_list_has_it_no_more(browse):
    async def act(browser, desk):
        await on_shift(browser)
        stale = await post(browser, f"{PLACE}/retire", text="x", version="1")
        done = await post(browser, f"{PLACE}/retire", text="dismantled")
        page = (await browser.get("/registry")).text
        return stale, done, page, (await browser.get(PLACE)).text, await desk.registry()

    stale, done, page, alone, known = browse(act)

    assert (stale.status_code, done.status_code) == (409, 303)
    assert P not in known.points
    assert f'<a href="{PLACE}">{P}</a> <em class="tag">in test' in page  # it still speaks
    assert "retire" not in alone


def test_programs_add_and_retire_zones_with_the_words_of_the_pages(browse):
    async def act(browser, desk):
        api = "/api/v1/registry/zones"
        body = {"actor": "Eng", **NEW}
        wrong = await browser.post(f"{api}/add", json={**body, "timezone": "x"}, headers=ENGLISH)
        done = await browser.post(f"{api}/add", json=body)
        taken = await browser.post(f"{api}/add", json=body, headers=ENGLISH)
        less = await browser.post(f"{api}/add", json={"actor": "Eng", "id": "west"})
        gone = await browser.post(f"{api}/west/retire", json={"actor": "Eng", "text": "a slip"})
        return wrong, done, taken, less, gone, await desk.registry()

    wrong, done, taken, less, gone, known = browse(act)

    assert (wrong.status_code, wrong.json()["detail"]) == (
        422,
        "expected a time zone such as Asia/Shanghai, found x",
    )
    assert (done.status_code, done.json()["result"]) == (200, "RC-000001")
    assert (taken.status_code, taken.json()["detail"]) == (409, "there is a zone west already")
    assert (less.status_code, gone.status_code, known) == (422, 200, registry())


def test_who_may_not_edit_is_shown_no_form_and_refused(browse):
    async def act(browser, desk):
        await join(desk, "li", Role.DISPATCHER)
        await enter(browser, "li")
        page = (await browser.get("/registry")).text
        zone = (await browser.get("/registry/zones/north")).text
        add = await browser.post("/registry/zones/add", data=NEW, headers=HERE)
        foreign = await browser.post("/registry/zones/add", data=NEW)
        return page + zone, add, foreign, await desk.registry()

    pages, add, foreign, known = browse(act, PAGE)

    assert "/registry/zones/add" not in pages
    assert "/registry/zones/north/retire" not in pages
    assert (add.status_code, foreign.status_code) == (409, 403)
    assert known == registry()


def test_a_looser_limit_waits_on_the_page_until_a_second_engineer_agrees(browse):
    async def act(browser, desk):
        for login in ("eng", "chen"):
            await join(desk, login, Role.ENGINEER)
        await join(desk, "li", Role.DISPATCHER)
        await enter(browser, "eng")
        await browser.get("/language/en")
        edit = f"{PLACE}/edit"
        await browser.post(edit, data={**EDIT, "low": "280"}, headers=HERE)
        await browser.post(edit, data={**EDIT, "low": "270"}, headers=HERE)
        waits = (await browser.get("/registry")).text
        own = await browser.post("/registry/changes/RC-000002/agree", headers=HERE)
        await enter(browser, "li")
        page = (await browser.get("/registry")).text
        not_his = await browser.post(edit, data={**EDIT, "low": "260"}, headers=HERE)
        await enter(browser, "chen")
        low = (await desk.registry()).points[P].low
        agreed = await browser.post("/registry/changes/RC-000002/agree", headers=HERE)
        return waits, own, page, not_his, low, agreed, (await desk.registry()).points[P].low

    waits, own, page, not_his, low, agreed, after = browse(act, PAGE)

    assert 'action="/registry/changes/RC-000002/agree"' in waits
    assert 'action="/registry/changes/' not in page
    assert [a.status_code for a in (own, not_his, agreed)] == [409, 409, 303]
    assert (low, after) == (280.0, 270.0)


def test_programs_edit_in_the_house_unit_and_toml_is_taken_again(browse):
    async def act(browser, desk):
        api = "/api/v1/registry"
        body = {"actor": "Eng", **EDIT, "low": "280"}
        await browser.post(f"{api}/points/{P}/edit", json=body)
        changed = (await desk.registry()).points[P].low
        asked = await browser.post(f"{api}/file/adopt", json={"actor": "Eng", "text": "as was"})
        waiting = [c.subject for c in await desk.registry_acts.waiting()]
        own = await browser.post(f"{api}/changes/RC-000002/agree", json={"actor": "Eng"})
        done = await browser.post(f"{api}/changes/RC-000002/agree", json={"actor": "Chen"})
        return changed, asked.status_code, waiting, own, done, await desk.registry()

    changed, asked, waiting, own, done, known = browse(act)

    assert (changed, asked, waiting) == (280.0, 200, ["server.toml"])
    assert own.status_code == 409
    assert (done.status_code, known) == (200, registry())


def test_a_page_without_sign_in_is_the_same(browse):
    async def act(browser, desk):
        return (await browser.get("/registry")).status_code, (await browser.get(PLACE)).status_code

    assert browse(act, PageSection()) == (200, 200)


def test_a_promise_of_a_points_own_wins_and_is_given_up_by_two_persons(browse):
    async def act(browser, desk):
        await on_shift(browser)
        await post(browser, f"{PLACE}/edit", **EDIT, place="central")
        by_policy = (await browser.get(PLACE)).text
        await post(browser, f"{PLACE}/edit", **EDIT, place="central", promise="0.3", unit="MPa")
        own = (await browser.get(PLACE)).text
        await post(browser, f"{PLACE}/edit", **EDIT)  # which says nothing of it
        kept = (await desk.registry()).points[P].promise_kpa
        await post(browser, f"{PLACE}/edit", **EDIT, place="-", promise="")
        nowhere = await post(browser, f"{PLACE}/edit", **EDIT, promise="0.3")
        waiting = [c.loosened for c in await desk.registry_acts.waiting()]
        flow = (await browser.get("/registry/points/north-inlet/flow")).text
        return by_policy, own, kept, waiting, nowhere, flow

    by_policy, own, kept, waiting, nowhere, flow = browse(act, book=book("xinyang-water"))

    shown = re.search(r'<p id="promise">(.*?)</p>', by_policy)[1]
    assert "280.0 kPa" in shown
    assert "by policy xinyang-water" in shown
    assert "<code>pressure.central.min_mpa</code>" in shown
    assert '<option value="central" selected>central urban</option>' in by_policy
    shown = re.search(r'<p id="promise">(.*?)</p>', own)[1]
    assert "300.0 kPa" in shown
    assert "written at this point" in shown
    assert "the policy promises 280.0 kPa" in shown
    assert fields(own)["promise"] == "300"
    assert kept == 300.0
    assert waiting == [[f"{P} promise"]]
    assert (nowhere.status_code, "lacks mandatory fields" in told(nowhere.text)) == (409, True)
    assert 'id="promise"' not in flow


def test_another_policy_is_told_on_the_page_with_what_it_changes_where(browse):
    async def act(browser, desk):
        await on_shift(browser)
        await post(browser, f"{PLACE}/edit", **EDIT, place="central")
        desk.ground.book = replace(desk.ground.book, policy=book("demo-gas").policy)
        await desk.registry_acts.follow_policy()
        return (await browser.get("/registry")).text

    page = browse(act, book=book("xinyang-water"))

    section = re.search(r'<section class="broad" id="waiting">.*?</section>', page, re.DOTALL)[0]
    assert "policy demo-gas" in section
    assert "280.0 kPa (xinyang-water: pressure.central.min_mpa) → –" in section
    assert "mainwatch" in section
