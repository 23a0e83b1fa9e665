"""ScenarioConfig: a story as its file tells it, and what must and must not be said about it."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from firmware_sim.config import BilingualName, Name
from firmware_sim.core.scenario import Say, Told

MAX_EVENTS = 1_000


def _moment(told: Any) -> Any:
    """Turn an instant of the calendar into milliseconds; leave every other text as it is."""
    if isinstance(told, str) and told[:4].isdigit():
        told = datetime.fromisoformat(told)
    if isinstance(told, datetime):
        if told.tzinfo is None:
            raise ValueError("expected an instant with its offset, such as 2026-11-20T02:10:00Z")
        return round(told.timestamp() * 1000)
    return told


Moment = Annotated[int | str, BeforeValidator(_moment)]
"""Milliseconds, or a text such as `+1h30m`, `02:10`, `day 3 02:10`; see docs/simulator.md."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScenarioSection(_Section):
    """What the story is called, when it starts and how long it takes.

    `town` is the folder under configs/ that it is written for, `cadence_s` how often its history
    is written down.
    """

    name: Name
    title: BilingualName
    note: str = ""
    town: str = "demo"
    starts: Moment = ""
    lasts: str = "1h"
    cadence_s: Annotated[int, Field(ge=1, le=3600)] = 1
    speed: Annotated[float, Field(gt=0, le=1000)] = 1.0


class EventSection(BaseModel):
    """One happening; every key that is not named here is one of the numbers of its kind."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, float]

    id: Name
    kind: str
    at: Moment
    lasts: str = Field(default="", alias="for")
    until: Moment = ""
    target: str = ""
    planned: bool = False

    @property
    def told(self) -> Told:
        """Return it as a story tells it."""
        return Told(
            id=self.id,
            kind=self.kind,
            at=self.at,
            lasts=self.lasts,
            until=self.until,
            target=self.target,
            numbers=self.__pydantic_extra__,
        )


class MustSaySection(_Section):
    """A finding that must be told within some time of a happening (of the first, if not named).

    `later` marks what this release cannot find yet.
    """

    kind: str
    zone: str | None = None
    within_s: Annotated[float, Field(gt=0)]
    after: str = ""
    later: bool = False


class ExpectSection(_Section):
    """What a control room must say about the story, and what it must not.

    `must_not_say_later` is what this release may still say, and a later one must not.
    """

    must_say: tuple[MustSaySection, ...] = ()
    must_not_say: tuple[str, ...] = ()
    must_not_say_later: tuple[str, ...] = ()

    @property
    def says(self) -> list[Say]:
        """Return everything that is named here, with its key."""
        found = [
            Say(key=f"expect.must_say[{n}]", kind=say.kind, zone=say.zone, after=say.after)
            for n, say in enumerate(self.must_say)
        ]
        for key in ("must_not_say", "must_not_say_later"):
            kinds = enumerate(getattr(self, key))
            found += [Say(key=f"expect.{key}[{n}]", kind=kind) for n, kind in kinds]
        return found


class ScenarioConfig(_Section):
    """The whole file."""

    scenario: ScenarioSection
    event: tuple[EventSection, ...] = Field(default=(), max_length=MAX_EVENTS)
    expect: ExpectSection = ExpectSection()
