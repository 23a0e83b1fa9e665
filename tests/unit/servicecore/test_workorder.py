"""The table of a ticket's life: complete, and nothing outside it can happen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.servicecore.rules.refusal import REFUSALS, Refused
from server.servicecore.rules.workorder import (
    FINAL,
    FIRST,
    NEEDS_TEXT,
    TRANSITIONS,
    State,
    Step,
    after,
    allowed,
)


def reachable(first: State) -> list[State]:
    found = [first]
    for state in found:
        found += [s for s in TRANSITIONS[state].values() if s not in found]
    return found


def test_every_state_is_in_the_table_and_can_be_reached():
    assert list(TRANSITIONS) == list(State)
    assert set(reachable(FIRST)) == set(State)


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_way_out_that_ends_or_is_final(state: State):
    assert bool(allowed(state)) != (state in FINAL)
    assert set(reachable(state)) & FINAL


def test_the_usual_way_is_the_first_button_of_every_state():
    way, state = [FIRST], FIRST
    while allowed(state):
        state = TRANSITIONS[state][allowed(state)[0]]
        way.append(state)

    assert way == [State.ISSUED, State.ACCEPTED, State.ON_SITE, State.REPLIED, State.CLOSED]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("step", Step)
def test_a_step_is_done_exactly_when_the_table_has_it(state: State, step: Step):
    if step in allowed(state):
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


def test_every_refusal_can_be_worded():
    for key, text in REFUSALS.items():
        facts = dict.fromkeys(
            ("subject", "ticket", "state", "allowed", "step", "actor", "incident", "alarms"), "x"
        )
        assert text.format(**facts, limit="1", length="2"), key
