"""Why a person's command is refused: a key that every language of the screens can word."""

from telemetry.errors import RefusedCommand

REFUSALS = {
    "name_missing": "start your shift with your name first",
    "text_too_long": "expected at most {limit} characters, were {length}",
    "unknown": "there is no {subject}",
    "step": "{ticket} is in state {state}; allowed now: {allowed}",
    "final": "{ticket} is in state {state}, which is final",
    "text_missing": "to {step} {ticket}, say why or with what result",
    "changed": "{ticket} was changed meanwhile; look at it again",
    "ticket_open": "{incident} already has the open ticket {ticket}",
    "no_proposal": "nothing is proposed for {incident}",
    "acknowledged": "{subject} is already acknowledged by {actor}",
    "asked": "{subject}: {actor} has already asked for this; it is on its way",
    "closed": "{subject} is already closed",
    "active": "{subject} still has an active alarm: {alarms}",
}
"""English words by key; the catalogues of the screens have the same keys after `refused.`."""


class Refused(RefusedCommand):
    """A refusal that can be said in any language: its key and the facts that fill the sentence."""

    def __init__(self, key: str, **facts: str) -> None:
        super().__init__(REFUSALS[key].format(**facts))
        self.key = key
        self.facts = facts
