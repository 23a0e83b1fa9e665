"""Do effects become lines of `events.jsonl`, and does the reader take no other lines?"""

import json

import pytest

from server.engine.effects import (
    AlarmCleared,
    AlarmKind,
    AlarmRaised,
    DispatchRequested,
    GatewayChanged,
    IncidentClosed,
    IncidentOpened,
    IncidentUpdated,
)
from server.replay.said import Candidate, line_of, read, tell
from telemetry.errors import ConfigError
from tests.unit.replay.facts import said

AT = 1_700_000_000_000
FACTS = {
    "kind": AlarmKind.PRESSURE_DROP,
    "zone": "north",
    "points": ("north-1/pressure",),
    "severity": 3,
    "onset": AT - 5_000,
    "because": ("it fell",),
}
PLACE = {"estimate_m3h": 38.5, "x": 10.0, "y": 20.0, "radius_m": 180.0}
STORY = [
    GatewayChanged(at=AT, gateway="gw", online=True, epoch=1, because="it was born"),
    AlarmRaised(at=AT, alarm="A-000001", **FACTS),
    IncidentOpened(at=AT, incident="INC-000001", alarms=("A-000001",), **FACTS),
    DispatchRequested(at=AT, incident="INC-000001", mode="confirm", **FACTS),
    IncidentUpdated(
        at=AT + 1000,
        incident="INC-000001",
        kind=AlarmKind.BURST,
        alarms=("A-000001", "A-000002"),
        points=("north-2/pressure", "north-1/pressure"),
        severity=1,
        because=("inflow rose",),
    ),
    DispatchRequested(
        at=AT + 1000,
        incident="INC-000001",
        mode="auto",
        **FACTS | {"kind": AlarmKind.BURST, "severity": 1} | PLACE,
    ),
    AlarmCleared(at=AT + 9000, alarm="A-000001", because=("it is back",)),
    AlarmCleared(at=AT + 9000, alarm="A-000009", because=("nobody knows it",)),
    IncidentClosed(at=AT + 9500, incident="INC-000001", because=("seen",)),
]


def test_each_effect_for_people_becomes_one_line_that_stands_for_itself():
    lines = [json.loads(line_of(s)) for s in tell(STORY)]

    assert [(s["event"], s["id"], s["kind"], s["mode"]) for s in lines] == [
        ("alarm", "A-000001", "pressure_drop", "confirm"),
        ("incident", "INC-000001", "pressure_drop", "confirm"),
        ("dispatch", "INC-000001", "pressure_drop", "confirm"),
        ("incident", "INC-000001", "burst", "confirm"),
        ("dispatch", "INC-000001", "burst", "auto"),
        ("closed", "A-000001", "pressure_drop", "confirm"),
        ("closed", "INC-000001", "burst", "auto"),
    ]
    assert {s["zone"] for s in lines} == {"north"}


def test_a_line_is_canonical_and_leaves_out_what_is_not_known():
    lines = [line_of(s) for s in tell(STORY)]

    assert lines[4] == (
        '{"at":"2023-11-14T22:13:21Z","because":["it fell"],"estimate_m3h":38.5,"event":"dispatch",'
        '"id":"INC-000001","kind":"burst","mode":"auto","onset":"2023-11-14T22:13:15Z",'
        '"points":["north-1/pressure"],"radius_m":180.0,"severity":1,"x":10.0,"y":20.0,'
        '"zone":"north"}'
    )
    assert "radius_m" not in lines[0]


def test_what_was_written_is_read_again(tmp_path):
    told = [*tell(STORY), said(day=20, candidates=(Candidate(node="n1", score=4.5),))]
    path = tmp_path / "events.jsonl"
    path.write_text("".join(line_of(s) + "\n" for s in told), encoding="utf-8")

    assert list(read(path)) == told


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"kind": "flood"}, r"row 2: kind: .*'flood'"),
        ({"severity": 5}, r"row 2: severity: .*5"),
        ({"at": "yesterday"}, r"row 2: at: expected an instant .*'yesterday'"),
        ({"mode": None}, r"row 2: mode: required key is missing"),
        ({"at": "2001-01-01T00:00:00Z"}, r"row 2: at: expected nothing before 2023-11-25"),
        ({"x": float("nan")}, r"row 2: x: "),
    ],
)
def test_a_mistake_is_told_with_its_row(tmp_path, changes, complaint):
    first = line_of(said())
    wrong = json.dumps(json.loads(first) | changes)
    path = tmp_path / "events.jsonl"
    path.write_text(f"{first}\n{wrong}\n", encoding="utf-8")

    with pytest.raises(ConfigError, match=complaint):
        read(path)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match="expected a file of what a replay said"):
        read(tmp_path / "none.jsonl")


def test_what_is_explained_says_by_which_operation_and_an_older_file_without_it_is_read(tmp_path):
    alarm = AlarmRaised(at=AT, alarm="A-000001", explained_by="PW-1", **FACTS)
    opened = IncidentOpened(
        at=AT, incident="INC-1", alarms=("A-000001",), explained_by="PW-1", **FACTS
    )
    lines = [line_of(s) for s in tell([alarm, opened, STORY[1]])]

    assert [json.loads(line).get("explained_by") for line in lines] == ["PW-1", "PW-1", None]
    path = tmp_path / "events.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    assert [s.explained_by for s in read(path)] == ["PW-1", "PW-1", ""]
