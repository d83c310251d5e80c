"""Rates and their 95 % intervals, against values from the literature."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.rates import Rate

pairs = st.integers(0, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("times", "tries", "low", "high"),
    [
        # Wilson: Newcombe 1998 (table I, method 3), and R's binom.confint.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (10, 100, 0.0552, 0.1744),
        (1, 29, 0.0061, 0.1718),
        # Clopper-Pearson at the edges: R's binom.test.
        (0, 100, 0.0, 0.0362),
        (0, 20, 0.0, 0.1684),
        (0, 1, 0.0, 0.975),
        (20, 20, 0.8316, 1.0),
        (3, 3, 0.2924, 1.0),
    ],
)
def test_known_intervals(times: int, tries: int, low: float, high: float) -> None:
    """To four digits, as published."""
    found = Rate(times, tries).interval
    assert found == pytest.approx((low, high), abs=0.00006)


@given(pairs)
def test_the_interval_holds_the_share(pair: tuple[int, int]) -> None:
    """Always within 0 and 1, with what was seen between its bounds; mirrored for misses."""
    rate = Rate(*pair)
    low, high = rate.interval
    assert 0.0 <= low <= high <= 1.0
    if rate.share is not None:
        assert low - 1e-9 <= rate.share <= high + 1e-9
        other_low, other_high = Rate(rate.tries - rate.times, rate.tries).interval
        assert (other_low, other_high) == pytest.approx((1 - high, 1 - low))


@given(st.integers(1, 50), st.integers(2, 20))
def test_more_tries_say_more(tries: int, times_as_many: int) -> None:
    """The same share in more tries has a narrower interval."""
    few, many = Rate(tries, 2 * tries), Rate(tries * times_as_many, 2 * tries * times_as_many)
    assert many.interval[1] - many.interval[0] < few.interval[1] - few.interval[0]


@pytest.mark.parametrize("true_share", [0.05, 0.3, 0.5, 0.9])
def test_it_covers_the_truth_about_as_often_as_it_says(true_share: float) -> None:
    """In 4,000 simulated series of 40 tries, 95 % of the intervals hold the true rate; for
    Wilson's the share is between 91 and 99 %, depending on the rate."""
    chance = random.Random(7)  # noqa: S311 - a simulation
    held = 0
    for _ in range(4000):
        times = sum(chance.random() < true_share for _ in range(40))
        low, high = Rate(times, 40).interval
        held += low <= true_share <= high
    assert 0.91 < held / 4000 < 0.99


def test_in_words() -> None:
    """Times, tries and bounds; a dash where nothing was tried, never a rate of nothing."""
    assert str(Rate(3, 6)) == "3/6 (19\N{EN DASH}81\N{NO-BREAK SPACE}%)"
    assert str(Rate(0, 3)) == "0/3 (0\N{EN DASH}71\N{NO-BREAK SPACE}%)"
    assert str(Rate(0, 0)) == "\N{EN DASH}"
    assert str(Rate(20, 20)) == "20/20 (83\N{EN DASH}100\N{NO-BREAK SPACE}%)"
    assert Rate(0, 0).share is None
    assert Rate(1, 4).share == 0.25


def test_of_no_tries_everything_is_possible() -> None:
    """The interval is all there is."""
    assert Rate(0, 0).interval == (0.0, 1.0)
