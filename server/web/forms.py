"""Forms made from what an act takes, so that a page and its use case never ask for other things."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from annotated_types import MaxLen
from pydantic.fields import FieldInfo

from server.servicecore.desk import TEXT_LENGTH_MAX
from server.web.acts import Act
from server.web.words import Words

Options = Sequence[tuple[str, str]]
"""What can be chosen: (code, words)."""
Choices = Mapping[str, Options | str]
"""For fields by name: what can be chosen, or one text, which is then sent unseen."""

_UNSEEN = ("actor",)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One field of a form."""

    name: str
    label: str
    kind: str  # hidden | text | area | time | number | choice | boxes | box
    value: str
    is_needed: bool
    options: Options = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ActForm:
    """A form that posts one act."""

    name: str
    action: str
    label: str
    fields: tuple[FormField, ...]

    @property
    def asks(self) -> bool:
        """Say whether a person has anything to fill in; else it is a button."""
        return any(f.kind != "hidden" for f in self.fields)

    @property
    def needs(self) -> bool:
        """Say whether a person must fill something in."""
        return any(f.kind != "hidden" and f.is_needed for f in self.fields)


def form_of(
    name: str,
    act: Act,
    action: str,
    *,
    words: Words,
    label: str,
    choices: Choices | None = None,
    values: Mapping[str, object] | None = None,
) -> ActForm:
    """Return the form of an act; `values` are filled in."""
    choices, values = choices or {}, values or {}
    fields = [
        _field(field, info, act, choices.get(field), values.get(field), words=words, act_name=name)
        for field, info in act.takes.model_fields.items()
        if field not in _UNSEEN
    ]
    return ActForm(name=name, action=action, label=label, fields=tuple(fields))


def _field(
    name: str,
    info: FieldInfo,
    act: Act,
    choice: Options | str | None,
    value: object,
    *,
    words: Words,
    act_name: str,
) -> FormField:
    if value is None and info.default not in (None, ""):
        value = "" if info.is_required() or info.default == () else info.default
    if isinstance(value, bool):
        value = "true" if value else "false"
    key = f"text.{act_name}" if name == "text" else f"label.{name}"
    label = words.entries.get(key) or words.say(f"label.{name}")
    kind, options = _kind(name, info, choice, words, is_needed=name in act.needs)
    return FormField(
        name=name,
        label=label,
        kind=kind,
        value=choice if isinstance(choice, str) else str("" if value is None else value),
        is_needed=name in act.needs,
        options=options,
    )


def _kind(
    name: str, info: FieldInfo, choice: Options | str | None, words: Words, *, is_needed: bool
) -> tuple[str, Options]:
    annotation: Any = info.annotation
    if name == "version" or isinstance(choice, str):
        return "hidden", ()
    if getattr(annotation, "__origin__", None) is tuple:
        return "boxes", choice or ()
    if choice is not None:
        return "choice", choice
    if annotation is bool:
        yes_no = (("true", words.say("answer.yes")), ("false", words.say("answer.no")))
        return ("choice", yes_no) if is_needed or info.default is True else ("box", ())
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return "choice", [(str(c), words.code(annotation.__name__.lower(), c)) for c in annotation]
    if info.description:
        return "time", ()
    if annotation is not str:
        return "number", ()
    is_long = any(isinstance(m, MaxLen) and m.max_length == TEXT_LENGTH_MAX for m in info.metadata)
    return ("area" if is_long else "text"), ()
