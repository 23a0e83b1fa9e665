"""Programs do what the pages do, behind the same use cases and with the same refusals."""

import pytest

from server.config import PageSection
from server.servicecore.rules.permissions import Role
from server.web.acts_cases import CASE_ACTS
from server.web.acts_orders import ORDER_ACTS, STEPS
from tests.support.books import book
from tests.support.plant import AT
from tests.unit.web.test_order_pages import CALL, T1

PAGE = PageSection(sign_in=True, names=("mainwatch.example",), behind_tls_proxy=True)
API = "/api/v1"
I1 = "INC-000001"


async def post(browser, path, **body):
    return await browser.post(API + path, json={"actor": "Li", **body})


def test_every_act_is_described_by_openapi_with_the_fields_it_takes(browse):
    async def act(browser, desk):
        return (await browser.get(f"{API}/openapi.json")).json()

    found = browse(act)

    for name in ORDER_ACTS:
        assert f"{API}/orders/{{subject}}/{name}" in found["paths"]
    for name in STEPS:
        assert f"{API}/orders/{{subject}}/steps/{name}" in found["paths"]
    for name in CASE_ACTS:
        assert f"{API}/cases/{{subject}}/acts/{name}" in found["paths"]
    assert "409" in found["paths"][f"{API}/orders/{{subject}}/urge"]["post"]["responses"]
    assert "is_satisfied" in found["components"]["schemas"]["CallBack"]["properties"]
    names = [m["operationId"] for p in found["paths"].values() for m in p.values()]
    assert len(names) == len(set(names))


def test_an_order_is_worked_and_read_whole(browse):
    async def act(browser, desk):
        queue = (await browser.get(f"{API}/orders")).json()
        done = [
            await post(browser, f"/orders/{T1}/steps/accept"),
            await post(browser, f"/orders/{T1}/urge", text="the school"),
            await post(browser, f"/orders/{T1}/steps/arrive", version=2),
            await post(browser, f"/orders/{T1}/steps/diagnose", text="joint", dn_mm=300),
            await post(browser, f"/orders/{T1}/child", task="valves", category="valve_well"),
        ]
        return queue, done, (await browser.get(f"{API}/orders/{T1}")).json()

    queue, done, order = browse(act, book=book("demo-water"))

    assert [q["number"] for q in queue] == [T1]
    assert {c["clock"] for c in queue[0]["clocks"]} == {"accept", "onsite", "repair"}
    assert [a.status_code for a in done] == [200] * 5
    assert done[3].json()["result"] == "diagnosed"
    assert order["facts"]["dn_mm"] == 300
    assert order["children"] == [done[4].json()["result"]]
    assert [e["verb"] for e in order["history"]][-1] == "diagnose"
    assert "close" not in order["steps"]


def test_what_is_refused_on_a_page_is_refused_here_with_the_same_words(browse):
    async def act(browser, desk):
        browser.headers["accept-language"] = "en"
        wrong = await post(browser, f"/orders/{T1}/steps/close")
        page = await browser.post(f"/orders/{T1}/steps/close", headers={"accept": "text/html"})
        stale = await post(browser, f"/orders/{T1}/steps/accept", version=99)
        nobody = await browser.post(f"{API}/orders/{T1}/steps/accept", json={})
        unknown = await browser.get(f"{API}/orders/T-9")
        more = await post(browser, f"/orders/{T1}/urge", text="x", extra=1)
        await browser.post("/shift/start", data={"name": "Li"})
        page = await browser.post(f"/orders/{T1}/steps/close")
        return wrong, page, stale, nobody, unknown, more

    wrong, page, stale, nobody, unknown, more = browse(act)

    assert wrong.status_code == stale.status_code == page.status_code == 409
    assert wrong.json()["detail"] in page.text
    assert "allowed now: Accept" in wrong.json()["detail"]
    assert (nobody.status_code, unknown.status_code, more.status_code) == (422, 404, 422)


def test_incidents_contacts_works_and_orders_of_pumps_are_acted_on_and_read(browse):
    async def act(browser, desk):
        plan = {"zone": "north", "cause": "valve", "plan": "feed from the east"}
        said = [
            await post(browser, f"/cases/{I1}/acts/restore"),
            await post(
                browser, "/contacts/new", channel="phone", category="leak", text="wet", phone="1"
            ),
            await post(browser, "/contacts/K-000001/ticket", severity=2),
            await post(browser, "/works/new", **plan, start=str(AT), end=str(AT + 60_000)),
            await post(browser, "/works/PW-000001/notice", text="at noon"),
            await post(
                browser, "/operations/new", act="valve close", station="V", unit="1", text="x"
            ),
            await post(browser, "/shift/handover", text="calm"),
            await post(
                browser,
                "/pressure-points/new",
                point="p",
                zone="north",
                health="good",
            ),
        ]
        paths = ("cases", "contacts", "contacts/K-000001", "works", "operations", "trail")
        return said, [(await browser.get(f"{API}/{p}")).json() for p in paths]

    said, (cases, contacts, contact, works, operations, trail) = browse(act)

    assert [a.status_code for a in said] == [200] * 8
    assert said[1].json()["result"] == "K-000001"
    assert {c["incident"]: c["state"] for c in cases}[I1] == "restored"
    assert contacts[0] == contact
    assert contact["ticket"] == said[2].json()["result"]
    assert works[0]["notice"] == "at noon"
    assert operations[0]["act"] == "close"
    assert trail["first_break"] is None
    assert trail["entries"][0]["seq"] == trail["head"]


def test_a_month_in_figures_names_the_orders_behind_each(browse):
    async def act(browser, desk):
        for step, words in (("accept", ""), ("arrive", ""), ("reply", "done")):
            await post(browser, f"/orders/{T1}/steps/{step}", text=words)
        wrong = await browser.get(f"{API}/figures?month=2027-13")
        return (await browser.get(f"{API}/figures?month=2027-01")).json(), wrong

    figures, wrong = browse(act, book=book("demo-water"))

    assert figures["shares"]["repair_timeliness"] == {"value": 1.0, "good": [T1], "of": [T1]}
    assert figures["alarms"]["shelved"] == 0
    assert sum(load["settled"] for load in figures["loads"].values()) == 1
    assert wrong.status_code == 422


@pytest.mark.parametrize(("role", "sees"), [(Role.DISPATCHER, True), (Role.AUDITOR, False)])
def test_a_token_acts_by_its_roles_and_sees_what_they_may_see(browse, role, sees):
    async def act(browser, desk):
        name = await desk.contacts.record(CALL, actor="A")
        number = await desk.contacts.make_ticket(name, actor="A")
        token = await desk.people.add_program("scada", roles=[role], actor="admin")
        headers = {"authorization": f"Bearer {token}"}
        contact = (await browser.get(f"{API}/contacts/{name}", headers=headers)).json()
        order = (await browser.get(f"{API}/orders/{number}", headers=headers)).json()
        urged = await browser.post(
            f"{API}/orders/{number}/urge", json={"text": "x"}, headers=headers
        )
        nobody = await browser.get(f"{API}/orders")
        return contact, order, urged, nobody, (await desk.looks.order(number)).history[-1]

    contact, order, urged, nobody, last = browse(act, PAGE)

    assert (contact["phone"] == CALL.phone) is sees
    assert (order["fields"]["contact"] == CALL.phone) is sees
    assert (order["fields"]["sender"] == CALL.name) is sees
    assert (urged.status_code == 200) is sees
    assert (last.actor == "scada") is sees
    assert nobody.status_code == 401
