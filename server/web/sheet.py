"""What every plain page stands on: how it is shown, how its forms act, how a refusal is told.

A refused form is answered on the page that the person came from, with what was typed still there.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from server.servicecore.desk import Desk
from server.servicecore.rules.permissions import Right, actor_of, check, may
from server.servicecore.rules.refusal import Refused
from server.web.acts import Act, Acts, Doing
from server.web.because import reason
from server.web.forms import ActForm, Choices, form_of
from server.web.render import Renderer
from server.web.screen import Screen
from server.web.viewer import person_of, viewer_of
from telemetry.errors import RefusedCommand
from telemetry.instant import Clock

PLAIN = "plain"
"""The tag of every plain page's routes: what fails there is told on a plain page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a page has to tell beside what it shows: a refusal, and the form that it answers."""

    status: int = 200
    message: str = ""
    path: str = ""
    typed: Mapping[str, str] = field(default_factory=dict)


NOTHING = Told()
_OF_ZONES = ("unknown_area", "registry_zone")
"""Refusals whose lists are zones."""
Page = Callable[[Request, str, Told], Awaitable[Response]]


class Sheet:
    """Shows plain pages and lets their forms act."""

    def __init__(self, desk: Desk, renderer: Renderer, clock: Clock) -> None:
        self.desk = desk
        self.clock = clock
        self._renderer = renderer

    async def screen(self, request: Request) -> Screen:
        """Return how values are printed for who asks. Raises `Refused` for who may not read."""
        check(actor_of(person_of(request)), Right.READ)
        return Screen(viewer_of(request), await self.desk.registry())

    async def hide(
        self, request: Request, subjects: Iterable[str], *, reason: str = ""
    ) -> Callable[[str], str]:
        """Return what personal data of `subjects` become on a page for who asks: see `hiding`."""
        return await hiding(self.desk, request, subjects, reason=reason)

    def show(
        self, template: str, screen: Screen, told: Told, *, here: str, **more: Any
    ) -> HTMLResponse:
        """Return a page; `here` is its own address."""
        viewer = screen.viewer
        html = self._renderer.alone(
            template,
            viewer,
            screen=screen,
            words=viewer.words,
            word=viewer.words.code,
            reason=reason,
            now=self.clock.now(),
            here=here,
            message=told.message,
            **more,
        )
        # Names and telephone numbers of customers: no cache may keep them.
        return HTMLResponse(html, status_code=told.status, headers={"Cache-Control": "no-store"})

    def form(
        self,
        screen: Screen,
        told: Told,
        acts: Acts,
        name: str,
        place: str,
        *,
        choices: Choices | None = None,
        values: Mapping[str, object] | None = None,
        label: str = "",
        query: str = "",
    ) -> ActForm:
        """Return the form of an act below `place`, with what was typed if it was refused."""
        action, words = f"{place}/{name}", screen.viewer.words
        if told.path == action:
            values = {**(values or {}), **told.typed}
        action += f"?{query}" if query else ""
        return form_of(
            name,
            acts[name],
            action,
            words=words,
            label=label or words.say(f"do.{name}"),
            choices=choices,
            values=values,
        )

    def mount(self, router: APIRouter, path: str, acts: Acts, page: Page, back: str) -> None:
        """Let the forms below a path act; `back` is the page, with `{}` for the subject."""
        for name, act in acts.items():
            router.add_api_route(
                f"{path}/{name}", self._endpoint(act, page, back), methods=["POST"]
            )

    def _endpoint(self, act: Act, page: Page, back: str) -> Callable[..., Awaitable[Response]]:
        async def do(request: Request, said: Any) -> Response:
            subject = str(request.path_params.get("subject", ""))
            screen = Screen(viewer_of(request), await self.desk.registry())
            doing = Doing(
                desk=self.desk,
                subject=subject,
                who=person_of(request),
                timezone=screen.timezone,
            )
            try:
                result = await act.do(doing, said)
            except RefusedCommand as e:
                typed = {k: str(v) for k, v in (await request.form()).items()}
                typed.pop("version", "")
                told = Told(
                    status=status_of(e),
                    message=say(screen, e),
                    path=request.url.path,
                    typed=typed,
                )
                return await page(request, subject, told)
            to = act.leads.format(result) if act.leads else back.format(subject)
            to += f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(to, status_code=303)

        do.__annotations__["said"] = Annotated[act.takes, Form()]
        return do


def router_of_pages() -> APIRouter:
    """Return a router whose failures are told on plain pages."""
    return APIRouter(include_in_schema=False, tags=[PLAIN])


def status_of(error: RefusedCommand) -> int:
    """Return the status of a refusal: 422 for what cannot be, 409 for how things stand."""
    return 422 if isinstance(error, Refused) and error.is_malformed else 409


def say(screen: Screen, error: RefusedCommand) -> str:
    """Return why something was refused, with names, local times and no codes."""
    if not isinstance(error, Refused):
        return str(error)
    facts = dict(error.facts)
    for name in ("due", "date"):
        if facts.get(name, "").isdecimal():
            facts[name] = screen.minute(int(facts[name]))
    if "because" in facts:
        found = [reason(screen, text) for text in facts["because"].split("; ")]
        facts["because"] = screen.viewer.words.say("list.semicolon").join(found)
    if "zone" in facts:
        facts["zone"] = screen.zone(facts["zone"])
    if error.key in _OF_ZONES:
        comma = screen.viewer.words.say("list.comma")
        for name in ("allowed_words", "known"):
            if name in facts:
                facts[name] = comma.join(map(screen.zone, facts[name].split(", ")))
    return screen.viewer.words.refusal(Refused(error.key, **facts))


def may_act(request: Request, act: Act, *, unit: str = "") -> bool:
    """Say whether a form makes sense for who asks."""
    return may(actor_of(person_of(request)), act.right, unit=unit)


def masked(text: str) -> str:
    """Return what is left of a name, number or address for who may not see it.

    >>> masked("王小明"), masked("13800138000"), masked("")
    ('王**', '1**', '')
    """
    return f"{text[:1]}**" if text.strip() else ""


async def hiding(
    desk: Desk, request: Request, subjects: Iterable[str], *, reason: str = ""
) -> Callable[[str], str]:
    """Return what a text of personal data becomes for who asks: masked, or itself.

    Who is shown it whole leaves an entry in the access log first; under a policy that asks why,
    nobody is shown it without a reason. `subjects` are those whose data there are.
    """
    if not viewer_of(request).sees_personal_data:
        return masked
    if desk.disclosures.asks_why and not reason.strip():
        return masked
    await desk.disclosures.note(
        person_of(request), list(subjects), place=request.url.path, reason=reason
    )
    return str


def span(screen: Screen, ms: int) -> str:
    """Return a length of time in the two units that matter."""
    minutes, words = abs(ms) // 60_000, screen.viewer.words
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return words.say("span.days", days=days, hours=hours)
    return words.say("span.hours", hours=hours, minutes=minutes % 60)
