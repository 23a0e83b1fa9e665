"""What an engineer may say of samples in hindsight: that they are not to be believed, or are."""

from pydantic import Field

from server.servicecore.rules.permissions import Right
from server.web.acts import Act, Code, Doing, Moment, Text


class MarkStretch(Text):
    """From when to when the samples of a point are bad or uncertain, and why."""

    start: Moment
    end: Moment
    quality: Code = "bad"


class TakeBack(Text):
    """The revision of the mark that is taken back, and why."""

    mark: int = Field(ge=1)


async def _mark(it: Doing, said: MarkStretch) -> None:
    await it.desk.marking.mark(
        it.subject,
        actor=it.who,
        begin=it.at(said.start),
        end=it.at(said.end),
        quality=said.quality,
        reason=said.text,
    )


async def _take_back(it: Doing, said: TakeBack) -> None:
    await it.desk.marking.take_back(it.subject, said.mark, actor=it.who, reason=said.text)


MARK_ACTS = {
    "mark": Act(
        takes=MarkStretch,
        do=_mark,
        right=Right.POINTS,
        needs=("start", "end", "quality", "text"),
    ),
    "take_back": Act(takes=TakeBack, do=_take_back, right=Right.POINTS, needs=("mark", "text")),
}
