"""An act that a form and a program may ask for alike: what it takes, and which use case it is."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from server.servicecore.desk import ACTOR_LENGTH_MAX, TEXT_LENGTH_MAX, Desk
from server.servicecore.rules.permissions import Person, Right
from server.servicecore.rules.refusal import Refused
from telemetry.instant import Instant

Code = Annotated[str, Field(max_length=80)]
Words = Annotated[str, Field(max_length=TEXT_LENGTH_MAX)]
Moment = Annotated[
    str, Field(max_length=40, description="YYYY-MM-DDTHH:MM where the water is, or ms since 1970")
]


class Said(BaseModel):
    """Who acts, where nobody signs in; a page knows it from its cookie."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    actor: Annotated[str, Field(max_length=ACTOR_LENGTH_MAX)] = ""


class Text(Said):
    """An act with words."""

    text: Words = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """One act under way: at which desk, on what, by whom, and where its times are local."""

    desk: Desk
    subject: str
    who: Person
    timezone: tzinfo

    def at(self, moment: str) -> Instant:
        """Return the instant that somebody wrote. Raises `Refused`."""
        return instant_of(moment, self.timezone)


Do = Callable[[Doing, Any], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What may be done: `needs` are the fields that it is void without, `right` whom it is for."""

    takes: type[Said]
    do: Do
    right: Right
    needs: tuple[str, ...] = ()
    leads: str = ""
    """Where a page goes on to, if not back; `{}` is what the act returned."""


Acts = Mapping[str, Act]


def instant_of(moment: str, timezone: tzinfo) -> Instant:
    """Return an instant out of a local time or milliseconds. Raises `Refused`."""
    text = moment.strip()
    if text.isdecimal() and len(text) < 17:
        return Instant(int(text))
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Refused("time_form", subject=text or "-") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=timezone)
    return Instant(int(found.timestamp() * 1000))
