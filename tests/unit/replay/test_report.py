"""Does the page say everything in both languages, of whatever was replayed?"""

import json
import re

import pytest

from server.replay.report import _words, page_of
from server.replay.result import Result
from server.replay.score import score
from server.replay.session import Played
from server.replay.trends import Trends
from server.replay.what_if import compare
from tests.scenarios.town_stream import registry
from tests.unit.replay.facts import BEGIN, END, said, truth
from tests.unit.replay.test_versions import versions

KNOWN = registry(("north", "east"))


def result(lines=(), truths=None, **more):
    played = Played(said=tuple(lines), samples=9, begin=BEGIN, end=END, registry=KNOWN)
    facts = {
        "name": "Winter <2023>",
        "source": "us",
        "licence": "",
        "version": "1.2.3",
        "inputs": "sha256 abc",
        "parameters": {"zone": "north"},
        "played": played,
        "trends": Trends(tuple(KNOWN.points), begin=BEGIN, end=END, cadence_ms=60_000),
        "score": None,
        "what_if": None,
    }
    if truths is not None:
        facts["score"] = score(lines, truths, begin=BEGIN, end=END, zones=("north", "east"))
    return Result(**facts | more)


CASES = {
    "nothing": result(),
    "missed": result([], [truth()]),
    "found": result(
        [said(), said("INC-2", x=9e4, mode="auto")], [truth(), truth("f", kind="fault")]
    ),
    "what if": result([said()], what_if=compare([said(day=10.4)], [said(), said("INC-9", day=40)])),
    "versions": result([said()], what_if=compare([], [said()]), versions=versions()),
    "without curves": result([said()], [truth()], trends=None),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_page_asks_nobody_for_anything(case):
    page = page_of(case)
    markup = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)

    assert not re.search(r"""(src|href)\s*=|@import|url\((?!data:)""", markup)
    assert "Winter &lt;2023&gt;" in page
    assert "sha256 abc" in page
    assert "1.2.3" in page


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_page_says_as_much_in_one_language_as_in_the_other(case):
    page = page_of(case)

    assert page.count('<span class="en"') == page.count('<span class="zh"') > 20


def test_what_was_missed_is_said_first():
    page = page_of(CASES["missed"])

    assert "proposed nobody to look for a leak" in page
    assert "1 missed" in page


def test_names_that_look_like_code_stay_names():
    odd = said(because=("</script><script>alert(1)</script>",))
    page = page_of(result([odd], [truth()]))

    assert "alert(1)</script>" not in page


def test_no_text_lacks_a_language():
    words = _words()

    assert {key for key, text in words["en"].items() if not text} == set()
    assert {key for key, text in words["zh-CN"].items() if not text} == set()
    for key in words["en"]:
        facts = [sorted(re.findall(r"{(\w+)}", words[n][key])) for n in words]
        assert facts[0] == facts[1], key


def test_the_data_of_a_page_can_be_read():
    page = page_of(CASES["found"])
    text = re.search(r'id="data">(.*?)</script>', page, flags=re.DOTALL)[1]
    data = json.loads(text)

    assert [z["id"] for z in data["zones"]] == ["north", "east"]
    assert {m["outcome"] for m in data["marks"]} == {"found", "false"}
