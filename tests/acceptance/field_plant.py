"""A plant of any kind of utility, each part a process of its own, that bursts once."""

import asyncio
from contextlib import suppress
from pathlib import Path

import httpx

from mainwatch.demo import Plant, Wishes
from tests.house.tree import ROOT

CALM_S = 40
"""How long the plant lives before its burst: the engine forms its references meanwhile."""
TICKET_S = 90


async def play(folder: Path, configs: str, *, pipe: str, m3h: float, days: int = 3) -> list[dict]:
    """Run a plant until its burst has a ticket, and return the tickets; its data are in `folder`.

    Fails with what the parts wrote down where none comes in time.
    """
    wishes = Wishes(
        headless=True,
        seconds=None,
        burst_after_s=None,
        burst_pipe=pipe,
        burst_m3h=m3h,
        report=None,
        port=0,
        folder=folder,
        broker=None,
        days=days,
    )
    folder.mkdir(parents=True)
    plant = Plant(folder, wishes, ROOT / "configs" / configs)
    async with asyncio.TaskGroup() as tasks:
        try:
            await plant.start(tasks)
            await asyncio.sleep(CALM_S)
            await plant.burst()
            found = await _ticket(plant.page)
        finally:
            await plant.end()
    assert found, f"no ticket within {TICKET_S} s:\n{logs(folder)}"
    return found


async def _ticket(page: str) -> list[dict]:
    async with httpx.AsyncClient(base_url=page, timeout=30) as client:
        with suppress(TimeoutError):
            async with asyncio.timeout(TICKET_S):
                while True:
                    with suppress(httpx.HTTPError):
                        if found := (await client.get("/api/v1/tickets")).json():
                            return found
                    await asyncio.sleep(0.5)
    return []


def logs(folder: Path) -> str:
    """Return the end of what every part wrote down."""
    parts = sorted((folder / "log").glob("*.log"))
    return "".join(f"\n--- {p.name}\n{p.read_text()[-3000:]}" for p in parts)
