"""The words of every screen, in two languages that are equal: `locales/<language>.json`."""

import json
from collections.abc import Mapping
from pathlib import Path

from server.servicecore.rules.refusal import Refused
from telemetry.sample import Reason, TimeQuality

LANGUAGES = ("zh-CN", "en")
"""The first is what a reader gets who asks for neither."""

_FOLDER = Path(__file__).parent / "locales"
_CODES = {
    "state": ("state", "case", "work", "contact", "code", "category", "change", "calendar"),
    "step": ("step", "do", "verb", "access"),
    "role": ("role",),
    "allowed_words": (
        *("role", "do", "category", "code", "state", "work", "contact", "waiver", "explain"),
        *("channel", "source", "nature", "health", "duty", "clock", "change", "calendar"),
    ),
}
"""Facts of a refusal that are codes or lists of them, and where their words are."""


class Words:
    """The catalogue of one language."""

    def __init__(self, language: str) -> None:
        path = _FOLDER / f"{language}.json"
        self.language = language
        self.entries: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8"))

    def say(self, key: str, **facts: object) -> str:
        """Return the words of a key with the facts filled in; an unknown key is our mistake."""
        return self.entries[key].format(**facts)

    def code(self, prefix: str, code: object) -> str:
        """Return the words of a code; one that only a utility's own files know stays as it is."""
        return self.entries.get(f"{prefix}.{code}", str(code))

    def _first(self, code: str, prefixes: tuple[str, ...]) -> str:
        found = (self.entries.get(f"{prefix}.{code}") for prefix in prefixes)
        return next((words for words in found if words), code)

    def refusal(self, refused: Refused) -> str:
        """Return why something was refused."""
        facts = dict(refused.facts)
        for name, prefixes in _CODES.items():
            if name in facts:
                codes = facts[name].split(", ")
                words = [self._first(code, prefixes) for code in codes]
                facts[name] = self.say("list.comma").join(words)
        if "fields" in facts:
            names = facts["fields"].split(", ")
            words = [self.entries.get(f"field.{name}", name) for name in names]
            facts["fields"] = self.say("list.comma").join(words)
        if "allowed" in facts:
            words = [self.code("step", s) for s in facts["allowed"].split(", ") if s]
            facts["allowed"] = self.say("list.comma").join(words) or "–"
        return self.say(f"refused.{refused.key}", **facts)

    def for_scripts(self) -> dict[str, str]:
        """Return the words that the scripts on the page need."""
        return {key: text for key, text in self.entries.items() if key.startswith("js.")}

    def reasons(self) -> dict[str, str]:
        """Return the words for why a value is not good, by reason."""
        return {reason: self.say(f"reason.{reason}") for reason in Reason if reason}

    def times(self) -> dict[str, str]:
        """Return the words for an instant that is not simply right, by time quality."""
        told = (TimeQuality.CORRECTED, TimeQuality.DOUBTFUL)
        return {quality: self.say(f"time.{quality}") for quality in told}


CATALOGUES = {language: Words(language) for language in LANGUAGES}


def preferred(accept_language: str) -> str:
    """Return the language that a browser would like best out of ours.

    >>> preferred("fr, en;q=0.8, zh;q=0.5")
    'en'
    """
    for wish in accept_language.split(","):
        code = wish.partition(";")[0].strip().lower()
        for language in LANGUAGES:
            if code.partition("-")[0] == language.lower().partition("-")[0]:
                return language
    return LANGUAGES[0]
