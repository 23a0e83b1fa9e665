"""Does an export hold what was stored, no more than was wanted, and what belongs to it?"""

import csv
import json
from pathlib import Path

import pytest

from server.engine import essentials
from server.engine.effects import Accepted
from server.engine.engine import Engine
from server.engine.events import Imported, RegistryChanged, Started
from server.engine.registry import Inflow, Point, Registry, Zone
from server.engine.samples import Samples
from server.history import kept
from server.history.csv_writer import neutral, original
from server.history.export import (
    Source,
    Wanted,
    described,
    in_house_units,
    of_recording,
    to_csv,
    to_recording,
)
from server.history.historian import Historian, Mark
from server.history.labels import marks
from server.history.recording import open_recording
from server.history.recording_check import findings
from server.intake import arrivals
from server.intake.journal import Journal
from server.intake.segments import Snapshot
from telemetry.errors import ConfigError, StorageError
from telemetry.sample import Quality, Reason, Sample, TimeQuality
from telemetry.units import Quantity
from tests.unit.engine.wire import Wire, reading
from tests.unit.server.recording_files import AT, MINUTE, lines, recording, sample

BY = "ours: pressure.central.min_mpa"
REGISTRY = Registry(
    zones={
        "north": Zone(
            id="north",
            name_zh="北区",
            name_en="North",
            timezone="Asia/Shanghai",
            calendar="cn",
            inflow=(Inflow(point="a/flow", sign=1),),
        )
    },
    points={
        name: Point(
            id=name,
            zone="north",
            quantity=quantity,
            name_zh=name,
            name_en=name,
            period_ms=5000,
            low=low,
            promise_kpa=None if low is None else 280.0,
            promise_by="" if low is None else BY,
            statute_kpa=low,
        )
        for name, quantity, low in (
            ("a/flow", Quantity.FLOW, None),
            ("a/pressure", Quantity.PRESSURE, 140.0),
        )
    },
)


def quiet(_done: int) -> None:
    return None


def read(folder: Path) -> list[tuple]:
    """Return (point, at, value, arrived, gateway, offset) of every sample."""
    found = open_recording(folder)
    told = []
    for s in found.stretches():
        for n in range(len(s)):
            gateway = (
                s.gateways[s.gateway[n]] if s.gateway is not None and s.gateway[n] >= 0 else ""
            )
            offset = -1 if s.offset is None else int(s.offset[n])
            value = None if s.quality[n] == 0 else float(s.value[n])
            told.append(
                (
                    found.points[s.point[n]],
                    int(s.at[n]),
                    value,
                    int(s.arrived_at[n]),
                    gateway,
                    offset,
                )
            )
    return told


def stored(path: Path) -> Historian:
    bad = Sample.bad("a/flow", AT + 1000, Reason.TIMEOUT)
    unsure = Sample(
        point="a/pressure",
        at=AT + 1000,
        value=281.0,
        quality=Quality.UNCERTAIN,
        reason=Reason.STUCK,
        time_quality=TimeQuality.DOUBTFUL,
    )
    foreign = Sample(point="new/flow", at=AT, value=1.0)
    historian = Historian(path)
    historian.write(
        [
            Imported(at=AT, source="past", rows=(("a/flow", AT - MINUTE, 3.5, 192),)),
            Accepted(
                at=AT + 9000,
                gateway="pi-1",
                epoch=7,
                first_offset=4,
                samples=Samples.of([bad, unsure, foreign]),
                is_historical=False,
            ),
        ],
        through=2,
    )
    mark = Mark(
        point="a/pressure", start=AT, end=AT + 1, quality=0, reason="frozen", author="ann", at=AT
    )
    historian.mark([mark])
    return historian


LEFT_OUT: set[str] = set()


def source_of(path: Path, scan) -> Source:
    description = described(REGISTRY, name="t", source=path.name, licence="none")
    ids = [p.id for p in description.point]
    return Source(
        description=description,
        read=lambda begin, end, points: scan.stretches(
            path, ids, begin, end, points, left_out=LEFT_OUT
        ),
        marks=kept.marks(path) if scan is kept else (),
    )


EXPECTED = [
    ("a/flow", AT - MINUTE, 3.5, AT - MINUTE, "", -1),
    ("a/flow", AT + 1000, None, AT + 9000, "pi-1", 4),
    ("a/pressure", AT + 1000, 281.0, AT + 9000, "pi-1", 5),
]


def test_the_historian_is_exported_while_its_writer_goes_on(tmp_path: Path):
    writer = stored(tmp_path / "historian.db")
    source = source_of(tmp_path / "historian.db", kept)

    rows = to_recording(source, Wanted(), tmp_path / "r", software="t", progress=quiet)
    writer.close()

    found = open_recording(tmp_path / "r")
    (mark,) = marks(tmp_path / "r")
    assert (rows, read(tmp_path / "r")) == (3, EXPECTED)
    assert "new/flow" in LEFT_OUT
    assert (mark.point, mark.quality, mark.author) == ("a/pressure", 0, "ann")
    assert found.registry().points["a/pressure"].low == 140.0
    promised = found.registry().points["a/pressure"]
    assert (promised.promise_kpa, promised.promise_by, promised.statute_kpa) == (280.0, BY, 140.0)
    assert (found.begin, found.end, found.cadence_ms) == (AT - MINUTE, AT + 1000, 5000)
    assert findings(tmp_path / "r") == []


def test_a_journal_is_decoded_by_the_engines_own_first_stage(tmp_path: Path):
    journal = Journal(tmp_path / "journal.db")
    wire = Wire(edge="pi-1")
    values = [reading("p", AT + 1000, 281.0), reading("f", AT + 1000, 2.5)]
    journal.append(
        [
            RegistryChanged(at=AT, registry=REGISTRY),
            Imported(at=AT, source="past", rows=(("a/flow", AT - MINUTE, 3.5, 192),)),
            Started(at=AT, version="0", settings={"host_id": "mainwatch"}),
            wire.nbirth(AT),
            wire.dbirth(AT, "field", {"p": "a/pressure", "f": "a/flow"}),
            wire.ddata(AT + 9000, "field", values),
        ]
    )
    source = source_of(tmp_path / "journal.db", arrivals)

    to_recording(source, Wanted(), tmp_path / "r", software="t", progress=quiet)
    journal.close()

    assert arrivals.registry_in(tmp_path / "journal.db") == REGISTRY
    assert read(tmp_path / "r") == [
        ("a/flow", AT - MINUTE, 3.5, AT - MINUTE, "", -1),
        ("a/flow", AT + 1000, 2.5, AT + 9000, "pi-1", 1),
        ("a/pressure", AT + 1000, 281.0, AT + 9000, "pi-1", 0),
    ]


def test_a_journal_whose_beginning_was_pruned_is_read_from_its_snapshot(tmp_path: Path):
    journal, wire, engine = Journal(tmp_path / "journal.db"), Wire(edge="pi-1"), Engine("mainwatch")
    beginning = [
        RegistryChanged(at=AT, registry=REGISTRY),
        Started(at=AT, version="0", settings={"host_id": "mainwatch"}),
        wire.nbirth(AT),
        wire.dbirth(AT, "field", {"p": "a/pressure"}),
        wire.ddata(AT + 2000, "field", [reading("p", AT + 1000, 281.0)]),
    ]
    journal.append(beginning)
    engine.run(beginning)
    last, text = journal.last_seq, essentials.write(engine)
    state = Snapshot(seq=last, at=AT + 2000, code="c", essentials=text, engine=b"")
    journal.sealed(journal.seal(last), state)
    journal.append([wire.ddata(AT + 9000, "field", [reading("p", AT + 8000, 282.0)])])
    journal.sealed(journal.seal(journal.last_seq), state)
    journal.append([wire.ddata(AT + 19000, "field", [reading("p", AT + 18000, 283.0)])])
    whole = source_of(tmp_path / "journal.db", arrivals)
    to_recording(whole, Wanted(), tmp_path / "whole", software="t", progress=quiet)
    assert len(journal.prune(before=AT + 5000, bytes_max=10**9, through=last)) == 1

    to_recording(whole, Wanted(), tmp_path / "rest", software="t", progress=quiet)
    journal.close()

    assert [v for _, _, v, *_ in read(tmp_path / "whole")] == [281.0, 282.0, 283.0]
    assert [v for _, _, v, *_ in read(tmp_path / "rest")] == [282.0, 283.0]
    assert arrivals.registry_in(tmp_path / "journal.db") == REGISTRY


def test_what_is_no_journal_and_no_historian_is_named(tmp_path: Path):
    (tmp_path / "x.db").write_text("not a database, whatever its name says")

    with pytest.raises(ConfigError, match=r"x\.db: cannot be read as a journal"):
        arrivals.registry_in(tmp_path / "x.db")
    with pytest.raises(StorageError, match=r"x\.db: "):
        list(kept.stretches(tmp_path / "x.db", ["a"], None, None, {"a"}, left_out=set()))


def three_points(folder: Path) -> Path:
    names = ("street/pressure", "inlet/flow", "tower/level")
    found = recording(folder, {"a": [sample(p, m, 1.0 + m) for m in range(4) for p in names]})
    leak = {"kind": "leak", "zone": "north", "from": "2026-09-21T14:14:00Z"}
    lines(
        found / "truth.jsonl",
        leak | {"id": "over", "to": "2026-09-21T14:14:10Z"},
        leak | {"id": "on", "to": None},
    )
    mark = {"revision": 1, "from": "2026-09-21T14:00:00Z", "quality": 0}
    lines(found / "marks.jsonl", mark | {"point": "inlet/flow"}, mark | {"point": "tower/level"})
    return found


def test_a_part_of_a_recording_takes_its_labels_along(tmp_path: Path):
    source = of_recording(open_recording(three_points(tmp_path / "r")))
    wanted = Wanted(
        begin=AT + MINUTE, end=AT + 3 * MINUTE, points={"street/pressure", "inlet/flow"}
    )

    rows = to_recording(source, wanted, tmp_path / "out", software="t", progress=quiet)

    found = open_recording(tmp_path / "out")
    labels = [
        json.loads(t)["id"] for t in (tmp_path / "out" / "truth.jsonl").read_text().split("\n") if t
    ]
    assert rows == 4
    assert (found.begin, found.end) == (AT + MINUTE, AT + 2 * MINUTE)
    assert labels == ["on"]
    assert (tmp_path / "out" / "marks.jsonl").read_text().count("\n") == 1
    assert found.registry().zones["north"].inflow == ()  # not every meter of the zone is there
    assert found.registry().points["street/pressure"].low == pytest.approx(140.0)
    assert findings(tmp_path / "out") == []


def test_an_export_keeps_samples_as_measured_and_the_marks_beside_them(tmp_path: Path):
    source = of_recording(open_recording(three_points(tmp_path / "r")))

    to_recording(source, Wanted(), tmp_path / "out", software="t", progress=quiet)

    found = open_recording(tmp_path / "out")
    assert sum(int((s.quality == 0).sum()) for s in found.stretches(with_marks=False)) == 0
    assert sum(int((s.quality == 0).sum()) for s in found.stretches()) == 8


def test_csv_has_one_sample_a_row_in_house_units(tmp_path: Path):
    source = of_recording(open_recording(three_points(tmp_path / "r")))

    to_csv(source, Wanted(points={"street/pressure"}), tmp_path / "o.csv", progress=quiet)

    with (tmp_path / "o.csv").open(newline="") as file:
        first, *rest = csv.DictReader(file)
    assert len(rest) == 3
    assert {k: v for k, v in first.items() if v} == {
        "at": "2026-09-21T14:13:20Z",
        "point": "street/pressure",
        "zone": "north",
        "quantity": "pressure",
        "unit": "kPa",
        "value": "100",
        "quality": "192",
    }


@pytest.mark.parametrize("text", ["=1+1", "+a/flow", "-a/flow", "@x", "'=x", "a/flow", ""])
def test_no_text_is_a_formula_and_each_comes_back(text: str):
    assert neutral(text)[:1] not in {"=", "+", "-", "@"}
    assert original(neutral(text)) == text


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Wanted(zones={"south"}), "--zone: expected one of north, was 'south'"),
        (Wanted(points={"x/flow"}), "--point: expected one of street/pressure, inlet/flow"),
        (
            Wanted(begin=AT + 9 * MINUTE),
            "expected samples from 2026-09-21T14:22:20Z of these points",
        ),
    ],
)
def test_what_is_not_there_is_told_and_nothing_is_left_behind(tmp_path: Path, wanted, told):
    source = of_recording(open_recording(three_points(tmp_path / "r")))

    with pytest.raises(ConfigError, match=told):
        to_recording(source, wanted, tmp_path / "out", software="t", progress=quiet)
    with pytest.raises(ConfigError, match=told):
        to_csv(source, wanted, tmp_path / "out.csv", progress=quiet)

    assert [p.name for p in tmp_path.iterdir()] == ["r"]


def test_limits_and_resolution_follow_the_unit(tmp_path: Path):
    found = in_house_units(open_recording(three_points(tmp_path / "r")).description)

    assert found.registry() == open_recording(tmp_path / "r").registry()
    assert found.point[0].unit == "kPa"
