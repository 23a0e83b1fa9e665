"""The policies that ship say what their texts say, and no company is looser than its group."""

import re
from pathlib import Path

import pytest

from mainwatch.check import findings
from server.servicecore.rulebook import load_policy, load_rule_book, policy_files
from server.servicecore.rules.policy import body_of, policy_from, required_inputs
from server.servicecore.rules.policy_form import Mode, Purpose
from telemetry.errors import ConfigError
from tests.house.tree import ROOT
from tests.support.books import book

FOLDER = ROOT / "configs/policies"
FILES = policy_files(FOLDER)
PARENTS = {"any-utility", "cn-water", "cn-gas", "cn-heating"}
DEMOS = ["demo-gas", "demo-heating", "demo-water"]
PROFILES = sorted(set(FILES) - PARENTS - set(DEMOS))
requirement = pytest.mark.requirement

NUMBERS = [
    ("R01", "xinyang-water", "pressure.central.min_mpa", 0.28),
    ("R02", "xinyang-water", "compliance.target", 0.97),
    ("R30", "shangzhi-gas", "retention.years", 5),
    ("R67", "shangzhi-gas", "customer.large_over_m3h", 10),
    ("R65", "changchun-water", "customer.major_project_cny", 50_000_000),
]

LIMITS = [
    ("R23", "shangzhi-gas", "handover", "2h", Mode.BUSINESS),
    ("R25", "shangzhi-gas", "contact_back", "3wd", Mode.WORKING_DAYS),
    ("R70", "hotline-intake", "accept", "20min", Mode.WALL),
    ("R71", "hohhot-heating", "repair", "24h", Mode.WALL),
    ("R72", "hohhot-heating", "onsite", "1h", Mode.WALL),
    ("R73", "xinyang-water", "repair", "24h", Mode.WALL),
    ("R74", "hotline-rules", "solve", "1wd", Mode.WORKING_DAYS),
    ("R75", "hotline-workflow", "cluster", "2wd", Mode.WORKING_DAYS),
    ("R77", "shangzhi-gas", "project", "10wd", Mode.WORKING_DAYS),
    ("R77", "shangzhi-gas", "project_first", "5wd", Mode.WORKING_DAYS),
    ("R77", "shangzhi-gas", "project_second", "3wd", Mode.WORKING_DAYS),
    ("R77", "shangzhi-gas", "project_third", "2wd", Mode.WORKING_DAYS),
    ("R78", "shangzhi-gas", "outreach", "3wd", Mode.WORKING_DAYS),
    ("R79", "hohhot-heating", "form", "15d", Mode.WALL),
    ("R82", "xinyang-water", "account", "month", Mode.MONTH),
]

OTHERS = [
    ("xinyang-water", "satisfaction.target", 0.98),
    ("xinyang-water", "handled.target", 1),
    ("xinyang-water", "window.score_min", 99),
    ("hohhot-heating", "satisfaction.target", 0.99),
    ("hohhot-heating", "timeliness.target", 1),
    ("hohhot-heating", "handled.target", 1),
    ("hohhot-heating", "form.copies", 3),
    ("shangzhi-gas", "call_back.share_min", 0.03),
    ("hotline-rules", "notice.outage_over_h", 4),
    ("guangzhou-water", "outlets.per_district_min", 1),
    ("cn-water", "notice.planned_lead_h", 24),
]


@pytest.mark.parametrize(
    ("policy", "key", "number"),
    [pytest.param(*case[1:], marks=requirement(case[0])) for case in NUMBERS] + OTHERS,
)
def test_a_number_is_the_one_of_its_text(policy: str, key: str, number: float):
    assert book(policy).policy.number(key) == number


@pytest.mark.parametrize(
    ("policy", "clock", "limit", "mode"),
    [pytest.param(*case[1:], marks=requirement(case[0])) for case in LIMITS],
)
def test_a_limit_is_the_one_of_its_text(policy: str, clock: str, limit: str, mode: Mode):
    found = book(policy).policy.clock(clock)

    assert found is not None
    assert (found.limit, found.mode) == (limit, mode)


def test_no_number_of_a_profile_is_left_without_its_row_above():
    held = {(policy, key): number for _, policy, key, number in NUMBERS}
    held |= {(policy, key): number for policy, key, number in OTHERS}
    limits = {(policy, clock): limit for _, policy, clock, limit, _ in LIMITS}

    for name in PROFILES:
        file = FILES[name]
        numbers = {(name, k): v.value for k, v in file.values.items() if type(v.value) is float}
        assert numbers == {at: held[at] for at in numbers}
        assert {(name, c.id): c.limit for c in file.clock} == {
            (name, c.id): limits[name, c.id] for c in file.clock
        }
        assert [c.id for c in file.clock if c.variant] == []


@requirement("R71", "R80")
def test_hohhot_judges_its_repair_on_the_reply():
    found = book("hohhot-heating").policy.clock("repair")

    assert found is not None
    assert (found.start, found.stop, found.pauses) == ("reported", "replied", ())


@requirement("R81")
def test_a_day_that_the_text_leaves_blank_is_not_invented():
    assert book("xinyang-water").policy.number("arrears.day_of_month") is None


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_says_only_what_its_own_text_says(name: str):
    file = FILES[name]
    sources = [v.source for v in file.values.values()]
    sources += [
        it.source for group in (file.clock, file.route, file.child, file.call) for it in group
    ]

    assert sources
    assert [s for s in sources if not s.startswith("quote: ")] == []


def test_the_common_form_promises_nothing():
    file = FILES["any-utility"]

    assert file.clock == file.call == file.route == file.child == ()
    assert set(file.values) == {"work.calendar", "work.hours", "night.hours"}


@pytest.mark.parametrize("name", PROFILES)
def test_no_emergency_runs_on_the_clock_of_an_enquiry(name: str):
    policy = book(name).policy

    assert [
        c.id for c in policy.clocks if c.purpose is Purpose.EMERGENCY and c.mode is not Mode.WALL
    ] == []
    assert required_inputs(policy)
    with pytest.raises(ConfigError, match=r"not for live use.*an emergency needs it"):
        load_rule_book(ROOT / "configs", name, live=True)


@pytest.mark.parametrize("name", DEMOS)
def test_a_demonstration_lacks_nothing(name: str):
    assert load_rule_book(ROOT / "configs", name, live=True).policy.id == name


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_revision_is_found_again_whole(name: str):
    policy = book(name).policy

    assert policy_from(body_of(policy)) == policy
    assert len({book(n).policy.revision for n in FILES}) == len(FILES)


GROUP = """
[policy]
schema = "mainwatch.policy/1"
id = "group"
kind = "water"
name = { zh = "集团", en = "Group" }

[values]
"pressure.central.min_mpa" = { value = 0.28, source = "quote: x" }
"notice.outage_over_h" = { value = 4, source = "quote: x" }
"call_back.mode" = { value = "every", source = "quote: x" }

[[clock]]
id = "repair"
purpose = "emergency"
start = "reported"
stop = "replied"
limit = "24h"
mode = "wall"
source = "quote: x"
variant = [{ when = { dn_mm_min = 501 }, limit = "48h", source = "quote: x" }]

[[call]]
event = "burst"
to = ["branch_desk"]
source = "quote: x"
"""


@pytest.mark.parametrize("mpa", [280.0, 0.0, -0.1])
def test_a_pressure_that_no_main_has_is_refused_by_its_key(tmp_path, mpa):
    body = GROUP.replace("value = 0.28", f"value = {mpa}")
    (tmp_path / "group.toml").write_text(body, encoding="utf-8")

    with pytest.raises(ConfigError, match=r"pressure.central.min_mpa: expected at (least|most)"):
        load_policy([tmp_path], "group")


COMPANY = GROUP.replace('id = "group"', 'id = "company"\nparent = "group"')


def check(folder: Path, company: str) -> list[str]:
    (folder / "group.toml").write_text(GROUP, encoding="utf-8")
    (folder / "company.toml").write_text(company, encoding="utf-8")
    return findings(folder / "company.toml", ROOT / "configs/devices")


@requirement("R155")
@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("value = 0.28", "value = 0.29"),
        ("value = 4", "value = 3"),
        ('limit = "24h"', 'limit = "23h"'),
        ('limit = "48h"', 'limit = "36h"'),
        ('to = ["branch_desk"]', 'to = ["branch_desk", "leader"]'),
        ("dn_mm_min = 501", "dn_mm_min = 401"),
        ("", ""),
    ],
)
def test_a_company_may_be_stricter_than_its_group(tmp_path, was: str, now: str):
    company = COMPANY.replace(was, now).replace('401 }, limit = "48h"', '401 }, limit = "24h"')

    assert check(tmp_path, company) == []


@requirement("R155")
@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        ("value = 0.28", "value = 0.27", "0.27 is looser than 0.28 of group"),
        ("value = 4", "value = 5", "5.0 is looser than 4.0 of group"),
        ('value = "every"', 'value = "sample"', "sample is looser than every of group"),
        ('limit = "24h"', 'limit = "25h"', "25h is looser than 24h of group"),
        ('limit = "48h"', 'limit = "49h"', "49h is looser than 48h of group"),
        ("dn_mm_min = 501", "dn_mm_min = 401", "48h is looser than 24h of group"),
        ('mode = "wall"', 'mode = "business"', "an emergency runs on the wall clock"),
        ('purpose = "emergency"', 'purpose = "enquiry"', "expected emergency as in group"),
        ('start = "reported"', 'start = "diagnosed"', "expected reported as in group"),
        ('mode = "wall"', 'mode = "wall"\npauses = ["rain"]', "rain does not pause it in group"),
        ('to = ["branch_desk"]', 'to = ["leader"]', "leaves out branch_desk"),
        ('parent = "group"', 'parent = "nobody"', "found none of this name"),
        ('parent = "group"', 'parent = "company"', "is its own parent"),
        ('kind = "water"', 'kind = "gas"', "expected parents of one kind"),
    ],
)
def test_a_company_looser_than_its_group_is_refused_by_check(tmp_path, was, now, words):
    found = check(tmp_path, COMPANY.replace(was, now))

    assert any(words in line for line in found), found


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        ('limit = "24h"', 'limit = "24x"', "expected a limit such as 20min"),
        ('limit = "24h"', 'limit = "3wd"', "is no limit of mode wall"),
        ('"notice.outage_over_h"', '"notice.outage"', "unknown key"),
        ("value = 4", 'value = "four"', "expected float, was 'four'"),
        ('source = "quote: x"', 'source = "someone said"', "String should match pattern"),
        ('value = "every"', 'value = "never"', "expected one of none, sample, every"),
    ],
)
def test_a_mistake_in_a_policy_is_told_with_its_key(tmp_path, was, now, words):
    found = check(tmp_path, COMPANY.replace(was, now, 1))

    assert any(words in line for line in found), found


@requirement("R30")
def test_no_policy_may_keep_records_for_less_than_five_years(tmp_path):
    short = '"retention.years" = { value = 4, source = "quote: x" }\n\n[[clock]]'

    found = check(tmp_path, COMPANY.replace("[[clock]]", short))

    assert any("retention.years: expected at least 5, was 4" in line for line in found)


SITE = """
[policy]
schema = "mainwatch.policy/1"
id = "site"
kind = "heating"
parent = "hohhot-heating"
name = { zh = "本单位", en = "This site" }

[[clock]]
id = "accept"
purpose = "emergency"
start = "issued"
stop = "accepted"
limit = "20min"
mode = "wall"
source = "site: decided by the company"
"""


def test_a_utility_fills_in_what_its_profile_lacks_in_a_folder_of_its_own(tmp_path):
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/site.toml").write_text(SITE, encoding="utf-8")

    found = load_rule_book(ROOT / "configs", "site", live=True, own=tmp_path)

    assert [c.id for c in found.policy.clocks] == ["repair", "onsite", "form", "accept"]
    assert findings(tmp_path / "policies/site.toml", ROOT / "configs/devices") == []


def test_a_server_is_not_started_on_a_policy_that_lacks_an_emergency_clock(tmp_path):
    text = (ROOT / "configs/demo/server.toml").read_text(encoding="utf-8")
    (tmp_path / "server.toml").write_text(text.replace("demo-water", "shangzhi-gas"))

    found = findings(tmp_path / "server.toml", ROOT / "configs/devices")

    assert any("shangzhi-gas: not for live use" in line for line in found)


def test_every_value_has_its_source():
    for path in sorted(FOLDER.glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        assert len(re.findall(r"\blimit = |value = ", text)) <= len(re.findall("source = ", text))


def test_two_profiles_that_say_the_same_word_do_not_share_it():
    files = policy_files(FOLDER)

    assert files["hohhot-heating"].values["satisfaction.target"].value == 0.99
    assert load_policy([FOLDER], "xinyang-water").number("satisfaction.target") == 0.98
