"""Who is at work in these tests: the people with their rights, the units, a crew on its way."""

from server.servicecore.contacts import Asked
from server.servicecore.desk import Desk
from server.servicecore.rules.permissions import Actor, Role
from server.servicecore.rules.workorder import Step
from telemetry.instant import DAY_MS, Instant
from tests.support.plant import AT

T1 = "T-000001"
CREW_WAY = (
    (Step.ACCEPT, ""),
    (Step.DEPART, ""),
    (Step.ARRIVE, ""),
    (Step.DIAGNOSE, "joint failed"),
    (Step.ISOLATE, ""),
    (Step.RESTORE, ""),
)


def role(*roles: Role, name: str = "Li", unit: str = "") -> Actor:
    return Actor(name=name, roles=frozenset(roles), unit=unit)


async def walk(desk: Desk, ticket: str = T1, way=CREW_WAY, **more):
    for step, text in way:
        await desk.step(ticket, step, actor="Zhao", text=text, **more)


CALL = Asked(
    channel="phone",
    category="leak",
    text="water in the street",
    zone="north",
    name="Wang",
    phone="0376-1",
    account="A-77",
)


async def man(desk: Desk, *units: tuple[str, str, tuple[str, ...]]) -> None:
    for name, kind, zones in units:
        await desk.shifts.set_unit(name, actor="Admin", kind=kind, name=name, zones=zones)
        await desk.shifts.put_on_duty(
            name,
            f"{name}-liaison",
            actor="Admin",
            role="liaison",
            since=AT,
            until=Instant(AT + 30 * DAY_MS),
        )
