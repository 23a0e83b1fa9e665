"""The administrator's page: people, their roles, and the tokens of programs."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from server.servicecore.people import People
from server.servicecore.rules.permissions import Role
from server.web.render import Renderer
from server.web.viewer import person_of, viewer_of

Text = Annotated[str, Form()]
Roles = Annotated[list[Role], Form()]


def routes(people: People, renderer: Renderer) -> APIRouter:
    """Return the page and what its forms do."""
    router = APIRouter(include_in_schema=False)

    async def show(request: Request, **more: str) -> HTMLResponse:
        actor = person_of(request)
        html = renderer.alone(
            "people.html",
            viewer_of(request),
            accounts=await people.accounts(actor=actor),
            programs=await people.programs(actor=actor),
            all_roles=list(Role),
            **{"link": "", "link_of": "", "token": "", **more},
        )
        # A link or a token is shown once: no cache may keep it.
        return HTMLResponse(html, headers={"Cache-Control": "no-store"})

    def link_to(request: Request, token: str) -> str:
        return str(request.url_for("welcome", token=token))

    @router.get("/people")
    async def everybody(request: Request) -> Response:
        return await show(request)

    @router.post("/people")
    async def add(
        request: Request, roles: Roles, login: Text = "", name: Text = "", unit: Text = ""
    ) -> Response:
        token = await people.add(login, name=name, roles=roles, unit=unit, actor=person_of(request))
        return await show(request, link=link_to(request, token), link_of=login)

    @router.post("/people/{login}")
    async def change(
        request: Request,
        login: str,
        version: Annotated[int, Form()],
        roles: Roles,
        name: Text = "",
        unit: Text = "",
        is_active: Text = "",
    ) -> Response:
        await people.change(
            login,
            name=name,
            roles=roles,
            unit=unit,
            is_active=bool(is_active),
            version=version,
            actor=person_of(request),
        )
        return RedirectResponse("/people", status_code=303)

    @router.post("/people/{login}/link")
    async def renew(request: Request, login: str) -> Response:
        token = await people.renew_link(login, actor=person_of(request))
        return await show(request, link=link_to(request, token), link_of=login)

    @router.post("/programs")
    async def add_program(request: Request, roles: Roles, name: Text = "") -> Response:
        token = await people.add_program(name, roles=roles, actor=person_of(request))
        return await show(request, token=token, link_of=name)

    @router.post("/programs/{name}/revoke")
    async def revoke(request: Request, name: str) -> Response:
        await people.revoke_program(name, actor=person_of(request))
        return RedirectResponse("/people", status_code=303)

    return router
