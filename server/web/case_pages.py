"""The pages of incidents: what speaks for each, and what may be said of it now."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from server.engine.effects import AlarmKind
from server.servicecore.cases import Evidence
from server.servicecore.rules import alarms as alarm_rules
from server.servicecore.rules import incident as cases
from server.servicecore.rules.incident import State
from server.servicecore.standing import Standing, axes_of
from server.servicecore.store.registers import Case
from server.servicecore.store.tables import Alarm
from server.web.acts_cases import CASE_ACTS, DRILL_ACTS, SAYINGS
from server.web.because import reason, reasons
from server.web.forms import ActForm, Options
from server.web.render import is_unseen
from server.web.screen import Screen
from server.web.sheet import NOTHING, Sheet, Told, may_act, router_of_pages

KINDS = (*AlarmKind, "leak")
_OF_ALARMS = ("shelve", "unshelve", "service")


def routes(sheet: Sheet) -> APIRouter:
    """Return the list of incidents and the page of each."""
    router = router_of_pages()

    async def list_page(request: Request, _: str = "", told: Told = NOTHING) -> Response:
        return await _list_page(sheet, request, told)

    async def case_page(request: Request, incident: str, told: Told = NOTHING) -> Response:
        return await _case_page(sheet, request, incident, told)

    @router.get("/incidents")
    async def incidents(request: Request) -> Response:
        return await list_page(request)

    @router.get("/incidents/{incident:path}")
    async def incident_alone(request: Request, incident: str) -> Response:
        return await case_page(request, incident)

    sheet.mount(router, "/drills", DRILL_ACTS, list_page, "/incidents")
    sheet.mount(router, "/incidents/{subject:path}/acts", CASE_ACTS, case_page, "/incidents/{}")
    return router


async def _list_page(sheet: Sheet, request: Request, told: Told) -> Response:
    screen = await sheet.screen(request)
    words, forms = screen.viewer.words, []
    if may_act(request, DRILL_ACTS["play"]):
        choices: dict[str, Options] = {
            "kind": [(str(k), words.code("kind", k)) for k in KINDS],
        }
        if screen.zones():
            choices["zone"] = screen.zones()
        forms = [sheet.form(screen, told, DRILL_ACTS, "play", "/drills", choices=choices)]
    return sheet.show(
        "cases.html",
        screen,
        told,
        here="/incidents",
        rows=await sheet.desk.looks.cases(),
        forms=forms,
    )


async def _case_page(sheet: Sheet, request: Request, incident: str, told: Told) -> Response:
    screen = await sheet.screen(request)
    found = await sheet.desk.cases.evidence(incident)
    others = [c for c, _ in await sheet.desk.looks.cases()]
    place = f"/incidents/{incident}/acts"
    sayings, more = _forms(sheet, request, screen, told, found, others, place)
    board, stands = await sheet.desk.board(), await sheet.desk.cases.shown()
    if incident in board.proposals and may_act(request, CASE_ACTS["dispatch"]):
        more.insert(0, sheet.form(screen, told, CASE_ACTS, "dispatch", place))
    return sheet.show(
        "case.html",
        screen,
        told,
        here=f"/incidents/{incident}",
        case=found.case,
        engine=await sheet.desk.looks.incident(incident),
        found=found,
        doubts=[reason(screen, d) for d in found.doubts],
        alarms=[
            _alarm(sheet, request, screen, told, a, stands.get(a.id), place) for a in found.alarms
        ],
        sayings=sayings,
        more=more,
        hide=await sheet.hide(request, [c.id for c in found.contacts if c.name]),
    )


def _forms(
    sheet: Sheet,
    request: Request,
    screen: Screen,
    told: Told,
    found: Evidence,
    others: list[Case],
    place: str,
) -> tuple[list[ActForm], list[ActForm]]:
    """Return what may be said of the incident now, and what else may be done with it."""
    case, words = found.case, screen.viewer.words
    state = State(case.state)
    kinds = {
        "confirm": [(str(k), words.code("kind", k)) for k in KINDS],
        "explain": [(k, words.say(f"explain.{k}")) for k in cases.EXPLANATIONS],
    }
    sayings = [
        sheet.form(
            screen,
            told,
            SAYINGS,
            act,
            place,
            choices={"kind": kinds[act]} if act in kinds else None,
            values={"version": case.version, "kind": case.kind},
        )
        for act in cases.allowed(state)
        if act in SAYINGS and may_act(request, SAYINGS[act])
    ]
    mergeable = [
        (c.incident, f"{c.incident} {words.code('kind', c.kind)}")
        for c in others
        if c.incident != case.incident and State(c.state) not in cases.FINAL
    ]
    fitting = {
        "acknowledge_alarms": any(map(is_unseen, found.alarms)) and not case.incident.count("/"),
        "merge": cases.Act.MERGE in cases.TRANSITIONS[state] and bool(mergeable),
        "split": state not in cases.FINAL and len(case.alarms) > 1,
        "drill": not case.is_drill and state not in cases.FINAL,
    }
    choices: dict[str, Options] = {
        "into": mergeable,
        "alarms": [(a.id, f"{a.id} {words.code('kind', a.kind)}") for a in found.alarms],
    }
    more = [
        sheet.form(screen, told, CASE_ACTS, name, place, choices=choices)
        for name, fits in fitting.items()
        if fits and may_act(request, CASE_ACTS[name])
    ]
    return sayings, more


def _alarm(
    sheet: Sheet,
    request: Request,
    screen: Screen,
    told: Told,
    row: Alarm,
    stands: Standing | None,
    place: str,
) -> dict[str, Any]:
    """Return an alarm with how it stands and what may be done to it."""
    axes, now = axes_of(row), sheet.clock.now()
    is_shelved = alarm_rules.is_shelved(axes, at=now)
    fitting = {"shelve": not is_shelved, "unshelve": is_shelved, "service": True}
    words = screen.viewer.words
    out_or_in = (
        ("false", words.say("service.back"))
        if row.is_out_of_service
        else ("true", words.say("service.out"))
    )
    return {
        "row": row,
        "shown": stands.shown if stands else alarm_rules.shown(axes, at=now),
        "work": stands if stands and stands.shown is alarm_rules.Shown.SUPPRESSED else None,
        "because": reasons(screen, row.because),
        "is_shelved": is_shelved,
        "forms": [
            sheet.form(
                screen,
                told if told.typed.get("alarm") == row.id else NOTHING,
                CASE_ACTS,
                name,
                place,
                choices={"alarm": row.id, "is_out": [out_or_in]},
            )
            for name in _OF_ALARMS
            if fitting[name] and may_act(request, CASE_ACTS[name])
        ],
    }
