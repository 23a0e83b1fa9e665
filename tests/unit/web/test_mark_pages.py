"""Quality marks on their page, in the API and in the trend's series."""

from server.history.marks import Mark
from server.servicecore.rules.permissions import Role
from server.web.mark_pages import SHOWN_MAX
from telemetry.instant import HOUR_MS, Instant
from tests.support.plant import AT, History, Journal, registry, seen
from tests.unit.web.test_auth import HERE, enter, join
from tests.unit.web.test_order_pages import on_shift, told
from tests.unit.web.test_register_pages import PAGE, post

P = "north-12/pressure"
PLACE = f"/quality/{P}"
STRETCH = {"start": str(AT - 2 * HOUR_MS), "end": str(AT - HOUR_MS), "quality": "bad"}


def tell(folder, *said: tuple[int, int, int | None, str]) -> None:
    history = History(folder / "historian.db")
    history.historian.mark(
        Mark(
            point=P,
            start=Instant(start),
            end=Instant(end),
            quality=quality,
            reason="flat" if author == "engine" else "frost",
            author=author,
            at=Instant(AT),
        )
        for start, end, quality, author in said
    )
    history.close()


def test_an_engineer_marks_a_stretch_and_takes_a_mark_back_by_forms(browse, plant):
    tell(plant, (AT - 5 * HOUR_MS, AT - 4 * HOUR_MS, 0, "engine"), (AT - HOUR_MS, AT, 64, "Eng"))

    async def act(browser, desk):
        await on_shift(browser, "Eng")
        page = (await browser.get(PLACE)).text
        done = await post(browser, f"{PLACE}/mark", **STRETCH, text="frozen in the frost")
        waits = (await browser.get(PLACE)).text
        back = await post(browser, f"{PLACE}/take_back", mark="1", text="it was dry")
        gone = await post(browser, f"{PLACE}/take_back", mark="7", text="x")
        link = (await browser.get(f"/registry/points/{P}")).text
        return page, done, waits, back, gone, link, await desk.commands()

    page, done, waits, back, gone, link, commands = browse(act)

    assert page.count(f'action="{PLACE}/take_back"') == 2
    assert "frozen</td><td>engine" in page
    assert "uncertain</td><td>frost</td><td>Eng" in page
    assert [(a.status_code, a.headers["location"]) for a in (done, back)] == [(303, PLACE)] * 2
    assert 'id="asked"' in waits
    assert (gone.status_code, "holds no more" in told(gone.text)) == (409, True)
    assert f'href="{PLACE}"' in link
    assert [c.verb for c in commands] == ["mark_quality"] * 2


def test_a_point_in_test_has_a_page_of_marks_and_no_form(browse, plant):
    journal = Journal(plant / "journal.db")
    journal.record(seen("new/pressure", AT, status="in_test"))
    journal.close()

    async def act(browser, desk):
        await on_shift(browser, "Eng")
        page = await browser.get("/quality/new/pressure")
        made = await post(browser, "/quality/new/pressure/mark", **STRETCH, text="x")
        return page, made

    page, made = browse(act)

    assert (page.status_code, "No mark has been made" in page.text) == (200, True)
    assert "/mark" not in page.text.partition("<main")[2]
    assert (made.status_code, "there is no new/pressure" in told(made.text)) == (409, True)


def test_programs_read_mark_and_take_back_with_the_words_of_the_page(browse, plant):
    tell(plant, (AT - 3 * HOUR_MS, AT - HOUR_MS, 0, "engine"), (AT - 2 * HOUR_MS, AT, None, "Eng"))

    async def act(browser, desk):
        api = f"/api/v1{PLACE}"
        marks = (await browser.get(api)).json()
        body = {"actor": "Eng", **STRETCH, "text": "frost"}
        done = await browser.post(f"{api}/mark", json=body)
        late = {**body, "end": "soon"}
        wrong = await browser.post(f"{api}/mark", json=late, headers={"accept-language": "en"})
        back = await browser.post(f"{api}/take_back", json={"actor": "E", "mark": 1, "text": "x"})
        query = {"point": P, "range": "24h", "end": AT}
        series = (await browser.get("/api/v1/series", params=query)).json()
        none = await browser.get("/api/v1/quality/nobody/pressure")
        return marks, done, wrong, back, series, none

    marks, done, wrong, back, series, none = browse(act)

    assert [(m["mark"], m["quality"], m["author"]) for m in marks] == [
        (2, "measured", "Eng"),
        (1, "bad", "engine"),
    ]
    held = {"begin": AT - 3 * HOUR_MS, "end": AT - 2 * HOUR_MS}
    assert marks[1]["holds"] == [held]
    assert (done.status_code, back.status_code, none.status_code) == (200, 200, 404)
    assert (wrong.status_code, "expected a time such as" in wrong.json()["detail"]) == (422, True)
    assert series["quality"] == [{**held, "quality": "bad", "reason": "flat", "author": "engine"}]


def test_who_is_no_engineer_sees_the_marks_and_may_not_make_one(browse, plant):
    tell(plant, *((AT - HOUR_MS - n, AT - n, 0, "Eng") for n in range(SHOWN_MAX + 3)))

    async def act(browser, desk):
        await join(desk, "li", Role.DISPATCHER)
        await enter(browser, "li")
        page = await browser.get(PLACE)
        made = await browser.post(f"{PLACE}/mark", data={**STRETCH, "text": "x"}, headers=HERE)
        missing = await browser.get("/quality/nobody")
        return page, made, missing, await desk.commands(), await desk.registry()

    page, made, missing, commands, known = browse(act, PAGE)

    assert "<form" not in page.text.partition("<main")[2]
    assert "+3" in page.text
    assert (made.status_code, missing.status_code, commands) == (409, 404, [])
    assert known == registry()
