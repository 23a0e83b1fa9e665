"""The page of a point's quality marks: what holds, who said it, and the forms of engineers."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from server.history.marks import Mark
from server.servicecore.marking import QUALITIES, held_of
from server.servicecore.rules.refusal import Refused
from server.web.acts_marks import MARK_ACTS
from server.web.feed import Feed
from server.web.screen import Screen
from server.web.sheet import NOTHING, Sheet, Told, may_act, router_of_pages
from telemetry.point import PointId

SHOWN_MAX = 100
"""The newest marks that a page shows."""


def routes(sheet: Sheet, feed: Feed) -> APIRouter:
    """Return the page of each point's marks; the desk reads them from `feed` too."""
    router = router_of_pages()
    sheet.desk.marking.read_from(feed.marks)

    async def marks_page(request: Request, point: str, told: Told = NOTHING) -> Response:
        screen, known = await sheet.screen(request), await sheet.desk.registry()
        is_accepted = PointId(point) in known.points
        if not is_accepted and point not in {p.id for p in (await sheet.desk.board()).seen_points}:
            raise Refused("unknown", subject=point)
        marks = await feed.marks(point)
        place = f"/quality/{point}"
        may_mark = is_accepted and may_act(request, MARK_ACTS["mark"])
        say = screen.viewer.words.say
        choices = {"quality": [(q, say(f"quality.{q}")) for q in QUALITIES]}
        form = sheet.form(screen, told, MARK_ACTS, "mark", place, choices=choices)
        newest = sorted(marks, reverse=True)
        held = held_of(marks)
        rows = [_row(screen, marks[r], is_held=r in held) for r in newest[:SHOWN_MAX]]
        for row, revision in zip(rows, newest, strict=False):
            chosen = {"mark": str(revision)}
            back = sheet.form(screen, told, MARK_ACTS, "take_back", place, choices=chosen)
            row["form"] = back if may_mark and row["is_held"] else None
        return sheet.show(
            "marks.html",
            screen,
            told,
            here=place,
            name=point,
            title=screen.point(point),
            asked=await sheet.desk.marking.asked(point),
            form=form if may_mark else None,
            rows=rows,
            more=max(0, len(newest) - SHOWN_MAX),
        )

    @router.get("/quality/{point:path}")
    async def marks_of(request: Request, point: str) -> Response:
        return await marks_page(request, point)

    sheet.mount(router, "/quality/{subject:path}", MARK_ACTS, marks_page, "/quality/{}")
    return router


def _row(screen: Screen, mark: Mark, *, is_held: bool) -> dict[str, Any]:
    words = screen.viewer.words
    return {
        "mark": mark,
        "span": f"{screen.stamp(mark.start)} – {screen.stamp(mark.end)}",
        "worth": words.say(f"quality.{worth(mark.quality)}"),
        "reason": words.code("symptom", mark.reason),
        "is_held": is_held,
    }


def worth(quality: int | None) -> str:
    """Return the word of a quality; that of None is `measured`: as it was.

    >>> worth(0), worth(64), worth(None)
    ('bad', 'uncertain', 'measured')
    """
    return next((word for word, known in QUALITIES.items() if known == quality), "measured")
