"""Samples and analyses of the laboratory; findings and rewards of the enforcement team."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from server.servicecore.ground import Ground, find
from server.servicecore.rules import inquiries as rules
from server.servicecore.rules.permissions import Actor, Person, Right, check
from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.routing import Category
from server.servicecore.rules.verbs import Verb
from server.servicecore.rules.workorder import SETTLED
from server.servicecore.store.tables import Ticket


class Inquiries:
    """The use cases of finding out."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    async def sample(self, ticket: str, *, actor: Person, text: str) -> None:
        """Note that water was taken on site, and where; what was analysed before is done with."""
        async with self._at(ticket, Category.QUALITY, Right.FIELD, actor, Verb.SAMPLE, text) as (
            session,
            who,
            row,
        ):
            kept = {k: v for k, v in row.facts.items() if k != rules.ANALYSIS}
            row.facts = {**kept, rules.SAMPLE: self._ground.now()}
            await self._ground.record(session, who, Verb.SAMPLE, ticket, reason=text)

    async def analyse(self, ticket: str, *, actor: Person, is_fit: bool, text: str) -> None:
        """Note what the analysis of the sample says: whether the water is as it must be."""
        async with self._at(ticket, Category.QUALITY, Right.REPLY, actor, Verb.ANALYSE, text) as (
            session,
            who,
            row,
        ):
            rules.check_analysis(ticket, row.facts)
            row.facts = {**row.facts, rules.ANALYSIS: "fit" if is_fit else "unfit"}
            await self._note(session, who, Verb.ANALYSE, row, text, row.facts[rules.ANALYSIS])

    async def find_out(self, ticket: str, *, actor: Person, is_true: bool, text: str) -> None:
        """Note whether a report of theft is true; who reported it has a reward coming then."""
        async with self._at(ticket, Category.THEFT, Right.REPLY, actor, Verb.FIND, text) as (
            session,
            who,
            row,
        ):
            rules.check_finding(ticket, row.facts)
            kept = {k: v for k, v in row.facts.items() if k != rules.REWARD}
            row.facts = {**kept, rules.FINDING: "true" if is_true else "untrue"}
            if is_true and row.contact:
                row.facts = {**row.facts, rules.REWARD: rules.DUE}
            await self._note(session, who, Verb.FIND, row, text, row.facts[rules.FINDING])

    async def reward(self, ticket: str, *, actor: Person, text: str) -> None:
        """Note that the reward of a true report was given, and what it was."""
        async with self._at(ticket, Category.THEFT, Right.CLOSE, actor, Verb.REWARD, text) as (
            session,
            who,
            row,
        ):
            rules.check_reward(ticket, row.facts)
            row.facts = {**row.facts, rules.REWARD: rules.GIVEN}
            await self._note(session, who, Verb.REWARD, row, text, rules.GIVEN)

    async def _note(
        self, session: AsyncSession, who: Actor, verb: Verb, row: Ticket, text: str, code: Any
    ) -> None:
        await self._ground.record(
            session, who, verb, row.number, after=str(code), reason=text, data={"code": str(code)}
        )

    @asynccontextmanager
    async def _at(
        self, ticket: str, category: Category, right: Right, actor: Person, verb: Verb, text: str
    ) -> AsyncIterator[tuple[AsyncSession, Actor, Ticket]]:
        async with self._ground.acting(actor, right, text=text) as (session, who):
            row = await find(session, Ticket, ticket)
            check(who, right, unit=row.unit)
            if row.state in SETTLED:
                raise Refused("final", ticket=ticket, state=row.state)
            rules.check_category(ticket, row.category, category)
            if not text.strip():
                raise Refused("text_missing", ticket=ticket, step=verb)
            yield session, who, row
