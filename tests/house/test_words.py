"""Does the repository speak for itself: no path of a machine, both languages, public sources?"""

import json
import re
from urllib.parse import urlsplit

import pytest

from tests.house.tree import files, read, texts

MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(work|root|Users|home/\w+)/")
LOCALES = sorted(f for f in files() if re.match(r"server/web/locales/.*\.json$", f))
PUBLIC_REGISTRIES = {"registry.npmjs.org"}


def machine_paths(text: str) -> list[str]:
    """Return the lines that name a place on somebody's machine."""
    return [line for line in text.splitlines() if MACHINE_PATH.search(line)]


def one_sided(catalogues: dict[str, dict[str, str]]) -> list[str]:
    """Return the texts that some language lacks or leaves empty."""
    keys = {k for c in catalogues.values() for k in c}
    return [f"{n}: {k}" for n, c in catalogues.items() for k in sorted(keys) if not c.get(k)]


def foreign_hosts(lock: str) -> list[str]:
    """Return the hosts in a package lock that not everybody can reach."""
    resolved = re.findall(r'"resolved":\s*"([^"]+)"', lock)
    return sorted({h for url in resolved if (h := urlsplit(url).netloc) not in PUBLIC_REGISTRIES})


def test_no_file_names_a_place_on_a_machine():
    assert machine_paths("see /ho" + "me/ann/x\nsee https://a.org/wo" + "rk/x") == [
        "see /ho" + "me/ann/x"
    ]

    assert [(path, found) for path, text in texts() if (found := machine_paths(text))] == []


def test_the_screens_speak_both_languages_alike():
    assert one_sided({"zh": {"a": "甲"}, "en": {"a": "", "b": "B"}}) == ["zh: b", "en: a"]

    catalogues = {f: json.loads(read(f)) for f in LOCALES}

    assert {f.rsplit("/", 1)[1] for f in LOCALES} == {"en.json", "zh-CN.json"}
    assert one_sided(catalogues) == []


def test_the_screens_use_the_words_of_the_trade():
    glossary = read("docs/glossary.md")
    texts_zh = json.loads(read("server/web/locales/zh-CN.json"))
    words = {k: v for k, v in texts_zh.items() if k.split(".")[0] in {"state", "step", "kind"}}
    words |= {k: v for k, v in texts_zh.items() if k.endswith("s.title")}

    assert "消单" in words.values()
    assert {k: v for k, v in words.items() if v not in glossary} == {}


@pytest.mark.parametrize("path", [f for f in files() if f.endswith("package-lock.json")])
def test_packages_come_from_where_everybody_can_reach(path):
    assert foreign_hosts('{"resolved": "https://mirror.example/u.tgz"}') == ["mirror.example"]

    assert foreign_hosts(read(path)) == []
