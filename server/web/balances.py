"""Balances for who looks: a zone and a month out of the historian, in a thread of its own."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from server.balance.account import ZoneMonth
from server.balance.local import month_of
from server.balance.notes import Note
from server.balance.sources import month_of_historian
from server.config import BalanceSection
from server.engine.registry import Registry
from server.servicecore.rules.refusal import Refused
from server.web.words import Words
from telemetry.errors import ConfigError
from telemetry.instant import Clock
from telemetry.point import ZoneId


class Balances:
    """Reads the historian's file; `facts` is what the utility says of its zones' networks."""

    def __init__(self, path: Path, clock: Clock, facts: Sequence[BalanceSection]) -> None:
        self._path = path
        self._clock = clock
        self._facts = {f.zone: f for f in facts}
        # One at a time: what is read is bounded by one zone and two months, however many ask.
        self._lock = asyncio.Lock()

    def month_now(self, registry: Registry, zone: str) -> str:
        """Return the month that it is in a zone."""
        return month_of(self._clock.now(), registry.zones[ZoneId(zone)].timezone)

    def facts(self, zone: str) -> BalanceSection:
        """Return what the utility says of a zone."""
        return self._facts.get(zone) or BalanceSection(zone=zone)

    async def of(self, registry: Registry, zone: str, month: str) -> ZoneMonth:
        """Return the balance of a zone. Raises `Refused` for a zone or a month that is none."""
        if ZoneId(zone) not in registry.zones:
            raise Refused("unknown", subject=zone)
        async with self._lock:
            try:
                return await asyncio.to_thread(
                    month_of_historian,
                    self._path,
                    registry,
                    zone,
                    month,
                    self.facts(zone),
                    until=self._clock.now(),
                )
            except ConfigError:
                raise Refused("unknown", subject=month) from None


def worded(words: Words, note: Note) -> str:
    """Return a reservation in the reader's language."""
    return words.say(f"lack.{note.code}", **note.blanks)
