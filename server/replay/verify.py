"""Whether a journal's effects come out again: the first one that does not, and what came instead.

Pure: two streams in order go in, the recorded effects and those that were derived anew.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Numbered = tuple[int, int, str, str]
"""The sequence of the event, the number of its recorded effect, the kind and the body in JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """The first effect that differs; what is None was not there."""

    seq: int
    n: int
    expected: str | None
    found: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """How many effects are equal, and the first that is not."""

    effects: int
    divergence: Divergence | None


def verify(recorded: Iterable[Numbered], derived: Iterable[Numbered]) -> Verified:
    """Compare both streams up to the first difference; `expected` is what was recorded.

    >>> one, other = (7, 0, "CommandDone", "{}"), (8, 0, "CommandDone", "{}")
    >>> verify([one], [one])
    Verified(effects=1, divergence=None)
    >>> verify([one, other], [one]).divergence
    Divergence(seq=8, n=0, expected='CommandDone {}', found=None)
    """
    ours, theirs = iter(recorded), iter(derived)
    equal = 0
    while True:
        expected, found = next(ours, None), next(theirs, None)
        if expected is None and found is None:
            return Verified(effects=equal, divergence=None)
        if expected != found:
            return Verified(effects=equal, divergence=_divergence(expected, found))
        equal += 1


def _divergence(expected: Numbered | None, found: Numbered | None) -> Divergence:
    present = [place for place in (expected, found) if place is not None]
    seq, n = min(place[:2] for place in present)
    here = [p if p is not None and p[:2] == (seq, n) else None for p in (expected, found)]
    told = [None if p is None else f"{p[2]} {p[3]}" for p in here]
    return Divergence(seq=seq, n=n, expected=told[0], found=told[1])


def differences(divergence: Divergence) -> Iterator[str]:
    """Yield the lines that tell a divergence to a person."""
    yield f"first divergence: event {divergence.seq}, effect {divergence.n}"
    yield f"  expected {divergence.expected or 'nothing'}"
    yield f"  found    {divergence.found or 'nothing'}"
