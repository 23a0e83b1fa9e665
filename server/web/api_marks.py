"""Quality marks for programs: those of a point, and whether they hold."""

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from server.history.marks import holding
from server.servicecore.desk import Desk
from server.servicecore.rules.permissions import Right, actor_of, check
from server.servicecore.rules.refusal import Refused
from server.web.api_records import REFUSALS
from server.web.feed import Feed
from server.web.mark_pages import worth
from server.web.viewer import person_of
from telemetry.point import PointId


class StretchAnswer(BaseModel):
    """Where a mark holds, in milliseconds; `end` is not of it."""

    model_config = ConfigDict(frozen=True)

    begin: int
    end: int


class MarkAnswer(BaseModel):
    """One mark, as it was made at `at`."""

    model_config = ConfigDict(frozen=True)

    mark: int = Field(description="its revision, which `take_back` asks for")
    begin: int
    end: int
    quality: str = Field(description="bad, uncertain, or measured: as the samples came")
    reason: str
    author: str = Field(description="who said so; `engine` is the quality detector")
    at: int
    holds: list[StretchAnswer] = Field(description="where no later mark says otherwise")


def routes(desk: Desk, feed: Feed) -> APIRouter:
    """Return what programs may ask of quality marks."""
    router = APIRouter(prefix="/api/v1")

    @router.get("/quality/{point:path}", summary="The marks of a point", responses=REFUSALS)
    async def marks(request: Request, point: str) -> list[MarkAnswer]:
        check(actor_of(person_of(request)), Right.READ)
        if PointId(point) not in (await desk.registry()).points:
            raise Refused("unknown", subject=point)
        return await answers(feed, point)

    return router


async def answers(feed: Feed, point: str) -> list[MarkAnswer]:
    """Return the marks of a point, the newest first."""
    found = await feed.marks(point)
    held: dict[int, list[StretchAnswer]] = {}
    for part in holding(found):
        stretch = StretchAnswer(begin=part.start, end=part.end)
        held.setdefault(part.revision, []).append(stretch)
    return [
        MarkAnswer(
            mark=revision,
            begin=mark.start,
            end=mark.end,
            quality=worth(mark.quality),
            reason=mark.reason,
            author=mark.author,
            at=mark.at,
            holds=held.get(revision, []),
        )
        for revision, mark in sorted(found.items(), reverse=True)
    ]
