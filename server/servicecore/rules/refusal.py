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
    "fields_missing": "{subject} lacks mandatory fields: {fields}",
    "evidence_missing": "{ticket} cannot be closed without {fields}; give it or waive it",
    "children_open": "{ticket} has open child orders: {tickets}",
    "not_waived": "{subject}: {fields} cannot be waived here; allowed: {allowed_words}",
    "late_extension": "{ticket}: an extension is asked for before the limit, which was {due}",
    "early_date": "expected a date after {due}, was {date}",
    "no_clock": "{ticket} has no running clock {clock}; running: {allowed_words}",
    "no_request": "nothing is asked for on {subject} that could be decided",
    "not_permitted": "the role {role} may not do this; allowed: {allowed_words}",
    "own_request": "{actor} asked for it, so another must decide",
    "unknown_area": "no {unit} unit serves {zone}; areas served: {allowed_words}",
    "no_liaison": "{unit} has no liaison on duty; on duty now: {allowed_words}",
    "unknown_category": "there is no category {subject}; categories: {allowed_words}",
    "not_incident_step": "{subject} is {state}; allowed now: {allowed_words}",
    "not_verified": "{subject} is not verified by telemetry: {because}; wait or waive it",
    "merge_self": "{subject} cannot be merged into {incident}",
    "split_all": "{subject} keeps at least one alarm; it has {alarms}",
    "shelve_range": "expected an end within {limit} hours from now",
    "not_shelved": "{subject} is not shelved",
    "shelved": "{subject} is shelved until {date} by {actor}",
    "not_in_state": "{subject} is {state}; allowed: {allowed_words}",
    "same_person": "{actor} handed over and cannot also take over",
    "notice_missing": "an outage of more than {limit} h needs a notice before it begins",
    "time_form": "expected a time such as 2026-03-01T08:30, found {subject}",
    "dates": "expected an end after the beginning",
    "sample_missing": "{ticket} has no sample that waits for its analysis",
    "analysis_missing": "{ticket}: a sample waits for its analysis, and the report comes after it",
    "finding_missing": "{ticket}: say first whether the report of theft is true",
    "no_reward": "{ticket}: no reward is due",
    "reward_due": "{ticket}: the report is true, so its reward is due before it is closed",
    "arrears_sent": "the messages of {subject} were sent by {actor}",
    "no_change": "{subject}: nothing would change",
    "period_short": "expected a period of at least {limit} days, found a shorter one",
    "period_future": "expected a period that is over, found one until {date}",
    "period_old": "the trainer reads the last {limit} days; the period begins on {date}",
    "period_long": "expected at most {limit} days, found more",
    "mark_gone": "the mark of {subject} holds no more; look at it again",
    "marks_many": "{subject}: more than {limit} other marks lie in this stretch",
    "number_form": "expected a number such as 0.28, found {subject}",
    "registry_zone": "{subject}: there is no zone {found}; zones: {known}",
    "registry_limits": "{subject}: the lower limit must lie below the upper one",
    "registry_promise": "{subject} is no pressure, so nothing can be promised there",
    "registry_timezone": "expected a time zone such as Asia/Shanghai, found {subject}",
    "registry_calendar": "{subject} is no calendar; allowed: {allowed_words}",
    "registry_names": "{subject} needs a name in Chinese and one in English",
    "registry_id": "expected 1 to 32 of A-Z, a-z, 0-9, '_' and '-', found {subject}",
    "registry_within": "{subject}: expected another zone that does not lie in it, found {found}",
    "registry_taken": "there is a zone {subject} already",
    "registry_in_use": "{zone} is still in use: {found}",
    "registry_store": "{subject}: {found} is no level point that is accepted",
    "registry_floor": "{subject}: expected a pressure above 0 and at most {limit}, found {found}",
    "registry_floor_of": "{subject} is no pressure, so no law sets it a floor",
    "registry_unit": "{subject} is no unit of pressure; allowed: {allowed_words}",
    "registry_meter": "{subject}: {found} is no flow point that is accepted",
    "registry_meter_twice": "{subject}: {found} is named twice",
    "figures_changed": "{subject} is gone, or is not what was frozen: its hash is another",
    "retention": "{subject} is kept until {date}",
    "locked": "too many wrong passwords: try again after {date}",
    "wrong_password": "this login and password do not go together",
    "link_over": "this link has been used or is over; the administrator can give a new one",
    "password_length": "expected at least {limit} characters, were {length}",
    "passwords_differ": "the two passwords differ",
    "login_taken": "{subject} is taken",
    "login_form": "expected 2 to 40 of a-z, 0-9, '.', '_' and '-', found {subject}",
    "role_missing": "choose at least one role: {allowed_words}",
    "last_admin": "somebody must stay administrator",
}
"""English words by key; the catalogues of the screens have the same keys after `refused.`."""

MALFORMED = frozenset(
    {
        *("number_form", "time_form", "registry_zone", "registry_limits", "registry_timezone"),
        *("registry_calendar", "registry_names", "registry_id", "registry_within"),
        *("registry_meter", "registry_meter_twice", "registry_store"),
        *("registry_floor", "registry_floor_of", "registry_promise", "registry_unit"),
    }
)
"""Keys of what could not be done however things stand: what was written cannot be."""


class Refused(RefusedCommand):
    """A refusal that can be said in any language: its key and the facts that fill the sentence."""

    def __init__(self, key: str, **facts: str) -> None:
        super().__init__(REFUSALS[key].format(**facts))
        self.key = key
        self.facts = facts

    @property
    def is_malformed(self) -> bool:
        """Say whether what was written is at fault, and not how things stand."""
        return self.key in MALFORMED
