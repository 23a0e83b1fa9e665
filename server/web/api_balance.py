"""Night flow and water balance for programs."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from server.balance.answer import BalanceAnswer, answer_of
from server.servicecore.desk import Desk
from server.servicecore.rules.permissions import Right, actor_of, check
from server.web.api_records import MONTH, REFUSALS
from server.web.balances import Balances, worded
from server.web.viewer import person_of, viewer_of


def routes(desk: Desk, balances: Balances) -> APIRouter:
    """Return what programs may ask of a zone's water."""
    router = APIRouter(prefix="/api/v1")

    @router.get(
        "/balance",
        summary="Night flow and water balance of a zone and a month, or of every zone",
        responses=REFUSALS,
    )
    async def balance(
        request: Request,
        zone: Annotated[str, Query(max_length=64)] = "",
        month: Annotated[str, Query(pattern=MONTH)] = "",
    ) -> list[BalanceAnswer]:
        check(actor_of(person_of(request)), Right.READ)
        words, registry = viewer_of(request).words, await desk.registry()
        zones = [zone] if zone else [str(z) for z in registry.zones]
        found = []
        for name in zones:
            of = month or (balances.month_now(registry, name) if name in registry.zones else "")
            found.append(await balances.of(registry, name, of))
        return [answer_of(f, lambda note: worded(words, note)) for f in found]

    return router
