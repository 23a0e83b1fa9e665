"""What an engineer may do to what is learnt of a zone: choose the days, or take the last again."""

from server.servicecore.rules.permissions import Right
from server.web.acts import Act, Doing, Moment, Text


class TrainOn(Text):
    """The clean period that a zone is to be learnt from, and why."""

    start: Moment
    end: Moment


async def _train(it: Doing, said: TrainOn) -> None:
    await it.desk.learning.train(
        it.subject, actor=it.who, begin=it.at(said.start), end=it.at(said.end), text=said.text
    )


LEARNING_ACTS = {
    "train": Act(takes=TrainOn, do=_train, right=Right.POINTS, needs=("start", "end", "text")),
    "train_again": Act(
        takes=Text,
        do=lambda it, said: it.desk.learning.train_again(it.subject, actor=it.who, text=said.text),
        right=Right.POINTS,
        needs=("text",),
    ),
}
