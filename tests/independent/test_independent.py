"""The independent truth: an app that keeps books of its own, and the verdicts on it.

A hundred trials with random faults. What the app itself wrote, and what the test itself finds with
the broker, comes to the same counts as what the probe wrote and the engine concluded.

INDEPENDENT_SEED=7 INDEPENDENT_TRIALS=300    another seed, more of them
INDEPENDENT_ONLY=17                          one trial alone (or several: 3,17)
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.independent import schedule
from tests.independent.schedule import Drawn
from tests.independent.trials import Tried, many_at_once, servers, tried

SEED = int(os.environ.get("INDEPENDENT_SEED", "1"))
TRIALS = int(os.environ.get("INDEPENDENT_TRIALS", "100"))
ONLY = [int(word) for word in os.environ.get("INDEPENDENT_ONLY", "").split(",") if word]
AT_ONCE = 14
"""Trials wait for most of their time."""


class Tally:
    """How the trials came out."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.notes: list[str] = []
        self.failures: list[str] = []
        self.missing: list[str] = []

    def add(self, one: Tried) -> None:
        self.counts[f"verdict {one.verdict}"] += 1
        how = one.comparison
        if one.missing:
            self.missing.append(f"{one.drawn}: {one.missing}")
            return
        if how is None or not how.agrees:
            why = f"{how.differences} {how.contradiction}\n{how.told}" if how else one.error
            self.failures.append(f"{one.drawn}\n{why}\nalone: {one.alone}")
            return
        self.counts["agreed by a margin" if how.margins else "agreed"] += 1
        if one.verdict == "unknown":
            self.notes.append(f"unknown {one.drawn}: {'; '.join(one.reasons)}")
        if how.margins:
            self.notes.append(f"margin {one.drawn}: {'; '.join(how.margins)}")
        if how.not_compared:
            self.counts["not all compared"] += 1
            self.notes.append(f"not compared {one.drawn}: {', '.join(how.not_compared)}")


def all_agree(draw: Callable[[int, int], Drawn], trials: int, folder: Path) -> None:
    """Try so many of a schedule, a dozen at once, and say everything at the end."""
    print(f"seed {SEED}, in {folder}")  # noqa: T201 - shown when it fails
    tally = Tally()
    with servers(folder) as hall, many_at_once(hall, AT_ONCE) as pool:
        numbers = ONLY or range(trials)
        for one in [pool.submit(tried, draw, SEED, number, folder) for number in numbers]:
            tally.add(one.result())
    print("\n".join([*tally.notes, str(dict(tally.counts))]))  # noqa: T201
    assert not tally.failures, "\n\n".join([f"seed {SEED}", *tally.failures])
    if tally.missing:
        told = f"{len(tally.missing)} trials could not run, the others agree: {tally.missing[0]}"
        assert not os.environ.get("CI"), told
        pytest.skip(told)


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.timeout(900)
def test_a_hundred_trials_are_counted_as_their_own_app_counts_them(tmp_path: Path) -> None:
    """Every count of every trial, but for what died exactly between two writers' lines."""
    all_agree(schedule.draw, TRIALS, tmp_path)
