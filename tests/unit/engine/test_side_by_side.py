"""Columns are judged side by side: no sum may differ from that of one column, one row at a time."""

import numpy as np
import pytest

from server.engine.detectors.nets import Nets
from server.engine.detectors.scales import WIDE, onto
from server.engine.detectors.steps import RING, ROOM, ROOM_CELLS, Ring


@pytest.mark.parametrize("columns", [1, 30, WIDE, 2 * WIDE])
def test_sums_do_not_depend_on_how_rows_were_cut_or_how_many_columns_there_are(columns):
    chance = np.random.default_rng(columns)
    total, rows = chance.normal(0, 1e3, columns), chance.normal(0, 1, (16, columns))
    one_by_one = [float(t) for t in total]
    for row in rows.tolist():
        one_by_one = [t + r for t, r in zip(one_by_one, row, strict=True)]

    assert onto(total, rows).tolist() == one_by_one
    for cut in (1, 5, 15):
        assert onto(onto(total, rows[:cut]), rows[cut:]).tolist() == one_by_one


def test_the_net_inflow_of_each_zone_is_the_sum_over_its_meters_in_order():
    meters = [((0, 1),), (), ((3, 1), (0, -1), (2, 1))]
    values = np.array([[0.1, 9.0, 0.2, 0.3], [1.0, 9.0, np.nan, 3.0]])
    is_fresh = np.array([[True, True, True, True], [True, True, False, True]])

    net, fresh = Nets(meters).of(values, is_fresh)

    assert net[:, 0].tolist() == [0.1, 1.0]
    assert np.isnan(net[:, 1]).all()
    assert net[0, 2] == 0.0 + 0.3 - 0.1 + 0.2
    assert np.isnan(net[1, 2])
    assert fresh[:, 2].tolist() == [True, False]


def test_a_ring_of_many_columns_keeps_less_room_and_says_the_same():
    chance = np.random.default_rng(4)
    columns = ROOM_CELLS // 300
    values = chance.normal(0, 1, (500, columns))
    wide, narrow = Ring(columns), Ring(1)
    for row in values:
        wide.push(row[None])
        narrow.push(row[None, :1])

    assert wide.tail().tobytes() == values[-RING:].tobytes()
    seen, alone = wide.see(0, slice(0, 1)), narrow.see(0, slice(0, 1))
    assert (seen.before.tobytes(), seen.recent.tobytes()) == (
        alone.before.tobytes(),
        alone.recent.tobytes(),
    )
    assert wide._bins.nbytes < 8 * ROOM * columns / 4
