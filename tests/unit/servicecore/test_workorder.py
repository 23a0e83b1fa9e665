"""The table of a ticket's life: complete, and nothing outside it can happen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.servicecore.rules import incident, workorder
from server.servicecore.rules.permissions import STEP_RIGHTS
from server.servicecore.rules.refusal import REFUSALS, Refused
from server.servicecore.rules.workorder import (
    FINAL,
    FIRST,
    FORM,
    HAPPENED,
    MANDATORY,
    NEEDS_TEXT,
    SETTLED,
    TRANSITIONS,
    WAIVERS,
    WORKING,
    Evidence,
    State,
    Step,
    after,
    allowed,
    offered,
)

requirement = pytest.mark.requirement


def reachable(first: State) -> list[State]:
    found = [first]
    for state in found:
        found += [s for s in TRANSITIONS[state].values() if s not in found]
    return found


def test_every_state_is_in_the_table_and_can_be_reached():
    assert set(TRANSITIONS) == set(State)
    assert set(reachable(FIRST)) == set(State)


def test_every_step_has_its_right_and_its_word():
    assert set(STEP_RIGHTS) == set(HAPPENED) == set(Step)
    assert len(set(HAPPENED.values())) == len(Step)


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_way_out_that_ends_or_is_final(state: State):
    assert bool(TRANSITIONS[state]) != (state in FINAL)
    assert set(reachable(state)) & FINAL
    assert state in SETTLED or allowed(state)


@pytest.mark.parametrize("state", sorted(set(State) - {State.RETURNED, State.WAITING}))
def test_what_was_begun_can_be_archived_or_cancelled_from_everywhere(state: State):
    assert State.ARCHIVED in reachable(state) or state is State.CANCELLED


def test_the_whole_way_of_the_trade_is_in_the_table():
    way = [
        *(Step.ACCEPT, Step.DEPART, Step.ARRIVE, Step.DIAGNOSE, Step.ISOLATE, Step.RESTORE),
        *(Step.REPLY, Step.CALL_BACK, Step.CLOSE, Step.ARCHIVE),
    ]
    state, states = FIRST, [FIRST]
    for step in way:
        state = after("T-000001", state, step, "words")
        states.append(state)

    assert states == [
        *(State.ISSUED, State.ACCEPTED, State.EN_ROUTE, State.ON_SITE, State.DIAGNOSED),
        *(State.ISOLATED, State.RESTORED, State.REPLIED, State.CONFIRMED, State.CLOSED),
        State.ARCHIVED,
    ]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("step", Step)
def test_a_step_is_done_exactly_when_the_table_has_it(state: State, step: Step):
    if step in TRANSITIONS[state]:
        assert after("T-000001", state, step, "words") is TRANSITIONS[state][step]
    else:
        with pytest.raises(Refused) as refused:
            after("T-000001", state, step, "words")
        assert all(name in str(refused.value) for name in allowed(state))


@pytest.mark.parametrize("step", sorted(NEEDS_TEXT))
def test_a_step_that_needs_words_is_refused_without(step: Step):
    state = next(s for s in State if step in allowed(s))

    with pytest.raises(Refused, match="say why"):
        after("T-000001", state, step, "  ")


@pytest.mark.parametrize("state", sorted(WORKING))
def test_what_waits_goes_on_where_it_stopped(state: State):
    assert after("T-000001", state, Step.WAIT, "no key") is State.WAITING

    assert after("T-000001", State.WAITING, Step.RESUME, "", waited_from=state) is state


@requirement("R95")
def test_nothing_is_closed_that_was_not_replied():
    closing = {state for state, steps in TRANSITIONS.items() if Step.CLOSE in steps}

    assert closing == {State.REPLIED, State.CONFIRMED}


def test_whoever_nobody_asked_for_is_not_called_back():
    assert offered(State.REPLIED, has_requester=True)[0] is Step.CALL_BACK
    assert offered(State.REPLIED, has_requester=False) == (Step.CLOSE, Step.REOPEN)
    assert offered(State.CLOSED, has_requester=True) == ()


@given(st.lists(st.sampled_from(Step), max_size=30))
def test_no_sequence_of_steps_leaves_the_table(steps: list[Step]):
    state = FIRST
    for step in steps:
        before = state
        try:
            state = after("T-000001", state, step, "words")
        except Refused:
            assert state is before
        else:
            assert state is TRANSITIONS[before][step]
            assert before not in FINAL


FIELDS = dict.fromkeys(MANDATORY, "x")


@requirement("R20")
@pytest.mark.parametrize("field", MANDATORY)
def test_each_of_the_seven_fields_is_mandatory(field: str):
    assert len(MANDATORY) == 7
    assert workorder.missing_fields(FIELDS, points=()) == ()

    assert workorder.missing_fields({**FIELDS, field: " "}, points=()) == (field,)


@requirement("R20")
def test_telemetry_names_a_point_in_place_of_account_and_contact():
    fields = {**FIELDS, "sender": "system:burst", "account": "", "contact": ""}

    assert workorder.missing_fields(fields, points=("north-12/pressure",)) == ()
    assert workorder.missing_fields(fields, points=()) == ("point",)


@requirement("R110")
@pytest.mark.parametrize("field", FORM)
def test_a_service_form_has_effect_items_opinion_signature_and_date(field: str):
    form = dict.fromkeys(FORM, "x")

    assert FORM == ("effect", "items", "opinion", "signature", "date")
    assert workorder.missing_form(form) == ()
    assert workorder.missing_form({**form, field: ""}) == (field,)


ALL_VERBS = {"issue", "accept", "arrive", "progress", "reply", "call_back"}


def lacking(verbs: set[str], *, waived: tuple[str, ...] = (), requester: bool = True):
    return workorder.missing_evidence(
        verbs, fields_missing=(), waived=waived, has_requester=requester
    )


@requirement("R35")
@pytest.mark.parametrize(
    ("without", "lacks"),
    [
        (set(), ()),
        ({"arrive"}, (Evidence.ACTION,)),
        ({"accept", "arrive", "progress"}, (Evidence.ACTION, Evidence.TRACKING)),
        ({"reply"}, (Evidence.FEEDBACK,)),
        ({"call_back"}, (Evidence.CALL_BACK,)),
    ],
)
def test_each_evidence_is_asked_for(without, lacks):
    assert lacking(ALL_VERBS - without) == lacks


@requirement("R35")
def test_a_record_with_empty_fields_is_no_evidence():
    assert workorder.missing_evidence(
        ALL_VERBS, fields_missing=("cause",), waived=(), has_requester=True
    ) == (Evidence.RECORD,)


@requirement("R28", "R35")
def test_an_evidence_is_waived_for_its_reasons_only():
    assert lacking(ALL_VERBS - {"call_back"}, waived=("call_back",)) == ()
    assert lacking(ALL_VERBS - {"call_back"}, requester=False) == ()
    workorder.check_waiver("T-1", Evidence.CALL_BACK, "anonymous")
    workorder.check_waiver("T-1", Evidence.CALL_BACK, "vexatious")
    for evidence, reason in (
        (Evidence.CALL_BACK, "busy"),
        (Evidence.RECORD, "anonymous"),
        (Evidence.FEEDBACK, "anonymous"),
    ):
        with pytest.raises(Refused, match="cannot be waived"):
            workorder.check_waiver("T-1", evidence, reason)
    assert Evidence.FEEDBACK not in WAIVERS


def test_every_refusal_can_be_worded():
    facts = dict.fromkeys(
        (
            *("subject", "ticket", "state", "allowed", "step", "actor", "incident", "alarms"),
            *("fields", "tickets", "allowed_words", "due", "date", "clock", "role", "unit"),
            *("zone", "because", "found", "known"),
        ),
        "x",
    )
    for key, text in REFUSALS.items():
        assert text.format(**facts, limit="1", length="2"), key


# --- incidents ------------------------------------------------------------------------------------


def incident_reachable(first: incident.State) -> list[incident.State]:
    found = [first]
    for state in found:
        found += [s for s in incident.TRANSITIONS[state].values() if s not in found]
    return found


@pytest.mark.parametrize("state", incident.State)
def test_every_incident_state_is_reached_and_has_a_way_to_an_end(state: incident.State):
    assert set(incident.TRANSITIONS) == set(incident.State)
    assert state in incident_reachable(incident.FIRST)
    assert set(incident_reachable(state)) & incident.FINAL
    assert bool(incident.allowed(state)) != (state in incident.FINAL)


@pytest.mark.parametrize("state", incident.State)
@pytest.mark.parametrize("act", incident.Act)
def test_an_incident_act_is_done_exactly_when_the_table_has_it(state, act):
    if act in incident.TRANSITIONS[state]:
        assert incident.after("INC-1", state, act, "words") is incident.TRANSITIONS[state][act]
    else:
        with pytest.raises(Refused, match="allowed now"):
            incident.after("INC-1", state, act, "words")


def test_a_working_incident_closes_over_restored_and_verified_only():
    ways = {s for s, acts in incident.TRANSITIONS.items() if incident.Act.CLOSE in acts}

    assert ways == {
        incident.State.VERIFIED,
        incident.State.FALSE_ALARM,
        incident.State.EXPLAINED,
    }


@pytest.mark.parametrize("act", sorted(incident.NEEDS_TEXT))
def test_an_incident_act_that_decides_says_why(act: incident.Act):
    state = next(s for s in incident.State if act in incident.allowed(s))

    with pytest.raises(Refused, match="say why"):
        incident.after("INC-1", state, act, " ")
