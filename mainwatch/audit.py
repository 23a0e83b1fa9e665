"""`mainwatch verify-audit`: whether trail, heads kept elsewhere and frozen figures agree."""

import json
from pathlib import Path
from typing import Any

from server.servicecore.frozen import changed_files
from server.servicecore.store.trail import verify_file
from server.servicecore.watch import read_heads
from telemetry.errors import ConfigError


def verify(database: Path, *, heads: Path | None, as_json: bool) -> int:
    """Print what is wrong with a trail and return the exit code: 0 whole, 1 broken."""
    if not database.is_file():
        raise ConfigError(f"{database}: expected the service core's database, found no file")
    if heads is None:
        beside = database.parent / "audit-heads.jsonl"
        heads = beside if beside.exists() else None
    kept = [] if heads is None else read_heads(heads)
    found = verify_file(database, heads=[(seq, digest) for _, seq, digest in kept])
    changed = changed_files(database)
    body: dict[str, Any] = {
        "entries": found.entries,
        "heads": len(kept),
        "first_break": found.first_break,
        "missing_head": found.missing_head,
        "head": found.head,
        "changed_figures": changed,
    }
    if as_json:
        print(json.dumps(body))
    elif found.first_break is not None:
        print(f"{database}: the chain is broken at entry {found.first_break}")
    elif found.missing_head is not None:
        print(f"{database}: entry {found.missing_head} is not the one whose head was exported")
    elif changed:
        print(f"{database}: no more what was frozen: {', '.join(changed)}")
    else:
        print(f"{database}: {found.entries} entries and {len(kept)} heads, nothing wrong")
    is_whole = found.first_break is None and found.missing_head is None and not changed
    return 0 if is_whole else 1
