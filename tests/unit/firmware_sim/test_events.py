"""Kinds of happenings: each has a sheet, a layer and a truth."""

import pytest

from firmware_sim.core.events import SHEETS, Kind, Layer, Truth, full_numbers


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_sheet_and_something_to_happen_to(kind):
    sheet = SHEETS[kind]

    assert kind.layer is sheet.layer
    assert kind.truth is sheet.truth
    assert sheet.targets
    assert not {*sheet.needs} & {*sheet.may}


def test_faults_of_instruments_and_wires_are_labelled_as_faults():
    assert {k.truth for k in Kind if k.layer is not Layer.WATER} == {Truth.FAULT}
    assert [k for k in Kind if k.truth is Truth.BURST] == [Kind.BURST]
    assert {Kind.HOLIDAY, Kind.WEATHER} <= {k for k in Kind if k.truth is Truth.NONE}


def test_numbers_that_are_not_told_have_their_usual_value():
    assert full_numbers(Kind.LATE_REPLY, {"one_in": 5.0}) == {"seconds": 1.5, "one_in": 5.0}
    assert full_numbers(Kind.BURST, {"m3h": 40.0}) == {"m3h": 40.0}
