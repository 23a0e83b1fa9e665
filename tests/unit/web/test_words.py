"""Both catalogues have the same keys, the same blanks to fill, and nothing that nobody says."""

import re
import string
from pathlib import Path

import pytest

from server.engine.effects import AlarmKind
from server.servicecore.rules.permissions import Role
from server.servicecore.rules.refusal import REFUSALS, Refused
from server.servicecore.rules.verbs import Verb
from server.servicecore.rules.workorder import FORM, MANDATORY, NEEDS_TEXT, Evidence, State, Step
from server.web import words
from server.web.words import CATALOGUES, LANGUAGES
from telemetry.sample import Reason, TimeQuality

WEB = Path(words.__file__).parent
SOURCES = {
    p: p.read_text(encoding="utf-8")
    for p in WEB.rglob("*")
    if p.suffix in {".py", ".html", ".js"} and "vendor" not in p.parts
}
ENGLISH, CHINESE = CATALOGUES["en"].entries, CATALOGUES["zh-CN"].entries


def said() -> set[str]:
    """Return every key that some source says outright."""
    text = "\n".join(SOURCES.values())
    return set(re.findall(r"['\"]([a-z]+\.[a-z_]+)['\"]", text)) | {"dropped"}


def derived() -> set[str]:
    """Return every key that is put together from a code."""
    return {
        *(f"kind.{k}" for k in AlarmKind),
        *(f"state.{s}" for s in State),
        *(f"step.{s}" for s in Step),
        *(f"verb.{s}" for s in Step),
        *(f"text.{s}" for s in NEEDS_TEXT),
        *(f"field.{f}" for f in (*MANDATORY, *FORM, *Evidence, "point")),
        *(f"severity.{n}" for n in range(1, 5)),
        *(f"reason.{r}" for r in Reason if r),
        *(f"time.{t}" for t in (TimeQuality.CORRECTED, TimeQuality.DOUBTFUL)),
        *(f"refused.{key}" for key in REFUSALS),
        *(f"range.{r}" for r in ("10m", "1h", "24h", "28d")),
        *(f"point.{s}" for s in ("in_test", "refused", "contested")),
        *(f"verb.{v}" for v in Verb),
        *(f"role.{r}" for r in Role),
    }


def blanks(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_the_same_keys():
    assert set(ENGLISH) == set(CHINESE)


@pytest.mark.parametrize("key", ENGLISH)
def test_both_languages_fill_the_same_blanks(key):
    assert blanks(ENGLISH[key]) == blanks(CHINESE[key])


def test_every_word_is_said_and_every_key_said_is_there():
    assert derived() <= set(ENGLISH)
    assert set(ENGLISH) - derived() <= said()
    prefixes = {key.partition(".")[0] for key in ENGLISH}
    missing = {k for k in said() - set(ENGLISH) if k.partition(".")[0] in prefixes}
    assert {
        k for k in missing if re.search(rf"say\([^)]*{re.escape(k)}", "\n".join(SOURCES.values()))
    } == set()


def test_the_english_refusals_are_those_of_the_rules():
    assert {k: ENGLISH[f"refused.{k}"] for k in REFUSALS} == REFUSALS


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_refusal_is_worded_without_codes(language):
    refused = Refused("step", ticket="T-1", state="on_site", allowed="reply, cancel")

    text = CATALOGUES[language].refusal(refused)

    assert "on_site" not in text
    assert CATALOGUES[language].say("step.reply") in text


def test_chinese_words_are_chinese():
    latin = {k for k, text in CHINESE.items() if not re.search(r"[一-鿿]", text)}

    assert latin == {"list.comma", "list.semicolon"}
