"""The page of a zone's water: its night flow against its own past, and its balance of a month."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from server.servicecore.rules.refusal import Refused
from server.web.balances import Balances, worded
from server.web.sheet import NOTHING, Sheet, Told, router_of_pages, say


def routes(sheet: Sheet, balances: Balances) -> APIRouter:
    """Return the page of night flow and balance."""
    router = router_of_pages()

    @router.get("/balance")
    async def balance(request: Request, zone: str = "", month: str = "") -> Response:
        screen = await sheet.screen(request)
        registry = await sheet.desk.registry()
        known = [z for z, _ in screen.zones()]
        chosen = zone if zone in known else next(iter(known), "")
        found, told = None, NOTHING
        if chosen:
            name = month or balances.month_now(registry, chosen)
            try:
                found = await balances.of(registry, chosen, name)
            except Refused as e:
                told = Told(status=404, message=say(screen, e))
        return sheet.show(
            "balance.html",
            screen,
            told,
            here=f"/balance?zone={chosen}&month={'' if found is None else found.month}",
            zone=chosen,
            month=month if found is None else found.month,
            found=found,
            facts=balances.facts(chosen),
            notes=[]
            if found is None
            else [worded(screen.viewer.words, n) for n in found.balance.notes],
            top=max((n.m3h or 0.0 for n in found.nights), default=0.0) if found else 0.0,
        )

    return router
