"""Are time, chance and bounds given from outside, as the style of the house wants them?

Ruff bans the same calls by name; this is the second lock, which no comment can open.
"""

import ast
from collections.abc import Iterable, Iterator

from tests.house.tree import Source, sources

PACERS = ("firmware_sim/serial_bus.py", "firmware_sim/modbus_server.py", "gateway/wire.py")
"""They send characters, and keep the silences between frames, by the loop's timers (`call_at`), and
so must read the timers' own clock."""

CLOCK_FILE = "mainwatch/wall_clock.py"
ENGINE_FEEDERS = ("server/engine/", "server/intake/", "server/replay/", "server/app.py")

CLOCK_READS = {
    *(f"time.{f}" for f in ("time", "time_ns", "monotonic", "monotonic_ns", "sleep")),
    *(f"time.{f}" for f in ("perf_counter", "perf_counter_ns", "localtime", "gmtime")),
    *(f"datetime.datetime.{f}" for f in ("now", "utcnow", "today")),
    "datetime.date.today",
}
CHANCE = {"uuid.uuid1", "uuid.uuid4", *(f"random.{f}" for f in ("random", "randint", "choice"))}
LOOSE_TASKS = {"asyncio.create_task", "asyncio.ensure_future", "asyncio.gather"}
ENVIRONMENT = {"os.environ", "os.getenv"}
QUEUES = {"asyncio.Queue", "queue.Queue", "asyncio.PriorityQueue", "queue.SimpleQueue"}


def used(source: Source) -> Iterator[tuple[str, ast.AST]]:
    """Yield what a file uses from other modules, by its full name, and where."""
    names: dict[str, str] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for a in node.names:
                first = a.name.split(".")[0]
                names[a.asname or first] = a.name if a.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({a.asname or a.name: f"{node.module}.{a.name}" for a in node.names})
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute | ast.Name) and (full := dotted(node, names)):
            yield full, node


def dotted(node: ast.AST, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Attribute) and (front := dotted(node.value, names)):
        return f"{front}.{node.attr}"
    return ""


def found_in(found: Iterable[Source], banned: set[str]) -> list[str]:
    return [
        f"{s.path}:{getattr(node, 'lineno', 0)}: {name}"
        for s in found
        for name, node in used(s)
        if name in banned
    ]


def loop_clock_reads(found: Iterable[Source]) -> list[str]:
    """Return uses of the event loop's own clock, which looks like `loop.time()`."""
    return [
        f"{s.path}:{call.lineno}"
        for s in found
        for call in ast.walk(s.tree)
        if isinstance(call, ast.Call) and not call.args and isinstance(call.func, ast.Attribute)
        if call.func.attr == "time" and "loop" in ast.unparse(call.func.value)
    ]


def unbounded_queues(found: Iterable[Source]) -> list[str]:
    """Return queues made without a bound."""
    return [
        f"{s.path}:{call.lineno}: {ast.unparse(call)}"
        for s in found
        for call in calls_of(s, QUEUES)
        if not call.args and not any(k.arg == "maxsize" for k in call.keywords)
    ]


def calls_of(source: Source, wanted: set[str]) -> Iterator[ast.Call]:
    callees = {id(node) for name, node in used(source) if name in wanted}
    for node in ast.walk(source.tree):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Subscript):  # Queue[int]()
            called = called.value
        if isinstance(node, ast.Call) and id(called) in callees:
            yield node


def product() -> list[Source]:
    return [s for s in sources() if s.is_product]


def test_only_one_file_reads_the_clock():
    spoilt = [
        Source.of("a.py", "import time as t\nt.time()"),
        Source.of("b.py", "from datetime import datetime as d\nd.now()"),
        Source.of("c.py", "asyncio.get_running_loop().time()"),
    ]
    assert found_in(spoilt, CLOCK_READS) == ["a.py:2: time.time", "b.py:2: datetime.datetime.now"]
    assert loop_clock_reads(spoilt) == ["c.py:1"]

    others = [s for s in product() if s.path != CLOCK_FILE]
    ours = [s for s in others if s.path not in PACERS]

    assert found_in(others, CLOCK_READS) + loop_clock_reads(ours) == []


def test_chance_is_given():
    spoilt = Source.of("a.py", "from uuid import uuid4\nuuid4()")
    assert found_in([spoilt], CHANCE) == ["a.py:2: uuid.uuid4"]

    assert found_in(product(), CHANCE) == []


def test_every_task_belongs_to_a_group():
    spoilt = Source.of("a.py", "import asyncio\nasyncio.create_task(f())")
    assert found_in([spoilt], LOOSE_TASKS) == ["a.py:2: asyncio.create_task"]

    assert found_in(product(), LOOSE_TASKS) == []


def test_nothing_is_configured_through_the_environment():
    spoilt = Source.of("a.py", "import os\nos.environ['A']")
    assert found_in([spoilt], ENVIRONMENT) == ["a.py:2: os.environ"]

    programs = [s for s in product() if not s.path.startswith("mainwatch/")]

    assert found_in(programs, ENVIRONMENT) == []


def test_every_queue_has_a_bound():
    spoilt = "import asyncio\na = asyncio.Queue[int]()\nb = asyncio.Queue(maxsize=3)"
    assert unbounded_queues([Source.of("a.py", spoilt)]) == ["a.py:2: asyncio.Queue[int]()"]

    assert unbounded_queues(product()) == []


def test_only_the_door_feeds_the_engine():
    engine = {"server.engine.engine.Engine"}
    spoilt = Source.of("a.py", "from server.engine.engine import Engine\nEngine()")
    assert found_in([spoilt], engine) == ["a.py:2: server.engine.engine.Engine"]

    others = [s for s in product() if not s.path.startswith(ENGINE_FEEDERS)]

    assert found_in(others, engine) == []
