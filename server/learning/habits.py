"""The habit of a net inflow: the shape of its days, how their levels differ, and its noise.

Tables are (days, 24), m³/h, NaN where nothing is known. A day is its level (the mean of its hours)
and its shape about it. Shapes and differences of level are learnt for each kind of day, and for the
weekdays among working days as far as they truly differ: their deviations are shrunk towards the
kind's own by empirical Bayes (James and Stein 1961), so that a zone without a weekly pattern keeps
the larger sample. The level that a day is judged about is the median of the days before it.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from server.engine.detectors.forecast import LEVEL_DAYS
from server.engine.detectors.grid import Bools, Floats, Ints
from server.learning.day_kinds import DayKind

KNOWN_HOURS = 18
"""A day with fewer known hours has no level."""

KIND_MIN = 3
"""Days of a kind that make a shape of their own; fewer are taken together with other days of rest,
then with all days."""

ALONE_MIN = 5
"""Days of a weekday from which the median is taken in place of the mean."""

QUIET = 0.6
"""Of the middle sigma: no hour's sigma is less."""

MAD = 1.4826
"""Of a normal distribution: sigma over the median absolute deviation."""

_AROUND = 3
_LEVEL = 24  # the column behind the 24 hours: how the level differs by kind of day


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """What is usual.

    `shape[kind, weekday]` are 24 hours about the level and the difference of the level itself;
    `sigma` are 24 hours; `levels` one a day of what was learnt from, with the difference taken out,
    NaN where unknown.
    """

    shape: Floats
    sigma: Floats
    levels: Floats

    def expected(self, kind: int, weekday: int) -> Floats:
        """Return the hours of a day about the level of its neighbours."""
        shape: Floats = self.shape[kind, weekday]
        hours: Floats = shape[:_LEVEL] + shape[_LEVEL]
        return hours


def habit_of(table: Floats, kinds: Ints, weekdays: Ints, *, learnt: Bools) -> Habit:
    """Return the habit that days show, oldest first; shapes and noise of the `learnt` alone."""
    is_said = ~np.isnan(table)
    hours = is_said.sum(axis=1)
    known = hours >= KNOWN_HOURS
    total = np.where(is_said, table, 0.0).sum(axis=1)
    levels = np.where(known, total / np.maximum(hours, 1), np.nan)
    around = levels - _median(_windows(levels, _AROUND, _AROUND))
    features = np.concatenate([table - levels[:, None], around[:, None]], axis=1)
    shape = _shapes(features, kinds, weekdays, known & learnt)
    told = shape[kinds, weekdays]
    plain = levels - told[:, _LEVEL]
    before = _median(_windows(plain, LEVEL_DAYS, -1))
    errors = table - (before + told[:, _LEVEL])[:, None] - told[:, :_LEVEL]
    return Habit(shape=shape, sigma=_sigma(errors[learnt]), levels=plain)


def _shapes(features: Floats, kinds: Ints, weekdays: Ints, usable: Bools) -> Floats:
    shape = np.empty((len(DayKind), 7, features.shape[1]))
    everything = _centre(features[usable])
    for kind in DayKind:
        mine = usable & (kinds == kind)
        if mine.sum() < KIND_MIN and kind is not DayKind.WORK:
            mine = usable & (kinds != DayKind.WORK)
        shape[kind] = _centre(features[mine]) if mine.sum() >= KIND_MIN else everything
    _tell_weekdays(shape, features, usable & (kinds == DayKind.WORK), weekdays)
    return shape


def _tell_weekdays(shape: Floats, features: Floats, usable: Bools, weekdays: Ints) -> None:
    """Move the weekdays among working days from the shape of all as far as they truly differ."""
    of_all = shape[DayKind.WORK, 0].copy()
    groups = {d: features[usable & (weekdays == d)] for d in range(7)}
    groups = {d: rows for d, rows in groups.items() if len(rows) > 1}
    if len(groups) < KIND_MIN:
        return
    sizes = np.array([len(rows) for rows in groups.values()])
    moves = np.stack([
        _median(rows - of_all) if len(rows) >= ALONE_MIN else _mean(rows - of_all)
        for rows in groups.values()
    ])  # fmt: skip
    spread = np.concatenate([
        (rows - _mean(rows)) ** 2 * len(rows) / (len(rows) - 1) for rows in groups.values()
    ])  # fmt: skip
    for part in (slice(0, _LEVEL), slice(_LEVEL, _LEVEL + 1)):
        within = np.nanmean(_mean(spread)[part])
        between = np.nanmean(moves[:, part] ** 2) - np.mean(within / sizes)
        if not between > 0:
            continue
        for day, size, move in zip(groups, sizes, moves, strict=True):
            weight = between / (between + within / size)
            shape[DayKind.WORK, day, part] += weight * np.nan_to_num(move[part])


def _sigma(errors: Floats) -> Floats:
    """Return sigma of each hour of the day, smoothed over its neighbours."""
    hour = MAD * _median(np.abs(errors))
    smooth = (np.roll(hour, 1) + hour + np.roll(hour, -1)) / 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all unknown: then sigma is unknown
        floor = QUIET * np.nanmedian(smooth)
    sigma: Floats = np.maximum(smooth, floor)
    return sigma


def _centre(rows: Floats) -> Floats:
    """Return the mean of each column without what lies far from its median."""
    middle = _median(rows)
    away = np.abs(rows - middle)
    far = 3 * MAD * _median(away) + 1e-9
    return _mean(np.where(away <= far, rows, np.nan))


def _mean(rows: Floats) -> Floats:
    is_known = ~np.isnan(rows)
    count = is_known.sum(axis=0)
    total = np.where(is_known, rows, 0.0).sum(axis=0)
    mean: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


def _median(rows: Floats) -> Floats:
    """Return the median of each column, NaN left out; NaN where nothing is known."""
    if not len(rows):
        return np.full(rows.shape[1:], np.nan)
    ordered = np.sort(rows, axis=0)  # NaN last
    count = len(rows) - np.isnan(ordered).sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(rows) - 1)
    flat, width = ordered.reshape(-1), ordered[0].size
    column = np.arange(width).reshape(ordered.shape[1:])
    median: Floats = (flat[low * width + column] + flat[high * width + column]) / 2
    return median


def _windows(values: Floats, back: int, on: int) -> Floats:
    """Return for each value those from `back` before to `on` after it: (window, values)."""
    padded = np.concatenate([np.full(back, np.nan), values, np.full(max(on, 0), np.nan)])
    windows: Floats = sliding_window_view(padded, back + on + 1)[: len(values)].T
    return windows
