"""The hash chain: any change, removal or swap is found at the first place it shows."""

from hypothesis import given
from hypothesis import strategies as st

from server.servicecore.rules import chain

Entries = list[tuple[dict[str, object], str, str]]


def chained(count: int) -> Entries:
    entries, previous = [], chain.GENESIS
    for seq in range(count):
        body: dict[str, object] = {"seq": seq, "actor": "李"}
        entries.append((body, previous, chain.link(previous, body)))
        previous = entries[-1][2]
    return entries


def test_a_whole_chain_has_no_break():
    assert chain.first_break(chained(20)) is None
    assert chain.first_break([]) is None


@given(st.integers(0, 18), st.sampled_from(["change", "remove", "swap"]))
def test_tampering_is_found_where_it_was_done(place: int, how: str):
    entries = chained(20)
    if how == "change":
        body, previous, link = entries[place]
        entries[place] = ({**body, "actor": "王"}, previous, link)
    elif how == "remove":
        del entries[place]
    else:
        entries[place], entries[place + 1] = entries[place + 1], entries[place]

    assert chain.first_break(entries) == place
