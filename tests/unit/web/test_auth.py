"""Nobody sees or does anything before signing in, and then only what the roles allow."""

import re

import pytest

from server.config import PageSection, ServerConfig, problems
from server.servicecore.rules.permissions import Role
from server.web.guard import SESSION

PAGE = PageSection(sign_in=True, names=("mainwatch.example",), behind_tls_proxy=True)
PASSWORD = "a long enough password"
HERE = {"origin": "https://127.0.0.1:8420", "accept": "text/html"}
ADMIN = "admin"


async def join(desk, login, *roles, name=None):
    token = await desk.people.add(login, name=name or login, roles=roles, actor=ADMIN)
    await desk.people.choose_password(token, PASSWORD)


async def enter(browser, login, password=PASSWORD):
    """Sign in as a browser does; the proxy speaks TLS, we see plain HTTP with its cookie."""
    answer = await browser.post(
        "/sign-in", data={"login": login, "password": password}, headers=HERE
    )
    if answer.status_code == 303:
        browser.cookies.clear()
        browser.headers["cookie"] = answer.headers["set-cookie"].partition(";")[0]
    return answer


@pytest.mark.parametrize(
    "path", ["/", "/events", "/people", "/api/v1/alarms", "/api/v1/openapi.json", "/x"]
)
def test_nobody_sees_anything_before_signing_in(browse, path):
    async def act(browser, desk):
        page = await browser.get(path, headers={"accept": "text/html"})
        program = await browser.get(path, headers={"accept": "application/json"})
        post = await browser.post(path, headers=HERE)
        return page, program, post

    page, program, post = browse(act, PAGE)

    assert program.status_code == post.status_code == 401
    if path.startswith("/api/"):
        assert page.status_code == 401
    else:
        assert page.status_code == 303
        assert page.headers["location"].startswith("/sign-in?back=")


def test_the_first_administrator_chooses_a_password_and_adds_a_dispatcher(browse):
    async def act(browser, desk):
        token = await desk.people.first_link()
        welcome = await browser.get(f"/welcome/{token}")
        assert "admin" in welcome.text
        differ = {"password": PASSWORD, "again": PASSWORD + "x"}
        assert (await browser.post(f"/welcome/{token}", data=differ, headers=HERE)).is_error
        same = {"password": PASSWORD, "again": PASSWORD}
        chosen = await browser.post(f"/welcome/{token}", data=same, headers=HERE)
        assert chosen.headers["location"] == "/sign-in"
        assert (await enter(browser, "admin")).status_code == 303
        added = await browser.post(
            "/people",
            data={"login": "wang", "name": "王芳", "roles": ["dispatcher"]},
            headers=HERE,
        )
        link = re.search(r"/welcome/([\w-]+)", added.text)[1]
        assert added.headers["cache-control"] == "no-store"
        await browser.post(f"/welcome/{link}", data=same, headers=HERE)
        await enter(browser, "wang")
        await browser.get("/language/en")
        return await browser.get("/"), await browser.get("/people", headers=HERE)

    page, people = browse(act, PAGE)

    assert "王芳" in page.text
    assert people.status_code == 409
    assert "值班调度员" in people.text


def test_a_wrong_password_is_said_in_words_and_lets_nobody_in(browse):
    async def act(browser, desk):
        await join(desk, "wang", Role.DISPATCHER)
        wrong = await enter(browser, "wang", "wrong")
        return wrong, await browser.get("/", headers=HERE)

    wrong, page = browse(act, PAGE)

    assert wrong.status_code == 401
    assert "set-cookie" not in wrong.headers
    assert "密码不正确" in wrong.text
    assert page.status_code == 303


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(browse):
    async def act(browser, desk):
        await join(desk, "wang", Role.DISPATCHER)
        return (await enter(browser, "wang")).headers["set-cookie"].lower()

    cookie = browse(act, PAGE)

    assert cookie.startswith(SESSION)
    for word in ("httponly", "samesite=lax", "secure", "max-age=50400"):
        assert word in cookie


@pytest.mark.parametrize("origin", [None, "https://evil.example", "null"])
def test_a_post_that_does_not_come_from_our_page_does_nothing_in_a_session(browse, origin):
    async def act(browser, desk):
        await join(desk, "wang", Role.DISPATCHER)
        await enter(browser, "wang")
        headers = {} if origin is None else {"origin": origin}
        answer = await browser.post("/alarms/A-000001/acknowledge", headers=headers)
        board = await desk.board()
        return answer.status_code, [a.asked_by for a in board.alarms]

    status, asked = browse(act, PAGE)

    assert status == 403
    assert set(asked) == {""}


def test_an_act_is_done_in_the_name_of_the_session_and_within_its_rights(browse):
    async def act(browser, desk):
        await join(desk, "wang", Role.DISPATCHER, name="王芳")
        await join(desk, "zhao", Role.AUDITOR)
        await enter(browser, "zhao")
        browser.headers["accept"] = "application/json"
        refused = await browser.post("/alarms/A-000001/acknowledge", headers=HERE)
        await enter(browser, "wang")
        browser.headers["cookie"] += "; mw_operator=somebody"
        await browser.post("/alarms/A-000001/acknowledge", headers=HERE)
        board = await desk.board()
        return refused.status_code, {a.id: a.asked_by for a in board.alarms}

    refused, asked = browse(act, PAGE)

    assert refused == 409
    assert asked["A-000001"] == "王芳"


def test_a_program_acts_by_its_token_and_its_name_cannot_be_another(browse):
    async def act(browser, desk):
        token = await desk.people.add_program("scada", roles=[Role.DISPATCHER], actor=ADMIN)
        headers = {"authorization": f"Bearer {token}"}
        url = "/api/v1/alarms/A-000001/acknowledge"
        done = await browser.post(url, json={"actor": "王芳"}, headers=headers)
        nobody = await browser.post(url, json={}, headers={"authorization": "Bearer guess"})
        await desk.people.revoke_program("scada", actor=ADMIN)
        revoked = await browser.get("/api/v1/alarms", headers=headers)
        board = await desk.board()
        return done, nobody, revoked, board.alarms[0]

    done, nobody, revoked, alarm = browse(act, PAGE)

    assert done.status_code == 200
    assert nobody.status_code == revoked.status_code == 401
    assert alarm.asked_by == "scada"


def test_after_signing_out_the_cookie_opens_nothing(browse):
    async def act(browser, desk):
        await join(desk, "wang", Role.DISPATCHER)
        await enter(browser, "wang")
        assert (await browser.get("/", headers=HERE)).status_code == 200
        await browser.post("/sign-out", headers=HERE)
        return await browser.get("/", headers=HERE)

    assert browse(act, PAGE).status_code == 303


def test_the_name_of_the_configuration_is_answered_and_no_other(browse):
    async def act(browser, desk):
        ours = await browser.get("/sign-in", headers={"host": "mainwatch.example"})
        other = await browser.get("/sign-in", headers={"host": "evil.example"})
        return ours, other

    ours, other = browse(act, PAGE)

    assert ours.status_code == 200
    assert "max-age" in ours.headers["strict-transport-security"]
    assert other.status_code == 403


@pytest.mark.parametrize(
    ("page", "word"),
    [
        ({"host": "0.0.0.0"}, "page.sign_in"),
        ({"host": "0.0.0.0", "sign_in": True, "names": ["x"]}, "page.cert_file"),
        ({"host": "0.0.0.0", "sign_in": True, "cert_file": "c", "key_file": "k"}, "page.names"),
        ({"names": ["x"]}, "page.sign_in"),
        ({"names": ["x"], "sign_in": True}, "page.behind_tls_proxy"),
        ({"sign_in": True, "cert_file": "c"}, "page.key_file"),
    ],
)
def test_a_page_that_others_reach_needs_sign_in_tls_and_names(page, word):
    config = ServerConfig.model_validate(
        {"server": {"host_id": "mainwatch", "groups": ["demo"], "data": "x"}, "page": page}
    )

    assert any(word in line for line in problems(config))
