"""Outward: house units to the reader's, instants to where the water is."""

import pytest

from server.engine.registry import Registry
from server.web.screen import Screen, Viewer, pressure_unit
from tests.support.plant import AT, registry


def screen(language: str, unit: str = "", known: Registry | None = None) -> Screen:
    viewer = Viewer(language=language, pressure_unit=pressure_unit(unit, language), operator="")
    return Screen(viewer, registry() if known is None else known)


@pytest.mark.parametrize(
    ("language", "wish", "value", "unit"),
    [
        ("zh-CN", "", "0.2813", "MPa"),
        ("en", "", "281.3", "kPa"),
        ("en", "bar", "2.813", "bar"),
        ("en", "psi", "281.3", "kPa"),
    ],
)
def test_pressure_is_shown_in_the_unit_of_the_reader(language, wish, value, unit):
    shown = screen(language, wish)

    assert shown.value("pressure", 281.34) == value
    assert shown.unit("pressure") == unit


def test_what_has_no_value_is_a_dash():
    assert screen("en").value("flow", None) == "–"
    assert screen("en").time(None) == "–"


def test_instants_are_shown_where_the_water_is():
    assert screen("en").stamp(AT) == "2027-01-15 16:00:00"
    assert screen("en", known=Registry()).stamp(AT) == "2027-01-15 08:00:00"


def test_names_are_in_the_language_and_unknown_ids_are_themselves():
    assert screen("zh-CN").zone("north") == "北区"
    assert screen("en").zone("north") == "North"
    assert screen("en").point("new/pressure") == "new/pressure"
