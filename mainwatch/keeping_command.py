"""`mainwatch backup`, `restore` and `user`: copies of what a server knows, and its people."""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from telemetry.errors import ConfigError

Serve = Callable[[Callable[[Any, asyncio.Event], Awaitable[None]]], int]

ACTOR = "command line"
"""Who acts where nobody signs in: whoever may read the server's files."""


def add(commands: Any, serve: Serve) -> None:
    """Add the three commands."""
    _add_backup(commands, serve)
    _add_restore(commands)
    _add_user(commands)


def _add_backup(commands: Any, serve: Serve) -> None:
    backup = commands.add_parser(
        "backup",
        help="copy everything a server knows while it runs",
        epilog="example: mainwatch backup --data /var/lib/mainwatch --to /mnt/nas/mainwatch",
    )
    backup.add_argument("--data", type=Path, required=True, help="the server's data folder")
    backup.add_argument("--to", type=Path, required=True, help="folder of the copies")
    backup.add_argument("--keep", type=int, default=7, help="copies that stay (7)")
    backup.add_argument(
        "--standby-every",
        type=float,
        metavar="S",
        help="go on: keep one copy of tickets and journal S seconds behind at most",
    )
    backup.add_argument("--json", action="store_true", help="for machines")
    backup.set_defaults(run=lambda options: _backup(options, serve), extra="server")


def _add_restore(commands: Any) -> None:
    restore = commands.add_parser(
        "restore",
        help="make a data folder out of a copy",
        epilog="example: mainwatch restore /mnt/nas/mainwatch/standby --to /var/lib/mainwatch",
    )
    restore.add_argument("copy", type=Path, metavar="COPY")
    restore.add_argument("--to", type=Path, required=True, help="the new data folder")
    restore.add_argument("--json", action="store_true", help="for machines")
    restore.set_defaults(run=_restore, extra="server")


def _add_user(commands: Any) -> None:
    user = commands.add_parser(
        "user",
        help="who may sign in: add, list, link, close",
        epilog="example: mainwatch user --data /var/lib/mainwatch add wang --name 王芳 --role crew",
    )
    user.add_argument("--data", type=Path, required=True, help="the server's data folder")
    user.add_argument("--json", action="store_true", help="for machines")
    acts = user.add_subparsers(required=True, metavar="ACT")
    _add_act(acts, "list", "everybody", _list)
    new = _add_act(
        acts, "add", "add a person; prints the link that chooses a password", _add_person
    )
    new.epilog = "example: mainwatch user --data DATA add wang --name 王芳 --role dispatcher"
    new.add_argument("login")
    new.add_argument("--name", required=True, help="as the trail shall name them")
    new.add_argument("--role", action="append", required=True, help="may be given again")
    new.add_argument("--unit", default="", help="whose orders a desk or a crew works")
    link = _add_act(acts, "link", "a new link for somebody who has forgotten the password", _link)
    link.epilog = "example: mainwatch user --data DATA link wang"
    link.add_argument("login")
    close = _add_act(acts, "close", "close an account and end its sessions", _close)
    close.epilog = "example: mainwatch user --data DATA close wang"
    close.add_argument("login")
    user.set_defaults(run=_user, extra="server")


def _add_act(
    acts: Any, name: str, what: str, act: Callable[[argparse.Namespace, Any], Awaitable[None]]
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = acts.add_parser(
        name, help=what, epilog=f"example: mainwatch user --data DATA {name}"
    )
    parser.set_defaults(act=act)
    return parser


def _backup(options: argparse.Namespace, serve: Serve) -> int:
    from mainwatch.wall_clock import WallClock
    from server import backup

    clock = WallClock()
    if options.standby_every is not None:
        if not 1 <= options.standby_every <= 60:
            raise ConfigError(f"--standby-every: expected 1 to 60, was {options.standby_every:g}")
        return serve(
            lambda ready, stop: backup.standby(
                options.data,
                options.to,
                every_ms=round(options.standby_every * 1000),
                clock=clock,
                ready=ready,
                stop=stop,
            )
        )
    copy = backup.back_up(options.data, options.to, at=clock.now())
    gone = backup.prune(options.to, keep=options.keep)
    _tell(
        options,
        {"copy": str(copy.folder), "files": copy.files, "bytes": copy.bytes, "gone": len(gone)},
        f"{copy.folder}: {copy.files} files, {copy.bytes / 1e6:.1f} MB; {len(gone)} old taken away",
    )
    return 0


def _restore(options: argparse.Namespace) -> int:
    from server import backup

    copy = backup.restore(options.copy, options.to)
    _tell(
        options,
        {"data": str(options.to), "files": copy.files, "bytes": copy.bytes, "as_of": copy.at},
        f"{options.to}: {copy.files} files, {copy.bytes / 1e6:.1f} MB, every hash right;"
        f" start the server on it",
    )
    return 0


def _user(options: argparse.Namespace) -> int:
    async def run() -> None:
        from mainwatch.wall_clock import WallClock
        from server.servicecore.desk import Desk

        path = options.data / "servicecore.db"
        if not path.exists():
            raise ConfigError(f"{path}: expected the database of a server, found none")
        desk = await Desk.open(path, journal=options.data / "journal.db", clock=WallClock())
        try:
            await options.act(options, desk.people)
        finally:
            await desk.close()

    asyncio.run(run())
    return 0


async def _list(options: argparse.Namespace, people: Any) -> None:
    for a in await people.accounts(actor=ACTOR):
        state = "in use" if a.has_password else "no password yet"
        words = {"login": a.login, "name": a.name, "roles": list(a.roles), "unit": a.unit}
        state = state if a.is_active else "closed"
        _tell(
            options,
            {**words, "state": state},
            f"{a.login:16} {a.name:20} {', '.join(a.roles):30} {a.unit:16} {state}",
        )


async def _add_person(options: argparse.Namespace, people: Any) -> None:
    from server.servicecore.rules.permissions import Role

    known = [role.value for role in Role]
    wrong = [role for role in options.role if role not in known]
    if wrong:
        raise ConfigError(f"--role: expected one of {', '.join(known)}, was {wrong[0]!r}")
    roles = [Role(role) for role in options.role]
    token = await people.add(
        options.login, name=options.name, roles=roles, unit=options.unit, actor=ACTOR
    )
    _tell_link(options, token)


async def _link(options: argparse.Namespace, people: Any) -> None:
    _tell_link(options, await people.renew_link(options.login, actor=ACTOR))


async def _close(options: argparse.Namespace, people: Any) -> None:
    for a in await people.accounts(actor=ACTOR):
        if a.login == options.login:
            await people.change(
                a.login,
                name=a.name,
                roles=a.roles,
                unit=a.unit,
                is_active=False,
                version=a.version,
                actor=ACTOR,
            )
            _tell(options, {"login": a.login, "state": "closed"}, f"{a.login}: closed")
            return
    raise ConfigError(f"{options.login}: expected a login of this server, found none")


def _tell_link(options: argparse.Namespace, token: str) -> None:
    path = f"/welcome/{token}"
    said = f"{options.login}: open the server's page at {path} within 24 hours; it works once"
    _tell(options, {"login": options.login, "path": path}, said)


def _tell(options: argparse.Namespace, body: dict[str, Any], text: str) -> None:
    print(json.dumps(body, ensure_ascii=False) if options.json else text)
