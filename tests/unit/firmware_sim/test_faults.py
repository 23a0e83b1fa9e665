"""Instrument faults: what registers show instead of the truth, and what never arrives."""

import math

import pytest

from firmware_sim.core.encode import number
from firmware_sim.core.events import Event, Kind, full_numbers
from firmware_sim.core.faults import Faults
from firmware_sim.core.instruments import Site, instrument
from firmware_sim.core.reach import Reach, Station
from telemetry.errors import RefusedCommand
from telemetry.instant import DAY_MS, HOUR_MS, Instant
from telemetry.sample import Reason

NOW = Instant(1_790_000_000_000)


@pytest.fixture
def field(maps):
    def one(device, sheet, register):
        return instrument(
            seed=1,
            device=device,
            zone="north",
            point=f"{device}/{register}",
            register=maps[sheet].register(register),
            site=Site(node="J", link=None),
            flow_point=None,
        )

    return {
        "pressure": one("pt-1", "pressure-transmitter", "pressure"),
        "flow": one("inlet", "electromagnetic-meter", "flow"),
        "total": one("inlet", "electromagnetic-meter", "total"),
        "pulses": one("cust-1", "pulse-counter", "pulses"),
    }


@pytest.fixture
def faults(field):
    return Faults(field.values(), seed=1)


def event(kind, target, *, id_="e", begin=NOW, **numbers):
    kind = Kind(kind)
    return Event(id=id_, kind=kind, begin=begin, target=target, numbers=full_numbers(kind, numbers))


def seen(faults, found, truths, *, step_ms=1000):
    return [faults.shown(found, t, Instant(NOW + n * step_ms)) for n, t in enumerate(truths)]


def test_an_instrument_without_a_fault_shows_what_it_always_does(field, faults):
    faults.begin(event("offset", "pt-1/pressure", by=30))
    flow, total = field["flow"], field["total"]

    assert faults.shown(flow, 100.0, NOW) == flow.reading(100.0, NOW)
    assert faults.shown(total, 4321.0, NOW) == total.total(4321.0)
    assert faults.reading(flow, 100.0, NOW) == flow.words(100.0, NOW)


@pytest.mark.parametrize("name", ["pressure", "flow", "total", "pulses"])
def test_words_and_numbers_of_a_faulty_register_agree(field, faults, name):
    found = field[name]
    faults.begin(event("scale", found.device, factor=1.25))

    for n in range(20):
        at, truth = Instant(NOW + 1000 * n), 250.0 + 7 * n
        decoded = number(faults.reading(found, truth, at), found.register)
        assert decoded == pytest.approx(faults.shown(found, truth, at), rel=1e-6)


def test_an_offset_comes_and_goes(field, faults):
    pressure = field["pressure"]
    knocked = event("offset", "pt-1/pressure", by=-30)

    faults.begin(knocked)
    off = faults.shown(pressure, 300.0, NOW)
    faults.finish(knocked)

    assert off - pressure.reading(300.0, NOW) == pytest.approx(-30, abs=0.2)
    assert faults.shown(pressure, 300.0, NOW) == pressure.reading(300.0, NOW)


def test_a_drift_grows_by_so_much_a_day(field, faults):
    pressure = field["pressure"]
    faults.begin(event("drift", "pt-1", per_day=-4))

    for days in (0, 1, 5):
        at = Instant(NOW + days * DAY_MS)
        off = faults.shown(pressure, 300.0, at) - pressure.reading(300.0, at)
        assert off == pytest.approx(-4 * days, abs=0.2)


def test_a_flat_sensor_shows_its_last_value_and_then_lives_again(field, faults):
    pressure, frozen = field["pressure"], event("flat", "pt-1")

    faults.begin(frozen)
    shown = seen(faults, pressure, [300.0, 310.0, 250.0])
    faults.finish(frozen)

    assert set(shown) == {pressure.reading(300.0, NOW)}
    assert faults.shown(pressure, 250.0, NOW) == pytest.approx(250, abs=4)


def test_spikes_come_as_often_as_asked_and_last_a_second(field, faults):
    faults.begin(event("spikes", "pt-1", per_hour=60, size=150))
    shown = seen(faults, field["pressure"], [300.0] * 36_000)
    wild = [s for s in shown if abs(s - 300) > 100]

    assert 400 < len(wild) < 800
    assert {round(s / 50) * 50 for s in wild} == {150, 450}


def test_noise_is_as_large_as_asked(field, faults):
    faults.begin(event("noise", "pt-1", sd=6))
    shown = seen(faults, field["pressure"], [300.0] * 4000)
    mean = sum(shown) / len(shown)

    assert math.sqrt(sum((s - mean) ** 2 for s in shown) / len(shown)) == pytest.approx(6, rel=0.1)


def test_swapped_words_make_no_sense(field, faults):
    pressure = field["pressure"]
    faults.begin(event("swapped_words", "pt-1"))

    assert faults.reading(pressure, 300.0, NOW) == pressure.words(300.0, NOW)[::-1]
    assert abs(faults.shown(pressure, 300.0, NOW)) < 1e-3


def test_a_frozen_counter_stands_and_what_passed_meanwhile_is_never_counted(field, faults):
    pulses, stuck = field["pulses"], event("frozen_counter", "cust-1")

    assert seen(faults, pulses, [1000.0]) == [1000.0]
    faults.begin(stuck)
    assert seen(faults, pulses, [1001.0, 1005.0]) == [1001.0, 1001.0]
    faults.finish(stuck)
    assert seen(faults, pulses, [1006.0, 1008.5]) == [1001.0, 1003.5]


def test_a_reset_counter_starts_again_from_zero_and_a_new_meter_from_its_own(field, faults):
    faults.begin(event("counter_reset", "cust-1"))
    assert seen(faults, field["pulses"], [1000.0, 1002.0]) == [0.0, 2.0]

    faults.begin(event("meter_replaced", "inlet", m3=0.4))
    assert seen(faults, field["total"], [5000.0, 5003.0]) == pytest.approx([0.4, 3.4])
    assert faults.shown(field["flow"], 50.0, NOW) == field["flow"].reading(50.0, NOW)


def test_a_counter_near_its_end_rolls_over(field, faults):
    faults.begin(event("counter_near_rollover", "inlet/total", counts=10))
    before, after = seen(faults, field["total"], [5000.0, 5001.5])

    assert before == pytest.approx(99_999_999.0)
    assert after == pytest.approx(0.5)


def test_a_meter_the_wrong_way_round_counts_backwards_from_where_it_stands(field, faults):
    reverse = event("reverse_flow", "inlet")

    faults.begin(reverse)
    assert faults.shown(field["flow"], 80.0, NOW) == pytest.approx(-80, rel=0.02)
    assert seen(faults, field["total"], [5000.0, 5002.0]) == pytest.approx([5000.0, 4998.0])
    faults.finish(reverse)
    assert seen(faults, field["total"], [5003.0, 5004.0]) == pytest.approx([4997.0, 4998.0])


def test_a_low_battery_shows_the_lowest_value_now_and_then(field, faults):
    faults.begin(event("low_battery", "pt-1"))
    shown = seen(faults, field["pressure"], [300.0] * 2000)

    assert 40 < sum(s == 0 for s in shown) < 200


@pytest.mark.parametrize(
    ("kind", "target", "numbers", "sentence"),
    [
        ("flat", "pt-2", {}, r"expected a point or a device, was 'pt-2' \(near names: pt-1"),
        ("counter_reset", "pt-1", {}, r"pt-1 has nothing .* expected one of inlet/total, cust-1"),
        ("drift", "cust-1", {"per_day": 1}, "cust-1 has nothing that it could happen to"),
        ("reverse_flow", "pt-1", {}, "expected one of inlet/flow"),
    ],
)
def test_what_cannot_happen_is_refused_with_what_can(faults, kind, target, numbers, sentence):
    with pytest.raises(RefusedCommand, match=sentence):
        faults.begin(event(kind, target, **numbers))


STATIONS = (
    Station(device="pt-1", line="line-1", zone="north", on_mains=True),
    Station(device="pt-2", line="line-1", zone="east", on_mains=True),
    Station(device="cust-1", line="line-2", zone="north", on_mains=False),
)


def missed(reach, device, count=2000):
    found = [reach.reason(device, Instant(NOW + 1000 * n)) for n in range(count)]
    return sum(r is not Reason.NONE for r in found) / count


@pytest.mark.parametrize(
    ("kind", "target", "share"),
    [
        ("dead", "pt-1", 1.0),
        ("slow", "line-1", 0.0),
        ("late_reply", "line-1", 0.05),
        ("crc_errors", "pt-1", 0.05),
        ("garbage", "line-1", 0.05),
        ("echo", "line-1", 1.0),
        ("foreign_master", "line-1", 0.2),
        ("address_conflict", "pt-1", 1.0),
        ("converter_reboot", "line-1", 30 / 2000),
        ("dead", "line-2", 0.0),
        ("pit_flooded", "cab-1", 0.0),
    ],
)
def test_a_wire_fault_costs_so_many_readings(kind, target, share):
    reach = Reach(STATIONS, seed=1)
    reach.begin(event(kind, target))

    assert missed(reach, "pt-1") == pytest.approx(share, abs=0.02)


def test_a_dark_zone_is_silent_where_the_mains_feed_it():
    reach = Reach(STATIONS, seed=1)
    failure = event("power_failure", "north")
    reach.begin(failure)

    assert reach.dark(failure) == ["pt-1"]
    assert [missed(reach, d, 5) for d in ("pt-1", "pt-2", "cust-1")] == [1, 0, 0]
    assert reach.dark(event("power_failure", "north", dark=0)) == []


def test_without_an_uplink_all_arrives_when_it_is_back():
    reach, end = Reach(STATIONS, seed=1), Instant(NOW + HOUR_MS)
    away = event("uplink_down", "north")
    reach.begin(away)

    assert missed(reach, "pt-1", 5) == 0
    assert reach.arrives_at("pt-1", NOW, end=end) == end
    assert reach.arrives_at("pt-2", NOW, end=end) == NOW
    reach.finish(away)
    assert reach.is_whole
