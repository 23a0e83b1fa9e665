"""One burst, from the instruments to the archive, under every policy that ships.

The plants are real and each bursts once, water for the policies of water, gas for those of gas, a
heating loop for those of heating: simulator, gateway, broker, control room, each a process. What
its engine wrote down is then worked by a real server under each policy, signed in to, by programs
whose tokens have the roles of the trade, over HTTP; the engine's own process hears their acts.
"""

import asyncio
import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path

import httpx
import pytest

from server.servicecore.rulebook import load_rule_book
from server.servicecore.rules.policy import required_inputs
from tests.acceptance.control_room_run import Broker, ControlRoom, run_program, token_of
from tests.acceptance.demo_run import DemoRun
from tests.acceptance.field_plant import play
from tests.house.tree import ROOT
from tests.support.waiting import until

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.slow,
    pytest.mark.xdist_group("archive"),
    pytest.mark.timeout(400),
]

PROFILES = (
    *("xinyang-water", "hohhot-heating", "shangzhi-gas", "changchun-water", "fushun-water"),
    *("guangzhou-water", "hotline-workflow", "hotline-intake", "hotline-rules"),
    *("demo-water", "demo-gas", "demo-heating"),
)
OWN_CLOCK = {"accept": "accepted", "onsite": "arrived", "repair": "replied"}
"""What a utility must decide for itself where its text gives no emergency clock."""
LIMIT = {"accept": "20min", "onsite": "1h", "repair": "24h"}

CREW_WAY = (
    ("accept", "accepted", {}),
    ("depart", "en_route", {}),
    ("arrive", "on_site", {}),
    ("diagnose", "diagnosed", {"text": "joint failed", "facts": {"liability": "own"}}),
    ("isolate", "isolated", {}),
    ("restore", "restored", {}),
    ("reply", "replied", {"text": "clamp fitted, water is back"}),
)


PLANTS = {"gas": ("demo-gas", "W-03", 250.0), "heating": ("demo-heating", "PS-03", 30.0)}
"""Of the kinds that are not the demo's: the plant, the pipe that breaks, and what it lets out."""
ZONES = {"water": "east", "gas": "west", "heating": "central"}


def kind_of(profile: str) -> str:
    """Return which kind of utility a policy is for; one for any of them is played with water."""
    kind = load_rule_book(ROOT / "configs", profile, live=False).policy.kind
    return kind if kind in PLANTS else "water"


@pytest.fixture(scope="module")
def bursts(tmp_path_factory) -> Callable[[str], Path]:
    """Return a function for the data folder of a control room that saw a burst on real wires."""

    @cache
    def of(kind: str) -> Path:
        folder = tmp_path_factory.mktemp(f"burst-{kind}")
        if kind in PLANTS:
            configs, pipe, m3h = PLANTS[kind]
            tickets = asyncio.run(play(folder / "plant", configs, pipe=pipe, m3h=m3h))
            assert [t["number"] for t in tickets] == ["T-000001"]
        else:
            _demo(folder)
        return folder / "plant" / "server"

    return of


def _demo(folder: Path) -> None:
    run = DemoRun(folder, ["--for", "75", "--burst-after", "40", "--days", "3"]).start()
    try:
        report = run.finish(220)
    finally:
        run.kill()
    assert report["ticket_id"] == "T-000001"


@pytest.fixture(scope="module")
def mqtt(tmp_path_factory):
    running = Broker(tmp_path_factory.mktemp("broker"))
    yield running
    running.end()


def decided(profile: str, folder: Path) -> str:
    """Return the name of a policy fit for live use: the profile with what the utility decides."""
    book = load_rule_book(ROOT / "configs", profile, live=False)
    missing = [line.split()[1].rstrip(":") for line in required_inputs(book.policy)]
    if not missing:
        return profile
    name = f"{profile}-live"
    lines = [
        "[policy]",
        'schema = "mainwatch.policy/1"',
        f'id = "{name}"',
        f'parent = "{profile}"',
        f'kind = "{book.policy.kind}"',
        'name = { zh = "测试", en = "Under test" }',
    ]
    for clock in missing:
        lines += [
            "[[clock]]",
            f'id = "{clock}"',
            'purpose = "emergency"',
            'start = "issued"',
            f'stop = "{OWN_CLOCK[clock]}"',
            f'limit = "{LIMIT[clock]}"',
            'mode = "wall"',
            'source = "default: decided by the utility of this test"',
        ]
    (folder / "policies").mkdir(parents=True)
    (folder / "policies" / f"{name}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return name


@pytest.fixture
def room(bursts: Callable[[str], Path], mqtt: Broker, tmp_path: Path):
    """Return a function that starts a server under a policy on what a plant of its kind wrote."""
    data, own = tmp_path / "data", tmp_path / "own"
    rooms = []

    def start(profile: str) -> ControlRoom:
        kind = kind_of(profile)
        not_kept = shutil.ignore_patterns("servicecore.db*", "door.sock", "audit-heads.jsonl")
        shutil.copytree(bursts(kind), data, ignore=not_kept)
        policy = decided(profile, own)
        sets = ["page.sign_in=true", f"rules.policy={policy}"]
        if policy != profile:
            sets.append(f"rules.folder={json.dumps(str(own))}")
        configs = PLANTS[kind][0] if kind in PLANTS else "demo"
        rooms.append(ControlRoom(data, mqtt, *sets, configs=configs))
        return rooms[-1].serving()

    yield start
    for started in rooms:
        started.end()


def programs(room: ControlRoom) -> dict[str, httpx.Client]:
    """Return a client for each role that the story needs, with a token of its own."""
    with closing(room.admin()) as admin:
        return {
            role: room.browser(authorization=f"Bearer {token_of(admin, f'{role}-program', role)}")
            for role in ("dispatcher", "crew", "centre", "auditor")
        }


def ticket_of(client: httpx.Client) -> dict:
    found = [t for t in client.get("/api/v1/tickets").json() if t["number"] == "T-000001"]
    return found[0] if found else {}


@pytest.mark.requirement("R115")
@pytest.mark.parametrize("profile", PROFILES)
def test_a_burst_goes_from_the_instruments_to_the_archive(
    room: Callable[[str], ControlRoom], tmp_path: Path, profile: str
):
    server = room(profile)
    with ExitStack() as clients:
        nobody = clients.enter_context(server.browser())
        assert nobody.get("/api/v1/tickets").status_code == 401
        by = {
            role: clients.enter_context(closing(client))
            for role, client in programs(server).items()
        }
        work(by)
        last = ticket_of(by["auditor"])
    assert (last["state"], last["steps"]) == ("archived", [])
    assert last["zone"] == ZONES[kind_of(profile)]
    assert last["policy_rev"] == revision_of(profile, tmp_path / "own")
    server.end()
    audit = run_program("verify-audit", str(tmp_path / "data" / "servicecore.db"), "--json")
    assert audit.returncode == 0, audit.stdout + audit.stderr


def work(by: dict[str, httpx.Client]) -> None:
    """Take the ticket of the burst its whole way, each step by who it belongs to."""
    ticket = until(lambda: ticket_of(by["auditor"]), 60)
    assert (ticket["state"], ticket["kind"], ticket["category"]) == ("issued", "burst", "burst")
    incident = ticket["incident"]
    seen = by["dispatcher"].post(f"/api/v1/incidents/{incident}/acknowledge", json={})
    assert seen.status_code in (200, 409), seen.text
    if seen.status_code == 200:
        until(lambda: not unacknowledged(by["auditor"], incident), 60)

    not_theirs = by["centre"].post("/api/v1/tickets/T-000001/accept", json={})
    assert not_theirs.status_code == 409
    assert "抢修班组" in not_theirs.json()["detail"]
    for step, state, said in CREW_WAY:
        version = ticket_of(by["crew"])["version"]
        answer = by["crew"].post(
            f"/api/v1/tickets/T-000001/{step}", json={**said, "version": version}
        )
        assert (answer.status_code, answer.json().get("state")) == (200, state), answer.text
    assert by["crew"].post("/api/v1/tickets/T-000001/close", json={}).status_code == 409
    closed = by["centre"].post("/api/v1/tickets/T-000001/close", json={})
    assert closed.json().get("state") == "closed", closed.text
    assert by["dispatcher"].post("/api/v1/archive", json={}).status_code == 409
    archived = by["centre"].post("/api/v1/archive", json={})
    assert archived.json() == {"tickets": ["T-000001"]}


def unacknowledged(client: httpx.Client, incident: str) -> list[str]:
    held = next(i for i in client.get("/api/v1/incidents").json() if i["id"] == incident)
    alarms = client.get("/api/v1/alarms").json()
    return [a["id"] for a in alarms if a["id"] in held["alarms"] and not a["acknowledged_at"]]


def revision_of(profile: str, own: Path) -> str:
    name = f"{profile}-live" if own.exists() else profile
    folder = own if own.exists() else None
    return load_rule_book(ROOT / "configs", name, live=True, own=folder).policy.revision


def test_a_profile_without_its_emergency_clocks_is_refused_live(tmp_path: Path, mqtt: Broker):
    ended = run_program(
        *("server", "--config", str(ROOT / "configs" / "demo" / "server.toml")),
        *("--set", f"server.data={json.dumps(str(tmp_path))}", "--set", f"broker.port={mqtt.port}"),
        *("--set", "rules.policy=guangzhou-water"),
    )

    assert ended.returncode == 2
    assert "required input is missing" in ended.stderr
    assert not list(tmp_path.iterdir())
