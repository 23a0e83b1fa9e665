"""What was learnt, for programs."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from server.servicecore.desk import Desk
from server.servicecore.learning import Learnt
from server.servicecore.rules.permissions import Right, actor_of, check
from server.servicecore.rules.refusal import Refused
from server.web.api_records import REFUSALS
from server.web.viewer import person_of
from telemetry.point import ZoneId


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class ModelAnswer(_Answer):
    """One version of what was learnt of a zone, as it was applied at `at`."""

    at: int
    hash: str = Field(description="SHA-256 of the artefact in the journal")
    state: str = Field(description="learning, ready or off")
    days: int = Field(description="known days")
    of: int = Field(description="days that are needed")
    begin: int = Field(description="of the window that it was learnt from")
    end: int
    is_chosen: bool = Field(description="whether an engineer chose the window")
    threshold: float | None = Field(description="of the CUSUM, in sigmas")
    alarms_a_year: float | None = Field(description="by the zone's own past")
    past_days: int
    because: str


class AskedAnswer(_Answer):
    """What was asked for last; without `begin` the last days again."""

    by: str
    at: int
    begin: int | None
    end: int | None
    is_open: bool = Field(description="not answered with a model yet")
    because: str = Field(description="why it was refused, if it was")


class LearnedAnswer(_Answer):
    """One zone: its models, the newest first, and since when it has been ready."""

    zone: str
    state: str = Field(description="of the newest model; empty before the first")
    ready_since: int | None
    asked: AskedAnswer | None
    models: list[ModelAnswer]


def routes(desk: Desk) -> APIRouter:
    """Return what programs may ask of what was learnt."""
    router = APIRouter(prefix="/api/v1")

    @router.get(
        "/learning", summary="What was learnt of a zone, or of every zone", responses=REFUSALS
    )
    async def learning(
        request: Request, zone: Annotated[str, Query(max_length=64)] = ""
    ) -> list[LearnedAnswer]:
        check(actor_of(person_of(request)), Right.READ)
        known = (await desk.registry()).zones
        if zone and ZoneId(zone) not in known:
            raise Refused("unknown", subject=zone)
        found = await desk.learning.of([zone] if zone else [str(z) for z in known])
        return [_answer(learnt) for learnt in found]

    return router


def _answer(learnt: Learnt) -> LearnedAnswer:
    asked = learnt.asked
    begin, end = (None, None) if asked is None or asked.period is None else asked.period
    return LearnedAnswer(
        zone=learnt.zone,
        state=learnt.models[0].state if learnt.models else "",
        ready_since=learnt.ready_since,
        asked=None
        if asked is None
        else AskedAnswer(
            by=asked.by,
            at=asked.at,
            begin=begin,
            end=end,
            is_open=asked.is_open,
            because=asked.because,
        ),
        models=[ModelAnswer.model_validate(m, from_attributes=True) for m in learnt.models],
    )
