"""A network file's own controls and rules: what switches links when no plant of ours does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from telemetry.instant import DAY_MS, SECOND_MS


class Sight(StrEnum):
    """What a condition looks at."""

    DEMAND = "demand"
    HEAD = "head"
    LEVEL = "level"
    PRESSURE = "pressure"
    FLOW = "flow"
    IS_OPEN = "is_open"
    SETTING = "setting"
    CLOCK_S = "clock_s"


class Relation(StrEnum):
    """How it compares."""

    EQUAL = "="
    UNEQUAL = "<>"
    AT_MOST = "<="
    AT_LEAST = ">="
    BELOW = "<"
    ABOVE = ">"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One premise: `name` is a node, a link, or empty for the clock."""

    sight: Sight
    name: str = ""
    relation: Relation
    value: float
    is_or: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a link is told: open or closed, or a setting."""

    link: str
    is_open: bool | None = None
    setting: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Conditions, and orders for when they hold and for when they do not."""

    conditions: tuple[Condition, ...]
    then: tuple[Order, ...]
    otherwise: tuple[Order, ...] = ()
    priority: float = 0.0


Look = Callable[[Sight, str], float]
"""Asks the network, in the units of the file."""


class Automation:
    """The orders in force, moved on by `decide`; a link keeps its last order until the next."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        # The last word is the most important rule's, as in EPANET.
        self._rules = sorted(rules, key=lambda rule: rule.priority)
        self.orders: dict[str, Order] = {}

    def decide(self, look: Look, *, local_ms: int, elapsed_ms: int) -> bool:
        """Look at the network once; say whether an order has changed."""
        before = dict(self.orders)
        clock_s = local_ms % DAY_MS / SECOND_MS
        for rule in self._rules:
            holds = _holds(rule.conditions, look, clock_s=clock_s, elapsed_s=elapsed_ms / SECOND_MS)
            for order in rule.then if holds else rule.otherwise:
                self.orders[order.link] = order
        return self.orders != before


def _holds(
    conditions: Sequence[Condition], look: Look, *, clock_s: float, elapsed_s: float
) -> bool:
    """Say whether the premises hold, read from first to last as EPANET does."""
    result = True
    for condition in conditions:
        if not condition.is_or and not result:
            return False
        if condition.is_or and result:
            continue
        if condition.sight is Sight.CLOCK_S:
            result = _clock_holds(condition, clock_s, elapsed_s=elapsed_s)
        else:
            value = look(condition.sight, condition.name)
            result = _compares(value, condition.relation, condition.value)
    return result


def _clock_holds(condition: Condition, clock_s: float, *, elapsed_s: float) -> bool:
    if condition.relation is Relation.EQUAL:  # a moment: has it passed since the last look?
        return (clock_s - condition.value) % (DAY_MS / SECOND_MS) < max(1.0, elapsed_s)
    return _compares(clock_s, condition.relation, condition.value)


def _compares(value: float, relation: Relation, other: float) -> bool:
    match relation:
        case Relation.EQUAL:
            return abs(value - other) < 1e-3
        case Relation.UNEQUAL:
            return abs(value - other) >= 1e-3
        case Relation.AT_MOST | Relation.BELOW:
            return value <= other if relation is Relation.AT_MOST else value < other
        case _:
            return value >= other if relation is Relation.AT_LEAST else value > other
