"""The words of every screen, in two languages that are equal: `locales/<language>.json`."""

import json
from collections.abc import Mapping
from pathlib import Path

from server.servicecore.rules.refusal import Refused
from telemetry.sample import Reason, TimeQuality

LANGUAGES = ("zh-CN", "en")
"""The first is what a reader gets who asks for neither."""

_FOLDER = Path(__file__).parent / "locales"
_ANY = (
    *("state", "case", "work", "contact", "code", "category", "change", "calendar", "role"),
    *("do", "verb", "step", "waiver", "explain", "channel", "source", "nature", "health", "duty"),
    *("clock", "order", "field", "unit"),
)
"""Where the words of a code may be, whatever it is a code of."""
_CODES = {
    "state": _ANY,
    "step": ("step", "do", "verb", "access"),
    "role": ("role",),
    "allowed_words": _ANY,
    "fields": ("field", "label"),
    "clock": ("clock",),
    "unit": ("unit",),
    "subject": ("label", "channel"),
}
"""Facts of a refusal that are codes or lists of them, and where their words are."""
_PLAIN = ("channel", "source", "nature")
"""Subjects that are no thing's own name but a field's."""


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

    def _words_of(self, fact: str, code: str) -> str:
        """Return the words of one code of a fact; a name, which is no code, stays as it is."""
        if fact == "subject" and code not in (*_PLAIN, *_channels(self.entries)):
            return code
        plain = code.removeprefix("visit.")
        words = self._first(plain.replace(" ", "_"), _CODES[fact])  # `pump start` is one code
        return plain if words == plain.replace(" ", "_") else words

    def refusal(self, refused: Refused) -> str:
        """Return why something was refused."""
        facts = dict(refused.facts)
        for name in _CODES:
            if name in facts:
                words = [self._words_of(name, code) for code in facts[name].split(", ")]
                facts[name] = self.say("list.comma").join(words)
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


def _channels(entries: Mapping[str, str]) -> list[str]:
    return [key.partition(".")[2] for key in entries if key.startswith("channel.")]


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
