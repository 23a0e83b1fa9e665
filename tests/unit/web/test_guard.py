"""Only this machine by its own name may look, and only our own pages may act."""

import pytest
from starlette.datastructures import Headers

from server.web.guard import refusal_of

HOST = "127.0.0.1:8420"


@pytest.mark.parametrize("host", ["127.0.0.1:8420", "localhost:8420", "[::1]:8420", "127.8.8.8"])
def test_every_loopback_name_is_answered(host):
    assert refusal_of("GET", "http", Headers({"host": host})) == ""


@pytest.mark.parametrize("host", ["", "evil.cn", "192.168.1.5:8420", "localhost.evil.cn", "[::2]"])
def test_a_foreign_name_is_not_even_read_to(host):
    assert "loopback name as Host" in refusal_of("GET", "http", Headers({"host": host}))


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.cn"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": f"https://{HOST}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": f"http://{HOST}", "sec-fetch-site": "cross-site"},
    ],
)
def test_a_post_from_elsewhere_is_refused(headers):
    assert refusal_of("POST", "http", Headers({"host": HOST, **headers})) != ""


@pytest.mark.parametrize(
    "headers", [{}, {"origin": f"http://{HOST}"}, {"sec-fetch-site": "same-origin"}]
)
def test_a_post_from_our_page_or_a_program_is_taken(headers):
    assert refusal_of("POST", "http", Headers({"host": HOST, **headers})) == ""


def test_a_refused_post_changes_nothing(browse):
    async def act(browser, desk):
        answer = await browser.post(
            "/api/v1/tickets/T-000001/accept",
            json={"actor": "Li"},
            headers={"origin": "http://evil.cn"},
        )
        return answer, (await desk.board()).tickets[0].state

    answer, state = browse(act)

    assert answer.status_code == 403
    assert "evil.cn" in answer.text
    assert "content-security-policy" in answer.headers
    assert state == "issued"
