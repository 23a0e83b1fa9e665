"""Where an order goes: by category and place to a desk with a liaison on duty, and to its crew."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from server.servicecore.rules.policy import Policy
from server.servicecore.rules.policy_form import ChildOrder, Purpose
from server.servicecore.rules.refusal import Refused
from telemetry.instant import Instant


class Category(StrEnum):
    """What an order or a contact is about (R11)."""

    BURST = "burst"
    LEAK = "leak"
    NO_WATER = "no_water"
    LOW_PRESSURE = "low_pressure"
    UNKNOWN_CAUSE = "unknown_cause"
    NO_HEAT = "no_heat"
    GAS_SMELL = "gas_smell"
    REPAIR = "repair"
    PUMP_OPERATION = "pump_operation"
    VALVE_WELL = "valve_well"
    INSTRUMENT = "instrument"
    QUALITY = "quality"
    BILLING = "billing"
    METERING = "metering"
    INSPECTION = "inspection"
    APPROVAL = "approval"
    DESIGN = "design"
    CONSTRUCTION = "construction"
    ACCEPTANCE = "acceptance"
    CONNECTION = "connection"
    THEFT = "theft"
    COMPLAINT = "complaint"
    PROJECT = "project"
    LINEAR_PROJECT = "linear_project"
    ENQUIRY = "enquiry"


EMERGENCIES = frozenset(
    {
        *(Category.BURST, Category.LEAK, Category.NO_WATER, Category.LOW_PRESSURE),
        *(Category.UNKNOWN_CAUSE, Category.NO_HEAT, Category.GAS_SMELL, Category.REPAIR),
    }
)
"""What never runs on the clock of an enquiry."""
PROJECTS = frozenset({Category.PROJECT, Category.LINEAR_PROJECT, Category.CONNECTION})

AREA = "area"
BRANCH = "branch"
BY_NATURE = "by_nature"
CREW = "crew"

USUAL: dict[Category, str] = {
    Category.INSTRUMENT: "instrument",
    Category.PUMP_OPERATION: "operators",
    Category.QUALITY: "laboratory",
    Category.THEFT: "enforcement",
    Category.LINEAR_PROJECT: "technical_owner",
    Category.COMPLAINT: BY_NATURE,
}
"""Where a category goes if the policy does not say; all others go to the branch of the area."""

OF_ALARM = {
    "burst": Category.BURST,
    "leak": Category.LEAK,
    "supply": Category.NO_WATER,
    "pressure_low": Category.LOW_PRESSURE,
    "pressure_drop": Category.UNKNOWN_CAUSE,
    "limit": Category.UNKNOWN_CAUSE,
    "sensor_fault": Category.INSTRUMENT,
    "meter_fault": Category.INSTRUMENT,
    "customer_leak": Category.METERING,
    "recovery": Category.UNKNOWN_CAUSE,
    "silent": Category.INSTRUMENT,
}
"""What an order is about that telemetry asked for; a cause that nobody knows is one too (R52)."""

DEPARTMENT = "department"
"""Whom a branch escalates to (R53)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A desk, a crew, a department: a node of the tree of units. No zones means all of them."""

    id: str
    kind: str
    name: str
    parent: str = ""
    zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """Somebody on duty at a unit from an instant until another."""

    unit: str
    person: str
    role: str  # liaison | crew | representative
    since: Instant
    until: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """Where an order goes; `because` says why there is no desk or crew where there is none."""

    desk: str
    crew: str = ""
    liaison: str = ""
    representative: str = ""
    because: str = ""


def category_of(text: str) -> Category:
    """Return a category by its word. Raises `Refused` with those there are."""
    try:
        return Category(text)
    except ValueError:
        raise Refused("unknown_category", subject=text, allowed_words=", ".join(Category)) from None


def purpose_of(category: Category) -> Purpose:
    """Return which clocks an order runs on."""
    if category in EMERGENCIES:
        return Purpose.EMERGENCY
    return Purpose.PROJECT if category in PROJECTS else Purpose.ENQUIRY


def target_of(category: Category, policy: Policy) -> str:
    """Return the kind of unit that takes a category: the policy's word, or the usual one."""
    found = policy.routes.get(str(category))
    return found.to if found is not None else USUAL.get(category, AREA)


def route(
    category: Category,
    zone: str,
    *,
    policy: Policy,
    units: Sequence[Unit],
    duties: Sequence[Duty],
    at: Instant,
    nature: Category | None = None,
) -> Routed:
    """Return the desk by area or department, and at once its crew.

    Raises `Refused` for an area that nobody serves, and for a desk without a liaison on duty.
    """
    target = target_of(category, policy)
    if target == BY_NATURE:
        target = AREA if nature in (None, category) else target_of(nature or category, policy)
    return to_kind(BRANCH if target == AREA else target, zone, units=units, duties=duties, at=at)


def to_kind(
    kind: str, zone: str, *, units: Sequence[Unit], duties: Sequence[Duty], at: Instant
) -> Routed:
    """Return the unit of a kind that serves a zone, one of the zone before one of all zones."""
    able = [u for u in units if u.kind == kind]
    serving = [u for u in able if zone in u.zones] or [u for u in able if not u.zones]
    if not serving:
        served = ", ".join(sorted({z for u in able for z in u.zones})) or "-"
        raise Refused("unknown_area", unit=kind, zone=zone, allowed_words=served)
    return to_unit(serving[0], units=units, duties=duties, at=at)


def to_unit(desk: Unit, *, units: Sequence[Unit], duties: Sequence[Duty], at: Instant) -> Routed:
    """Return a desk's liaison on duty and its first crew on duty. Raises `Refused` without one."""
    liaison = _on_duty(desk.id, "liaison", duties, at)
    if not liaison:
        manned = {u.name for u in units if _on_duty(u.id, "liaison", duties, at)}
        words = ", ".join(sorted(manned)) or "-"
        raise Refused("no_liaison", unit=desk.name, allowed_words=words)
    crews = [u for u in units if u.kind == CREW and u.parent == desk.id]
    manned_crews = [u.id for u in crews if _on_duty(u.id, CREW, duties, at)]
    return Routed(
        desk=desk.id,
        crew=manned_crews[0] if manned_crews else "",
        liaison=liaison,
        representative=_on_duty(desk.id, "representative", duties, at),
        because="" if manned_crews else "no crew of the desk is on duty",
    )


def without_liaison(
    units: Iterable[Unit], duties: Sequence[Duty], *, at: Instant
) -> tuple[str, ...]:
    """Return the desks that have no liaison on duty: orders to them would be refused (R61)."""
    return tuple(
        u.id for u in units if u.kind != CREW and not _on_duty(u.id, "liaison", duties, at)
    )


def children_of(policy: Policy, *, place: str) -> tuple[ChildOrder, ...]:
    """Return the orders that one incident gives at once, by where the water comes out (R62)."""
    return tuple(c for c in policy.children if c.at_once and c.place in ("any", place))


def feedback_to(category: Category) -> tuple[str, ...]:
    """Return who is told the result: of a complaint the centre too (R57)."""
    if category is Category.COMPLAINT:
        return ("requester", "centre")
    return ("requester",)


def is_large_customer(flow_m3h: float, policy: Policy) -> bool:
    """Say whether a customer is large: more than the number; the number itself is small (R67)."""
    limit = policy.number("customer.large_over_m3h")
    return limit is not None and flow_m3h > limit


def is_major_project(amount_cny: float, policy: Policy) -> bool:
    """Say whether an industrial project is a major one: the number itself is (含, R65)."""
    limit = policy.number("customer.major_project_cny")
    return limit is not None and amount_cny >= limit


def priority(severity: int, *, affects_sensitive: bool) -> int:
    """Return the order's rank in the queue: its severity, one better for sensitive customers."""
    return max(1, severity - 1) if affects_sensitive else severity


def is_cluster(instants: Iterable[Instant], policy: Policy) -> bool:
    """Say whether contacts of one zone are a cluster: so many within the window."""
    least, window_h = policy.number("cluster.min_contacts"), policy.number("cluster.window_h")
    if least is None or window_h is None:
        return False
    found, count = sorted(instants), int(least)
    spans = zip(found, found[count - 1 :], strict=False)
    return any(last - first <= window_h * 3_600_000 for first, last in spans)


def _on_duty(unit: str, role: str, duties: Sequence[Duty], at: Instant) -> str:
    return next(
        (d.person for d in duties if d.unit == unit and d.role == role and d.since <= at < d.until),
        "",
    )
