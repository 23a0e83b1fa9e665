"""Quality marks by people: what an engineer says that samples are worth, in hindsight.

The historian has the marks, those of people and of the engine; a mark reaches it through the engine
as a command like any other act, so that a replay has it too.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.engine.commands import MARK_QUALITY
from server.engine.marking import MARKS_MAX, Statement, note_of
from server.engine.registry import Registry
from server.history.marks import Mark, holding, without
from server.servicecore.ground import Ground
from server.servicecore.rules.permissions import Actor, Person, Right
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.verbs import Verb
from server.servicecore.store.tables import Command, RegistryRow
from telemetry.instant import DAY_MS, Instant
from telemetry.point import PointId
from telemetry.sample import Quality

DAYS_MAX = 366
"""How long a stretch of one mark may be: all of it is computed anew."""
QUALITIES = {"bad": Quality.BAD, "uncertain": Quality.UNCERTAIN}
"""What people may say that samples are worth."""

ReadMarks = Callable[[str], Awaitable[Mapping[int, Mark]]]
"""Returns the marks of a point by their revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The last judgement that the engine has not taken in: on its way, or refused `because`."""

    by: str
    at: int
    because: str


async def _none(_: str) -> Mapping[int, Mark]:
    return {}


class Marking:
    """The use cases of quality marks."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._marks: ReadMarks = _none

    def read_from(self, marks: ReadMarks) -> None:
        """From now on read the marks there."""
        self._marks = marks

    async def mark(
        self,
        point: str,
        *,
        actor: Person,
        begin: Instant,
        end: Instant,
        quality: str,
        reason: str,
    ) -> None:
        """Say what the samples of a point in [begin, end) are worth, and why. Raises `Refused`."""
        if quality not in QUALITIES:
            words = ", ".join(QUALITIES)
            raise Refused("not_in_state", subject=point, state=quality, allowed_words=words)
        async with self._ground.acting(actor, Right.POINTS, text=reason) as (session, who):
            await _check(session, point, reason)
            if not 0 <= begin < end:
                raise Refused("dates")
            if end > self._ground.now():
                raise Refused("period_future", date=str(end))
            if end - begin > DAYS_MAX * DAY_MS:
                raise Refused("period_long", limit=str(DAYS_MAX))
            one = Statement(
                begin=begin,
                end=end,
                quality=int(QUALITIES[quality]),
                reason=reason.strip(),
                author=who.name,
            )
            await self._ask(session, who, Verb.MARK_QUALITY, point, [one], after=quality)

    async def take_back(self, point: str, revision: int, *, actor: Person, reason: str) -> None:
        """Take a mark back: in its stretch holds what the other marks say. Raises `Refused`."""
        known = await self._marks(point)
        async with self._ground.acting(actor, Right.POINTS, text=reason) as (session, who):
            await _check(session, point, reason)
            gone = known.get(revision)
            if gone is None or revision not in held_of(known):
                raise Refused("mark_gone", subject=point)
            measured = Statement(
                begin=gone.start,
                end=gone.end,
                quality=None,
                reason=reason.strip(),
                author=who.name,
            )
            others = [_again(m) for m in without(known, revision)]
            if len(others) >= MARKS_MAX:
                raise Refused("marks_many", subject=point, limit=str(MARKS_MAX - 1))
            await self._ask(session, who, Verb.TAKE_BACK_MARK, point, [measured, *others])

    async def asked(self, point: str) -> Asked | None:
        """Return the newest judgement on a point, unless the engine has taken it in."""
        query = select(Command).where(Command.verb == MARK_QUALITY, Command.subject == point)
        newest = query.order_by(func.length(Command.key).desc(), Command.key.desc()).limit(1)
        async with self._ground.database.reading() as session:
            row = await session.scalar(newest)
        if row is None or row.state == "done":
            return None
        return Asked(by=row.actor, at=row.at, because=row.because)

    async def _ask(
        self,
        session: AsyncSession,
        who: Actor,
        verb: Verb,
        point: str,
        marks: list[Statement],
        *,
        after: str = "",
    ) -> None:
        first = marks[0]
        entry = await self._ground.record(
            session,
            who,
            verb,
            point,
            after=after,
            reason=first.reason,
            data={"from": first.begin, "to": first.end},
        )
        self._ground.ask_engine(session, entry, verb=MARK_QUALITY, note=note_of(marks))


def held_of(marks: Mapping[int, Mark]) -> set[int]:
    """Return the revisions of the marks that still hold somewhere, and can be taken back."""
    held = {part.revision for part in holding(marks)}
    return {revision for revision in held if marks[revision].quality is not None}


def _again(mark: Mark) -> Statement:
    return Statement(
        begin=mark.start,
        end=mark.end,
        quality=mark.quality,
        reason=mark.reason,
        author=mark.author,
    )


async def _check(session: AsyncSession, point: str, reason: str) -> None:
    row = await session.get(RegistryRow, 1)
    if row is None or PointId(point) not in Registry.from_json(row.body).points:
        raise Refused("unknown", subject=point)
    if not reason.strip():
        raise Refused("text_missing", ticket=point, step=Verb.MARK_QUALITY)
