"""A run is killed at a hundred random moments, and each time nothing of it is left.

KILLS_SEED=7 KILLS=300    another seed, more of them
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.live.command import ACKPROOF, Run, listening, short_folder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.full,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]

SEED = int(os.environ.get("KILLS_SEED", "1"))
KILLS = int(os.environ.get("KILLS", "100"))
AT_ONCE = 4
"""On two cores that is a busy machine."""
GONE_WITHIN_S = 5.0
LATEST_S = 14.0
"""By then most runs are over: so some are killed as they end, or not at all."""
SCENARIOS = ("calm", "worker_sigkill", "network_stall", "spot_notice")
BROKERS = ("redis", "rabbitmq", "sqs")


class Kill(NamedTuple):
    """One run that was killed, and what was found after that."""

    number: int
    broker: str
    scenario: str
    after_s: float
    processes: int
    """Of the run, when it was killed."""
    gone_s: float
    left: str
    """What lived, listened or lay about after ``GONE_WITHIN_S``; empty: nothing."""


def kill(number: int) -> Kill:
    """Start a run, kill it at a moment that its number and the seed decide, and look."""
    draw = random.Random(f"{SEED}/{number}")  # noqa: S311 - a schedule, no secret
    broker, scenario = draw.choice(BROKERS), draw.choice(SCENARIOS)
    after_s = draw.uniform(0.0, LATEST_S)
    folder = short_folder()
    words = ("study", "--jobs=2", f"--broker={broker}", f"--scenario={scenario}")
    run = Run(folder, ACKPROOF, *words, f"--out={folder / 'out'}")
    try:
        time.sleep(after_s)
        ports, processes = run.ports(), len(run.family())
        killed_s = time.monotonic()
        run.process.kill()
        run.process.wait()
        left = ""
        try:
            run.gone(GONE_WITHIN_S)
            assert not listening(ports), f"listening: {listening(ports)}"
        except AssertionError as error:
            left = str(error).partition("\n")[0]
        gone_s = time.monotonic() - killed_s
        return Kill(number, broker, scenario, after_s, processes, gone_s, left)
    finally:
        run.end()
        shutil.rmtree(folder, ignore_errors=True)


def table(kills: list[Kill]) -> str:
    """By how late the kill came: how many there were, of how many processes, and how long it took
    until nothing was left."""
    by_time: defaultdict[int, list[Kill]] = defaultdict(list)
    for one in kills:
        by_time[int(one.after_s // 2) * 2].append(one)
    lines = [
        f"seed {SEED}: {len(kills)} kills",
        "killed after | kills | processes | gone, s | left",
    ]
    for after_s, these in sorted(by_time.items()):
        gone_s = [one.gone_s for one in these]
        processes = [one.processes for one in these]
        lines.append(
            f"{after_s:2d} to {after_s + 2:2d} s   | {len(these):5d} | "
            f"{min(processes):3d} to {max(processes):2d} | "
            f"{statistics.median(gone_s):.2f} ({max(gone_s):.2f}) | "
            f"{sum(bool(one.left) for one in these)}"
        )
    return "\n".join(lines)


def test_nothing_is_left_of_a_hundred_killed_runs() -> None:
    """No process, no port and no temporary file, five seconds after SIGKILL, on a busy machine."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        kills = list(pool.map(kill, range(KILLS)))
    print(table(kills))  # noqa: T201 - `make full` shows it
    wrong = [one for one in kills if one.left]
    assert not wrong, "\n".join([table(kills), *map(str, wrong)])
    at_work = [one for one in kills if one.processes]
    assert len(at_work) > KILLS // 2, "most runs were over before they were killed"
