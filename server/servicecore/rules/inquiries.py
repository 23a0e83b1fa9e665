"""What the laboratory and the enforcement team must find out before they may answer.

A doubt about water quality that is no general one: sample on site, analysis, report (R55). A report
of theft: whether it is true, and then a reward for who reported it (R56).
"""

from collections.abc import Mapping

from server.servicecore.rules.refusal import Refused
from server.servicecore.rules.routing import Category

SAMPLE, ANALYSIS = "sample", "analysis"
FINDING, REWARD = "finding", "reward"
DUE, GIVEN = "due", "given"
"""Names and states of what a ticket's facts keep of it."""

Facts = Mapping[str, object]


def check_category(ticket: str, category: str, wanted: Category) -> None:
    """Refuse on a ticket about something else."""
    if category != wanted:
        raise Refused("not_in_state", subject=ticket, state=category, allowed_words=wanted)


def check_analysis(ticket: str, facts: Facts) -> None:
    """Refuse an analysis of no sample, or a second one of the same."""
    if SAMPLE not in facts or ANALYSIS in facts:
        raise Refused("sample_missing", ticket=ticket)


def check_finding(ticket: str, facts: Facts) -> None:
    """Refuse to change what was found once its reward was given."""
    if facts.get(REWARD) == GIVEN:
        raise Refused("no_reward", ticket=ticket)


def check_reward(ticket: str, facts: Facts) -> None:
    """Refuse a reward that is not due: the report was not true, or has its reward."""
    if facts.get(REWARD) != DUE:
        raise Refused("no_reward", ticket=ticket)


def check_reply(ticket: str, category: str, facts: Facts) -> None:
    """Refuse an answer that runs ahead of the analysis, or of the finding."""
    if SAMPLE in facts and ANALYSIS not in facts:
        raise Refused("analysis_missing", ticket=ticket)
    if category == Category.THEFT and FINDING not in facts:
        raise Refused("finding_missing", ticket=ticket)


def check_close(ticket: str, facts: Facts) -> None:
    """Refuse to close while the reward of a true report is due."""
    if facts.get(REWARD) == DUE:
        raise Refused("reward_due", ticket=ticket)
