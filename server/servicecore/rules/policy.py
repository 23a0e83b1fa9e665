"""The rules of one utility as values: its file laid over its parents', each value with a source.

A company may be stricter than the group above it and never looser (其相关标准和要求不低于集团制度).
The revision is the hash of everything that holds, and is pinned on each ticket.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from server.servicecore.rules.policy_form import (
    Call,
    ChildOrder,
    ClockRule,
    PolicyFile,
    Purpose,
    Route,
    Sourced,
    Variant,
    key_of,
    limit_of,
)

REQUIRED_EMERGENCY = ("accept", "onsite", "repair")
"""The clocks that every emergency needs: somebody takes it, somebody is there, it is mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What holds for a utility, its parents' rules included."""

    id: str
    kind: str
    revision: str
    values: Mapping[str, Sourced]
    clocks: tuple[ClockRule, ...]
    routes: Mapping[str, Route]
    children: tuple[ChildOrder, ...]
    calls: tuple[Call, ...]

    def number(self, key: str) -> float | None:
        """Return a number, or None where the policy does not say."""
        found = self.values.get(key)
        if found is None or not isinstance(found.value, int | float):
            return None
        return float(found.value)

    def text(self, key: str) -> str:
        """Return a text; empty where the policy does not say."""
        found = self.values.get(key)
        return found.value if found is not None and isinstance(found.value, str) else ""

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list; empty where the policy does not say."""
        found = self.values.get(key)
        return found.value if found is not None and isinstance(found.value, tuple) else ()

    def demands(self, key: str) -> bool:
        """Say whether the policy demands something."""
        found = self.values.get(key)
        return found is not None and found.value is True

    def clock(self, name: str) -> ClockRule | None:
        """Return a clock by its id."""
        return next((c for c in self.clocks if c.id == name), None)

    def called_for(self, event: str) -> tuple[str, ...]:
        """Return whom to telephone at an event."""
        return tuple(dict.fromkeys(who for c in self.calls if c.event == event for who in c.to))


NO_POLICY = Policy(
    id="none",
    kind="any",
    revision="",
    values={},
    clocks=(),
    routes={},
    children=(),
    calls=(),
)
"""A desk without a rule book: no clock runs, and nothing is demanded."""


def resolve(files: Mapping[str, PolicyFile], name: str) -> Policy:
    """Return a policy with what it inherits. Raises `ValueError` with every problem."""
    chain, found = _chain(files, name)
    found += [f"{f.policy.id}: {p}" for f in chain for p in f.problems()]
    if found:
        raise ValueError("; ".join(found))
    merged = chain[0]
    for below in chain[1:]:
        found += [f"{below.policy.id}: {p}" for p in looser(below, merged)]
        merged = _laid_over(merged, below)
    if found:
        raise ValueError("; ".join(found))
    return _policy(merged)


def required_inputs(policy: Policy) -> list[str]:
    """Return what the utility must still decide before the policy may be used live."""
    missing = []
    for name in REQUIRED_EMERGENCY:
        clock = policy.clock(name)
        if clock is None:
            missing.append(f"clock {name}: an emergency needs it and no text gives it")
        elif clock.purpose is not Purpose.EMERGENCY:
            missing.append(f"clock {name}: expected purpose emergency, was {clock.purpose}")
    return missing


def looser(below: PolicyFile, above: PolicyFile) -> list[str]:
    """Return where a policy asks for less than the one above it."""
    found = []
    for name, sourced in below.values.items():
        if name in above.values and _is_looser(name, sourced.value, above.values[name].value):
            found.append(
                f"values.{name}: {sourced.value} is looser than"
                f" {above.values[name].value} of {above.policy.id}"
            )
    known = {c.id: c for c in above.clock}
    for clock in below.clock:
        if clock.id in known:
            found += _looser_clock(clock, known[clock.id], above.policy.id)
    for mine in below.call:
        theirs = {who for c in above.call if c.event == mine.event for who in c.to}
        if not theirs <= set(mine.to):
            lost = ", ".join(sorted(theirs - set(mine.to)))
            found.append(f"call {mine.event}: leaves out {lost}, whom {above.policy.id} calls")
    return found


def _looser_clock(mine: ClockRule, theirs: ClockRule, above: str) -> list[str]:
    found = []
    for part in ("purpose", "start", "stop", "mode", "when"):
        a, b = getattr(mine, part), getattr(theirs, part)
        if a != b:
            found.append(f"clock {mine.id}.{part}: expected {b} as in {above}, was {a}")
    if found:
        return found
    if theirs.counts_first and not mine.counts_first:
        found.append(f"clock {mine.id}.counts_first: {above} counts the first day")
    more = [p for p in mine.pauses if p not in theirs.pauses]
    if more:
        found.append(f"clock {mine.id}.pauses: {', '.join(more)} does not pause it in {above}")
    given = {v.when: v.limit for v in theirs.variant}
    limits = [("limit", mine.limit, theirs.limit)]
    limits += [("variant.limit", v.limit, given.get(v.when, theirs.limit)) for v in mine.variant]
    for key, a, b in limits:
        if a is not None and b is not None and limit_of(a).amount > limit_of(b).amount:
            found.append(f"clock {mine.id}.{key}: {a} is looser than {b} of {above}")
    return found


def _is_looser(name: str, mine: object, theirs: object) -> bool:
    key = key_of(name)
    if key is None or mine == theirs:
        return False
    if isinstance(mine, int | float) and isinstance(theirs, int | float):
        if key.stricter == "higher":
            return mine < theirs
        if key.stricter == "lower":
            return mine > theirs
    if key.stricter == "choice":
        return key.choices.index(str(mine)) < key.choices.index(str(theirs))
    return False


def _chain(files: Mapping[str, PolicyFile], name: str) -> tuple[list[PolicyFile], list[str]]:
    """Return the files from the uppermost parent down, and what is wrong with the chain."""
    chain: list[PolicyFile] = []
    at: str | None = name
    while at is not None:
        if at not in files:
            known = ", ".join(sorted(files))
            return chain, [f"{at}: expected one of the policies {known}, found none of this name"]
        if any(f.policy.id == at for f in chain):
            return chain, [f"{at}: is its own parent"]
        chain.append(files[at])
        at = files[at].policy.parent
    chain.reverse()
    kinds = {f.policy.kind for f in chain} - {"any"}
    if len(kinds) > 1:
        return chain, [f"{name}: expected parents of one kind, were {', '.join(sorted(kinds))}"]
    return chain, []


def _laid_over(above: PolicyFile, below: PolicyFile) -> PolicyFile:
    clocks = {c.id: c for c in above.clock}
    for clock in below.clock:
        clocks[clock.id] = _with_parent(clock, clocks[clock.id]) if clock.id in clocks else clock
    return PolicyFile(
        policy=below.policy,
        values={**above.values, **below.values},
        clock=tuple(clocks.values()),
        route=tuple({r.category: r for r in (*above.route, *below.route)}.values()),
        child=tuple({c.id: c for c in (*above.child, *below.child)}.values()),
        call=(*above.call, *below.call),
    )


def _with_parent(mine: ClockRule, theirs: ClockRule) -> ClockRule:
    variants: dict[str, Variant] = {v.when.model_dump_json(): v for v in theirs.variant}
    variants |= {v.when.model_dump_json(): v for v in mine.variant}
    return mine.model_copy(
        update={
            "limit": mine.limit if mine.limit is not None else theirs.limit,
            "counts_first": mine.counts_first or theirs.counts_first,
            "steps": tuple(dict.fromkeys((*theirs.steps, *mine.steps))),
            "variant": tuple(variants.values()),
        }
    )


def _policy(file: PolicyFile) -> Policy:
    body = file.model_dump(mode="json", by_alias=True)
    return Policy(
        id=file.policy.id,
        kind=file.policy.kind,
        revision=revision_of(body),
        values=file.values,
        clocks=file.clock,
        routes={r.category: r for r in file.route},
        children=file.child,
        calls=file.call,
    )


def body_of(policy: Policy) -> dict[str, object]:
    """Return a policy as JSON can keep it, for the revision that tickets are pinned to."""
    return {
        "id": policy.id,
        "kind": policy.kind,
        "revision": policy.revision,
        "values": {k: v.model_dump(mode="json") for k, v in policy.values.items()},
        "clocks": [c.model_dump(mode="json") for c in policy.clocks],
        "routes": [r.model_dump(mode="json") for r in policy.routes.values()],
        "children": [c.model_dump(mode="json") for c in policy.children],
        "calls": [c.model_dump(mode="json") for c in policy.calls],
    }


def policy_from(body: Mapping[str, object]) -> Policy:
    """Return the policy that `body_of` wrote down."""
    return Policy(
        id=str(body["id"]),
        kind=str(body["kind"]),
        revision=str(body["revision"]),
        values={k: Sourced.model_validate(v) for k, v in _mapping(body["values"]).items()},
        clocks=tuple(ClockRule.model_validate(c) for c in _sequence(body["clocks"])),
        routes={
            r.category: r for r in (Route.model_validate(b) for b in _sequence(body["routes"]))
        },
        children=tuple(ChildOrder.model_validate(c) for c in _sequence(body["children"])),
        calls=tuple(Call.model_validate(c) for c in _sequence(body["calls"])),
    )


def revision_of(body: Mapping[str, object]) -> str:
    """Return the hash of everything that a policy says."""
    text = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()


def _mapping(found: object) -> Mapping[str, object]:
    assert isinstance(found, Mapping)
    return found


def _sequence(found: object) -> Sequence[object]:
    assert isinstance(found, Sequence)
    return found
