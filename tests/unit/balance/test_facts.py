"""`[[balance]]`, tanks and parents in server.toml: what they may say, and what is wrong in them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from server.config import ServerConfig, problems

NAME = {"zh": "北", "en": "North"}


def config(**more: object) -> ServerConfig:
    north = {"id": "north", "name": NAME, "timezone": "Asia/Shanghai"}
    points = [
        {"id": f"a/{q}", "zone": "north", "quantity": q, "name": NAME, "period_s": 60}
        for q in ("flow", "level")
    ]
    body = {
        "server": {"data": Path("data"), "groups": ("town",)},
        "zone": [{**north, **more.pop("zone", {})}, {**north, "id": "south"}],
        "point": points,
    }
    return ServerConfig.model_validate({**body, **more})


def test_tanks_and_parents_reach_the_registry():
    zone = {"storage": [{"point": "a/level", "area_m2": 50.0}], "parent": "south"}
    found = config(zone=zone)

    assert problems(found) == []
    north = found.registry().zones["north"]
    assert [(s.point, s.area_m2) for s in north.storage] == [("a/level", 50.0)]
    assert north.parent == "south"


def test_a_tank_needs_a_level_and_a_parent_another_zone():
    zone = {"storage": [{"point": "a/flow", "area_m2": 50.0}], "parent": "north"}

    assert problems(config(zone=zone)) == [
        "zone[0].storage[0]: expected a level point, was 'a/flow'",
        "zone[0].parent: expected another zone, was 'north'",
    ]


def test_mistakes_in_the_facts_are_told_by_key():
    facts = [
        {"zone": "north", "night_from_h": 4, "night_to_h": 4},
        {"zone": "moon"},
        {"zone": "north"},
    ]

    assert problems(config(balance=facts)) == [
        "balance[0].night_to_h: expected an hour behind night_from_h 4, was 4",
        "balance[2].zone: 'north' is told twice",
        "balance[1].zone: expected one of north, south, was 'moon'",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"billed_m3": {"2026-13": 1.0}},
        {"apparent_share": 1.5},
        {"mains_km": 0},
        {"n1": 3},
        {"x": 1},
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        config(balance=[{"zone": "north", **wrong}])
