"""Who was shown personal data of customers: names, telephone numbers, accounts, addresses (R41).

Reading is not an act on a ticket, so it is kept beside the trail, not in it: the trail would be
all readers. An entry is neither changed nor deleted, and the same person who looks at the same page
again within minutes leaves no second one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from server.servicecore.ground import Ground, refuse_bad_words
from server.servicecore.rules import extension
from server.servicecore.rules.permissions import Person, Right, actor_of, check
from server.servicecore.rules.policy_form import RETENTION_YEARS_MIN
from server.servicecore.store.registers import Disclosure
from telemetry.instant import MINUTE_MS

AGAIN_MS = 10 * MINUTE_MS
"""Within this time the same look at the same data is one look."""
PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A page of the access log, the newest entry first."""

    entries: tuple[Disclosure, ...]
    last: int


class Disclosures:
    """The access log of personal data."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    @property
    def asks_why(self) -> bool:
        """Say whether the policy wants a reason before personal data are shown."""
        return self._ground.book.policy.demands("privacy.ask_reason")

    async def note(
        self, who: Person, subjects: Sequence[str], *, place: str, reason: str = ""
    ) -> None:
        """Note that somebody is shown the personal data of `subjects` now, before they are."""
        name, now = actor_of(who).name, self._ground.now()
        refuse_bad_words(name or "-", reason)
        kept = dict.fromkeys(subjects)
        if not kept:
            return
        lately = select(Disclosure).where(Disclosure.by == name, Disclosure.at > now - AGAIN_MS)
        async with self._ground.database.writing(is_news=False) as session:
            for row in await session.scalars(lately.order_by(Disclosure.id.desc())):
                known = (row.place, row.reason, set(row.subjects) >= set(kept))
                if known == (place, reason.strip(), True):
                    return
            last = await session.scalar(select(func.max(Disclosure.id))) or 0
            session.add(
                Disclosure(
                    id=last + 1,
                    at=now,
                    by=name,
                    subjects=list(kept),
                    place=place,
                    reason=reason.strip(),
                    keep_until=extension.keeps_until(
                        now, self._ground.book.policy, years_min=RETENTION_YEARS_MIN
                    ),
                )
            )

    async def page(self, *, actor: Person, before: int | None = None) -> Seen:
        """Return entries below a number, for who may audit. Raises `Refused`."""
        check(actor_of(actor), Right.AUDIT)
        asked = select(Disclosure).order_by(Disclosure.id.desc()).limit(PAGE)
        if before is not None:
            asked = asked.where(Disclosure.id < before)
        async with self._ground.database.reading() as session:
            last = await session.scalar(select(func.max(Disclosure.id))) or 0
            return Seen(entries=tuple(await session.scalars(asked)), last=last)
