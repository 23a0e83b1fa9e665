"""Serve a test's plant as a process of its own, which can be killed: FOLDER PORT [POLICY]."""

import asyncio
import sys
from pathlib import Path

from tests.support.books import book
from tests.support.plant import serving


async def main(folder: Path, port: int, policy: str = "") -> None:
    async with serving(folder, port=port, book=book(policy) if policy else None):
        print("serving", flush=True)  # noqa: T201  what the test waits for
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
