"""Both catalogues have the same keys, the same blanks to fill, and nothing that nobody says."""

import re
import string
from dataclasses import fields
from pathlib import Path

import pytest

from server.balance.nights import USE_SOURCES
from server.balance.notes import LACKS
from server.engine.detectors.symptoms import Symptom
from server.engine.effects import AlarmKind
from server.servicecore import contacts, marking, plans, shifts
from server.servicecore.rulebook import load_policy, policy_files
from server.servicecore.rules import incident, kpi, registry_edits
from server.servicecore.rules.alarms import Shown
from server.servicecore.rules.clocks import Verdict
from server.servicecore.rules.permissions import Role
from server.servicecore.rules.refusal import REFUSALS, Refused
from server.servicecore.rules.routing import Category
from server.servicecore.rules.verbs import Verb
from server.servicecore.rules.workorder import (
    FORM,
    MANDATORY,
    NEEDS_TEXT,
    WAIVERS,
    Evidence,
    State,
    Step,
)
from server.web import (
    acts_cases,
    acts_learning,
    acts_marks,
    acts_orders,
    acts_registers,
    acts_registry,
    order_pages,
    plan_pages,
    words,
)
from server.web.acts import Act
from server.web.words import CATALOGUES, LANGUAGES
from telemetry.sample import Reason, TimeQuality
from tests.house.tree import ROOT

WEB = Path(words.__file__).parent
SOURCES = {
    p: p.read_text(encoding="utf-8")
    for p in WEB.rglob("*")
    if p.suffix in {".py", ".html", ".js"} and "vendor" not in p.parts
}
TABLES = [
    table
    for module in (
        acts_cases,
        acts_learning,
        acts_marks,
        acts_orders,
        acts_registers,
        acts_registry,
    )
    for name, table in vars(module).items()
    if isinstance(table, dict) and all(isinstance(act, Act) for act in table.values())
]
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
        *(f"lack.{code}" for code in LACKS),
        *(f"use.{source}" for source in USE_SOURCES),
        *derived_of_acts(),
        *derived_of_registers(),
    }


def derived_of_acts() -> set[str]:
    """Return the keys of what forms ask for: every act and each of its fields."""
    acts = {name for table in TABLES for name in table}
    every = [act for table in TABLES for act in table.values()]
    asked = {f for act in every for f in act.takes.model_fields} - {"actor"}
    # Steps have words of their own; new rows of works, orders and points say what is new.
    others = {*acts_cases.CASE_ACTS, *acts_orders.ARCHIVE_ACTS}
    of_steps = set(acts_orders.STEPS) - others
    return {
        *(f"do.{name}" for name in acts if name not in of_steps),
        *(f"do.{name}" for name in ("plan", "order", "register", "confirm_order")),
        *(f"label.{name}" for name in asked),
        *(f"explain.{e}" for e in incident.EXPLANATIONS),
        *(f"waiver.{w}" for words in WAIVERS.values() for w in words),
        *(f"code.{c}" for c in (*order_pages.WAITS, *order_pages.RETURNS)),
    }


def derived_of_registers() -> set[str]:
    """Return the keys of codes that the plain pages show."""
    policies = policy_files(ROOT / "configs" / "policies").values()
    called = {to for p in policies for call in p.call for to in call.to}
    sent = {r.to for p in policies for r in p.route} | {c.to for p in policies for c in p.child}
    resolved = [load_policy([ROOT / "configs" / "policies"], p.policy.id) for p in policies]
    events = {e for policy in resolved for e in order_pages.events_of(policy)}
    places = {key.split(".")[1] for p in policies for key in p.values if "pressure." in key}
    return {
        *(f"event.{e}" for e in events),
        *(f"clock.{c.id}" for p in policies for c in p.clock),
        *(f"unit.{u}" for u in {*plan_pages.KINDS, *called, *sent} - {"area", "by_nature"}),
        *(f"place.{p}" for p in {*places, "indoor", "outdoor"}),
        *(f"verdict.{v}" for v in Verdict),
        *(f"case.{s}" for s in incident.State),
        *(f"shown.{s}" for s in Shown),
        *(f"category.{c}" for c in Category),
        *(f"channel.{c}" for c in contacts.CHANNELS),
        *(f"source.{s}" for s in contacts.SOURCES),
        *(f"nature.{n}" for n in contacts.NATURES),
        *(f"contact.{s}" for s in ("open", "answered", "ticket", "settled")),
        *(f"operation.{k}" for k in plans.KINDS),
        *(f"label.{f}" for f in ("promise", "statute")),
        *(f"way.{w}" for w in ("lower", "higher")),
        *(f"work.{s}" for s in ("planned", "begun", "ended", "cancelled")),
        *(f"text.{name}" for name in (*acts_learning.LEARNING_ACTS, *acts_marks.MARK_ACTS)),
        *(f"text.{name}" for name in ("add", "floor", "retire")),
        *(f"quality.{q}" for q in (*marking.QUALITIES, "measured")),
        *(f"js.quality_{q}" for q in marking.QUALITIES),
        *(f"symptom.{s}" for s in Symptom),
        *(f"{m}.{s}" for m in ("learning", "learnt") for s in ("learning", "ready", "off")),
        *(f"calendar.{c}" for c in registry_edits.CALENDARS),
        *(f"change.{s}" for s in ("waiting", "done", "declined")),
        *(f"order.{kind}_{act}" for kind, acts in plans.ACTS.items() for act in acts),
        *(f"health.{h}" for h in plans.HEALTH),
        *(f"duty.{d}" for d in shifts.DUTIES),
        *(f"liability.{who}" for who in ("own", "customer")),
        *(f"figure.{name}" for name in kpi.RATIOS),
        *(f"load.{f.name}" for f in fields(kpi.Load)),
        *(f"list.{name}" for name in ("alarms", "shelved", "incidents", "operations", "works")),
        *("list.overdue", "kind.leak", "label.state"),
        *(f"code.{s}" for s in ("ordered", "executed", "taken")),
        *(f"code.{s}" for s in ("fit", "unfit", "true", "untrue", "given")),
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


CODES = {
    *(str(c) for kind in (State, Step, Category, incident.State, incident.Act, Role) for c in kind),
    *(w for words in WAIVERS.values() for w in words),
    *(*contacts.WAIVERS, *contacts.SOURCES, *contacts.NATURES, *incident.EXPLANATIONS),
    *(*plans.HEALTH, *shifts.DUTIES, *registry_edits.CALENDARS, *Evidence),
    *(f"{kind} {act}" for kind, acts in plans.ACTS.items() for act in acts),
    *("phone", "letter", "visit", "telemetry", "web", "planned", "begun", "ended", "taken"),
    *("waiting", "done", "declined", "ordered", "executed", "merge", "split", "answered"),
}
"""What a refusal may say of how something stands, or of what would be allowed."""
FIELDS = {*MANDATORY, *FORM, *Evidence, *(f"visit.{f}" for f in contacts.VISIT)} | {
    *("reason", "plan", "id", "kind", "name", "station", "unit", "cause", "zone", "point"),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("fact", ["state", "allowed_words"])
def test_no_code_is_shown_raw_to_a_person(language, fact):
    raw = set()
    for code in CODES:
        facts = {"subject": "T-1", "state": "-", "allowed_words": "-", fact: code}
        text = CATALOGUES[language].refusal(Refused("not_in_state", **facts))
        is_word = language == "en" and code in text and "_" not in code  # as English as they are
        if re.search(rf"(?<![a-z_]){code}(?![a-z_])", text) and not is_word:
            raw.add(code)

    assert raw == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_field_that_is_missing_is_named_in_words(language):
    said = {
        f: CATALOGUES[language].refusal(Refused("fields_missing", subject="T-1", fields=f))
        for f in FIELDS
    }

    assert {f for f, text in said.items() if "visit." in text or (f in text and "_" in f)} == set()
    if language == "zh-CN":
        assert {f for f, text in said.items() if f.removeprefix("visit.") in text} == set()


def test_a_subject_that_is_a_name_stays_as_it_is():
    refused = Refused("not_in_state", subject="name", state="open", allowed_words="open")
    channel = Refused("not_in_state", subject="channel", state="fax", allowed_words="phone, web")

    assert CATALOGUES["zh-CN"].refusal(refused).startswith("name")
    assert not CATALOGUES["zh-CN"].refusal(channel).startswith("channel")
    assert "phone" not in CATALOGUES["zh-CN"].refusal(channel)


def test_chinese_words_are_chinese():
    latin = {k for k, text in CHINESE.items() if not re.search(r"[一-鿿]", text)}

    assert latin == {"list.colon", "list.comma", "list.semicolon"}
