"""What the centre's program asks for at the end of a month: that what is closed be archived."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field

from server.servicecore.desk import ACTOR_LENGTH_MAX, Desk
from server.web.viewer import actor_of
from telemetry.instant import Clock, Instant


class ArchiveRequest(BaseModel):
    """Which tickets: those closed before an instant, or until now."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    actor: Annotated[str, Field(max_length=ACTOR_LENGTH_MAX)] = ""
    before: Annotated[int, Field(ge=0, le=2**53)] | None = None


class ArchivedAnswer(BaseModel):
    """The tickets that are in the archive now and were not before."""

    tickets: list[str]


def routes(desk: Desk, clock: Clock) -> APIRouter:
    """Return the way into the archive."""
    router = APIRouter(prefix="/api/v1")
    refusals: dict[int | str, dict[str, Any]] = {409: {"description": "refused; `detail` says why"}}

    @router.post("/archive", responses=refusals)
    async def archive(request: Request, asked: ArchiveRequest) -> ArchivedAnswer:
        actor = actor_of(request)
        if actor is None and not asked.actor:
            raise RequestValidationError([{"loc": ("body", "actor"), "type": "missing", "msg": ""}])
        before = Instant(clock.now() + 1 if asked.before is None else asked.before)
        tickets = await desk.orders.archive(actor=actor or asked.actor, before=before)
        return ArchivedAnswer(tickets=tickets)

    return router
