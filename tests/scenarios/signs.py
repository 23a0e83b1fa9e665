"""By what each kind of happening shows in the samples, against the same days without it."""

import numpy as np
import pyarrow.parquet as pq

from firmware_sim.core.events import Kind


def points_of(event, config, *, counts=None):
    """Return the points that an event's target names, or all of its line, zone or town."""
    found = []
    for _, line in config.lines:
        for d in line.device:
            for p in d.point:
                names = {p.point, d.id, line.name, d.zone, ""}
                if event.target in names and counts in {None, p.flow_point is not None}:
                    found.append(p.point)
    return found


def inflows(config, zone=None):
    return [i.point for z in config.zone if zone in {None, z.id} for i in z.inflow]


def change(ours, quiet, point, begin, end):
    """Return the mean of what a point says more than without the event."""
    return float(np.nanmean(ours.during(point, begin, end) - quiet.during(point, begin, end)))


def lets_out(event, ours, quiet, *, begin, end, config, folder, zone, **_):
    """The zone's inflow rises by what the ledger says is let out, and that was asked for."""
    m3h = event.__pydantic_extra__["m3h"]
    middle = begin + (end - begin) // 2
    more = sum(change(ours, quiet, p, middle, end) for p in inflows(config, zone))
    assert 0.5 * m3h < more < 1.3 * m3h
    if event.kind in {"burst", "leak"}:
        table = pq.read_table(folder / "truth_flow.parquet").to_pydict()
        flow = [f for i, f in zip(table["id"], table["m3h"], strict=True) if i == event.id]
        assert 0.6 * m3h < max(flow) < 1.25 * m3h


def moves_pressures(event, ours, quiet, *, begin, end, config, **_):
    """Some pressure in the town is not what it would have been."""
    points = [p for p in ours.values if p.endswith(("pressure", "level"))]
    assert max(abs(change(ours, quiet, p, begin, end)) for p in points) > 1.0


def changes_demand(event, ours, quiet, *, begin, end, config, **_):
    more = [change(ours, quiet, p, begin, end) for p in inflows(config)]
    assert max(abs(m) for m in more) > 1.0


def goes_blind(event, ours, quiet, *, begin, end, config, **_):
    """What is on the mains gives no values."""
    dark = [p for p in points_of(event, config) if np.isnan(ours.during(p, begin, end - 1)).all()]
    assert dark
    assert not any(np.isnan(ours.during(p, begin - 180_000, begin - 1)).any() for p in dark)


def is_off_by(event, ours, quiet, *, begin, end, **_):
    by = event.__pydantic_extra__["by"]
    assert abs(change(ours, quiet, event.target, begin, end) - by) < 0.05 * abs(by)


def drifts(event, ours, quiet, *, begin, end, **_):
    off = ours.during(event.target, begin, end) - quiet.during(event.target, begin, end)
    days = (end - begin) / 86_400_000
    assert abs(off[-1] - event.__pydantic_extra__["per_day"] * days) < 0.5


def stands_still(event, ours, quiet, *, begin, end, config, **_):
    for point in points_of(event, config):
        assert len(set(ours.during(point, begin, end))) == 1
        assert len(set(quiet.during(point, begin, end))) > 1


def is_wild(event, ours, quiet, *, begin, end, **_):
    ours, quiet = ours.during(event.target, begin, end), quiet.during(event.target, begin, end)
    assert np.nanstd(ours - quiet) > 2.0
    assert abs(np.nanmedian(ours - quiet)) < 2.0


def is_scaled(event, ours, quiet, *, begin, end, **_):
    ratio = ours.during(event.target, begin, end) / quiet.during(event.target, begin, end)
    assert abs(np.nanmedian(ratio) - event.__pydantic_extra__["factor"]) < 0.01


def is_senseless(event, ours, quiet, *, begin, end, config, **_):
    for point in points_of(event, config):
        shown = ours.during(point, begin, end)
        assert (np.isnan(shown) | (np.abs(shown) < 1e-6)).mean() > 0.9


def total_jumps(event, ours, quiet, *, begin, config, **_):
    for point in points_of(event, config):
        off = ours.values[point] - quiet.values[point]
        assert abs(off[ours.at < begin]).max() < 1e-6
        assert abs(off[ours.at > begin]).min() > 1000


def runs_backwards(event, ours, quiet, *, begin, end, config, **_):
    flow = next(p for p in points_of(event, config) if p.endswith("/flow"))
    total = next(p for p in points_of(event, config) if p.endswith("/volume"))
    assert (ours.during(flow, begin, end) < 0).all()
    assert (np.diff(ours.during(total, begin, end)) <= 0).all()


def dies_now_and_then(event, ours, quiet, *, begin, end, **_):
    low = ours.during(event.target, begin, end) < 1.0
    assert 0.01 < low.mean() < 0.15


def shows_nothing(event, ours, quiet, *, begin, end, config, **_):
    for point in points_of(event, config):
        same = ours.during(point, begin, end) == quiet.during(point, begin, end)
        assert same.all()


def is_never_read(event, ours, quiet, *, begin, end, config, **_):
    for point in points_of(event, config):
        assert np.isnan(ours.during(point, begin, end - 1)).all()


def is_missed_sometimes(event, ours, quiet, *, begin, end, config, **_):
    missing = [np.isnan(ours.during(p, begin, end)).mean() for p in points_of(event, config)]
    assert 0.005 < np.mean(missing) < 0.25


def arrives_late(event, ours, quiet, *, begin, end, folder, **_):
    for path in sorted((folder / "samples").glob("*.parquet")):
        table = pq.read_table(path, columns=["at", "arrived_at"]).to_pydict()
        for at, came in zip(table["at"], table["arrived_at"], strict=True):
            instant = round(at.timestamp() * 1000)
            is_away = begin <= instant < end
            assert (round(came.timestamp() * 1000) == end) if is_away else (came == at)


SIGNS = {
    Kind.BURST: lets_out,
    Kind.LEAK: lets_out,
    Kind.HYDRANT: lets_out,
    Kind.LARGE_DEMAND: lets_out,
    Kind.CUSTOMER_LEAK: lets_out,
    Kind.VALVE_CLOSED: moves_pressures,
    Kind.PUMP_TRIP: moves_pressures,
    Kind.PRV_SETPOINT: moves_pressures,
    Kind.TANK_EMPTIED: moves_pressures,
    Kind.POWER_FAILURE: goes_blind,
    Kind.HOLIDAY: changes_demand,
    Kind.WEATHER: changes_demand,
    Kind.OFFSET: is_off_by,
    Kind.DRIFT: drifts,
    Kind.FLAT: stands_still,
    Kind.FROZEN_COUNTER: stands_still,
    Kind.SPIKES: is_wild,
    Kind.NOISE: is_wild,
    Kind.SCALE: is_scaled,
    Kind.SWAPPED_WORDS: is_senseless,
    Kind.COUNTER_RESET: total_jumps,
    Kind.METER_REPLACED: total_jumps,
    Kind.COUNTER_NEAR_ROLLOVER: total_jumps,
    Kind.REVERSE_FLOW: runs_backwards,
    Kind.LOW_BATTERY: dies_now_and_then,
    Kind.WRONG_CLOCK: shows_nothing,
    Kind.SLOW: shows_nothing,
    Kind.DEAD: is_never_read,
    Kind.ECHO: is_never_read,
    Kind.ADDRESS_CONFLICT: is_never_read,
    Kind.CONVERTER_REBOOT: is_never_read,
    Kind.LATE_REPLY: is_missed_sometimes,
    Kind.CRC_ERRORS: is_missed_sometimes,
    Kind.FOREIGN_MASTER: is_missed_sometimes,
    Kind.GARBAGE: is_missed_sometimes,
    Kind.UPLINK_DOWN: arrives_late,
}


def sign_of(kind):
    return SIGNS[kind]
