"""The API: the same facts and acts as the page, in house units, described by OpenAPI."""

import pytest

from tests.support.plant import AT, History

LI = {"actor": "Li"}


def test_boards_are_told_in_house_units(browse):
    async def act(browser, desk):
        names = ("status", "alarms", "incidents", "tickets", "points")
        return {name: (await browser.get(f"/api/v1/{name}")).json() for name in names}

    told = browse(act)

    assert told["status"] == {
        "now": AT,
        "newest": AT - 1_000,
        "engine_reached": False,
        "intake_stopped": "",
        "revision": told["status"]["revision"],
        "queued_commands": 0,
        "influx": None,
    }
    assert [(a["id"], a["severity"], a["active"]) for a in told["alarms"]] == [
        ("A-000001", 1, True),
        ("A-000002", 3, True),
    ]
    assert [(i["id"], i["is_proposed"]) for i in told["incidents"]] == [
        ("INC-000001", False),
        ("INC-000002", True),
    ]
    (ticket,) = told["tickets"]
    assert (ticket["number"], ticket["incident"], ticket["state"]) == (
        "T-000001",
        "INC-000001",
        "issued",
    )
    assert ticket["steps"] == ["accept", "return", "transfer", "cancel"]
    assert ticket["data"]["estimate_m3h"] == 38.4
    point = next(p for p in told["points"] if p["id"] == "north-12/pressure")
    assert (point["value"], point["quality"], point["at"]) == (281.25, 192, AT - 1_000)
    assert point["time_quality"] == "synchronised"


def test_a_ticket_goes_its_way_by_the_api(browse):
    async def act(browser, desk):
        answers = []
        for step, text in (("accept", ""), ("arrive", ""), ("reply", "done"), ("close", "")):
            answer = await browser.post(
                f"/api/v1/tickets/T-000001/{step}", json={**LI, "text": text}
            )
            answers.append(answer.json()["state"])
        return answers

    assert browse(act) == ["accepted", "on_site", "replied", "closed"]


def test_what_is_closed_goes_into_the_archive_by_the_api_and_nothing_else(browse):
    async def act(browser, desk):
        nothing = await browser.post("/api/v1/archive", json=LI)
        for step in ("accept", "arrive", "reply", "close"):
            await browser.post(f"/api/v1/tickets/T-000001/{step}", json={**LI, "text": "done"})
        early = await browser.post("/api/v1/archive", json={**LI, "before": AT})
        nobody = await browser.post("/api/v1/archive", json={})
        done = await browser.post("/api/v1/archive", json=LI)
        again = await browser.post("/api/v1/archive", json=LI)
        (ticket,) = (await browser.get("/api/v1/tickets")).json()
        tickets = [answer.json().get("tickets") for answer in (nothing, early, nobody, done, again)]
        return tickets, nobody.status_code, ticket["state"]

    assert browse(act) == ([[], [], None, ["T-000001"], []], 422, "archived")


def test_incidents_and_alarms_are_acted_on_by_the_api(browse):
    async def act(browser, desk):
        dispatched = await browser.post("/api/v1/incidents/INC-000002/dispatch", json=LI)
        seen = await browser.post("/api/v1/alarms/A-000001/acknowledge", json=LI)
        again = await browser.post(
            "/api/v1/alarms/A-000001/acknowledge", json=LI, headers={"accept-language": "en"}
        )
        all_seen = await browser.post("/api/v1/incidents/INC-000002/acknowledge", json=LI)
        closed = await browser.post("/api/v1/incidents/INC-000002/close", json=LI)
        return dispatched.json(), seen.status_code, again.json(), all_seen.status_code, closed

    dispatched, seen, again, all_seen, closed = browse(act)

    assert dispatched["ticket"] == "T-000002"
    assert (seen, all_seen, closed.status_code) == (200, 200, 409)
    assert again["detail"].startswith("A-000001: Li has already asked")


def test_a_stale_version_is_refused(browse):
    async def act(browser, desk):
        await browser.post("/api/v1/tickets/T-000001/accept", json={**LI, "version": 1})
        return await browser.post("/api/v1/tickets/T-000001/arrive", json={**LI, "version": 1})

    assert browse(act).status_code == 409


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, "actor"),
        ({"actor": ""}, "actor"),
        ({**LI, "text": "x" * 2001}, "text"),
        ({**LI, "who": 1}, "who"),
    ],
)
def test_a_body_that_is_not_understood_names_its_fields(browse, body, fields):
    async def act(browser, desk):
        return await browser.post(
            "/api/v1/tickets/T-000001/accept", json=body, headers={"accept-language": "en"}
        )

    answer = browse(act)

    assert (answer.status_code, answer.json()) == (422, {"detail": f"check these fields: {fields}"})


def test_a_series_has_buckets_gaps_and_the_marks_of_its_alarms(browse, plant):
    history = History(plant / "historian.db")
    for n in range(60):
        if not 20 <= n < 40:
            history.say(AT - 600_000 + n * 10_000, {"east-27/pressure": 280.0 + n % 2})
    history.close()

    async def act(browser, desk):
        query = {"point": "east-27/pressure", "range": "10m", "buckets": 30, "end": AT}
        return (await browser.get("/api/v1/series", params=query)).json()

    series = browse(act)

    assert series["width_ms"] == 20_000
    assert len(series["at"]) == 20
    assert series["at"][9:11] == [AT - 600_000 + 180_000, AT - 600_000 + 400_000]
    assert (series["low"][0], series["mean"][0], series["high"][0], series["count"][0]) == (
        280.0,
        280.5,
        281.0,
        2,
    )
    assert [m["id"] for m in series["marks"]] == ["A-000002"]


@pytest.mark.parametrize(
    "query", [{}, {"point": "x/y", "range": "9y"}, {"point": "x/y", "buckets": 0}]
)
def test_a_series_that_cannot_be_is_refused(browse, query):
    async def act(browser, desk):
        return (await browser.get("/api/v1/series", params=query)).status_code

    assert browse(act) == 422


def test_the_api_is_described_without_a_page_from_elsewhere(browse):
    async def act(browser, desk):
        described = (await browser.get("/api/v1/openapi.json")).json()
        return described["paths"], (await browser.get("/docs")).status_code

    paths, docs = browse(act)

    assert "/api/v1/tickets/{ticket}/{step}" in paths
    assert all(path.startswith("/api/v1/") for path in paths)
    assert docs == 404
