"""What was learnt of each zone, version by version, and from which days it is to be learnt."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.engine.commands import TRAIN
from server.engine.detectors.forecast import READY
from server.engine.registry import Registry
from server.engine.training import PERIOD_MIN_DAYS, READ_DAYS, Period, fault_of, note_of, read
from server.servicecore.ground import Ground
from server.servicecore.rules.permissions import Person, Right
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.verbs import Verb
from server.servicecore.store.tables import Command, LearntModel, RegistryRow
from telemetry.instant import Instant
from telemetry.point import ZoneId

VERSIONS_SHOWN = 31
REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked for last: a period, None the trailing days; `because` if it was refused.

    `is_open`: the trainer has not answered it with a model yet.
    """

    by: str
    at: int
    period: Period | None
    is_open: bool
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """One zone: its newest models, the newest first; since when it has been ready on end."""

    zone: str
    models: Sequence[LearntModel]
    ready_since: int | None
    asked: Asked | None


class Learning:
    """The use cases of engineers who look after what is learnt."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    async def train(
        self, zone: str, *, actor: Person, begin: Instant, end: Instant, text: str
    ) -> None:
        """Let a zone be learnt from the whole days of a period, at once and until told otherwise.

        Raises `Refused` for a period that is too short, too old or not over.
        """
        await self._ask(zone, (begin, end), actor=actor, text=text)

    async def train_again(self, zone: str, *, actor: Person, text: str) -> None:
        """Let a zone be learnt from its trailing days again."""
        await self._ask(zone, None, actor=actor, text=text)

    async def _ask(self, zone: str, period: Period | None, *, actor: Person, text: str) -> None:
        async with self._ground.acting(actor, Right.POINTS, text=text) as (session, who):
            row = await session.get(RegistryRow, 1)
            if row is None or ZoneId(zone) not in Registry.from_json(row.body).zones:
                raise Refused("unknown", subject=zone)
            if period is not None and (fault := fault_of(period, now=self._ground.now())):
                raise _refusal(fault, period)
            if not text.strip():
                raise Refused("text_missing", ticket=zone, step=Verb.TRAIN)
            last = await _last_command(session, zone, with_refused=False)
            if period == (None if last is None else read(last.note)):
                raise Refused("no_change", subject=zone)
            begin, end = period or (None, None)
            entry = await self._ground.record(
                session, who, Verb.TRAIN, zone, reason=text, data={"from": begin, "to": end}
            )
            self._ground.ask_engine(session, entry, verb=TRAIN, note=note_of(period))

    async def of(self, zones: Sequence[str]) -> list[Learnt]:
        """Return what was learnt of zones, in their order."""
        async with self._ground.database.reading() as session:
            return [await _learnt(session, zone) for zone in zones]


def _refusal(fault: str, period: Period) -> Refused:
    match fault:
        case "short":
            return Refused("period_short", limit=str(PERIOD_MIN_DAYS))
        case "future":
            return Refused("period_future", date=str(period[1]))
        case "old":
            return Refused("period_old", limit=str(READ_DAYS), date=str(period[0]))
    return Refused("dates")


async def _learnt(session: AsyncSession, zone: str) -> Learnt:
    mine = select(LearntModel).where(LearntModel.zone == zone)
    newest = mine.order_by(LearntModel.at.desc(), LearntModel.seq.desc()).limit(VERSIONS_SHOWN)
    models = list(await session.scalars(newest))
    ready_since = None
    if models and models[0].state == READY:
        at = func.max(LearntModel.at)
        before = select(at).where(LearntModel.zone == zone, LearntModel.state != READY)
        after = await session.scalar(before)
        first = select(func.min(LearntModel.at)).where(
            LearntModel.zone == zone, LearntModel.state == READY, LearntModel.at > (after or -1)
        )
        ready_since = await session.scalar(first)
    command = await _last_command(session, zone, with_refused=True)
    return Learnt(
        zone=zone,
        models=models,
        ready_since=ready_since,
        asked=None if command is None else _asked(command, models),
    )


def _asked(command: Command, models: Sequence[LearntModel]) -> Asked:
    is_refused = command.state == REFUSED
    return Asked(
        by=command.actor,
        at=command.at,
        period=read(command.note),
        is_open=not is_refused and not (models and models[0].at >= command.at),
        because=command.because if is_refused else "",
    )


async def _last_command(session: AsyncSession, zone: str, *, with_refused: bool) -> Command | None:
    asked = select(Command).where(Command.verb == TRAIN, Command.subject == zone)
    if not with_refused:
        asked = asked.where(Command.state != REFUSED)
    return await session.scalar(
        asked.order_by(func.length(Command.key).desc(), Command.key.desc()).limit(1)
    )
