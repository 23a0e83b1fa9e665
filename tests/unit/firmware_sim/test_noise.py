"""Chance without state."""

from statistics import fmean, pstdev

from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.core.noise import bell, key_of, smooth, uniform

KEY = key_of(7, "a stream")


def test_the_same_key_and_count_give_the_same_number_for_ever() -> None:
    # Written down once: a change here would change every recording that was ever made.
    assert key_of(7, "a stream") == 3852372094394749552
    assert uniform(KEY, 12) == 0.3275904301366034
    assert bell(KEY, 12) == 0.763665955


def test_seeds_and_names_give_streams_of_their_own() -> None:
    keys = [key_of(seed, name) for seed in (1, 2) for name in ("a", "b", "ab", "ba")]

    assert len(set(keys)) == len(keys)


def test_bell_has_mean_0_and_deviation_1() -> None:
    numbers = [bell(KEY, n) for n in range(20_000)]

    assert abs(fmean(numbers)) < 0.03
    assert abs(pstdev(numbers) - 1) < 0.03


@given(st.integers(min_value=0, max_value=2**41))
def test_uniform_stays_between_0_and_1(n: int) -> None:
    assert 0 <= uniform(KEY, n) < 1


@given(st.integers(min_value=0, max_value=2**41), st.integers(min_value=100, max_value=10**8))
def test_smooth_makes_no_jump(at: int, period: int) -> None:
    step = abs(smooth(KEY, at + 1, period) - smooth(KEY, at, period))

    assert step <= 1.5 * 7 / period + 1e-9
