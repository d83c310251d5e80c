"""How often a hardened Redis worker that is killed takes a message with it.

    .venv/bin/python benchmarks/redis_kills.py [TRIALS]

A worker of two slots runs short tasks and is killed, all of it, at one of the steps of some
message's life, drawn by the seed. Between the pop of a message (the reply of BRPOP) and its note
in ``unacked``, on another connection, nobody holds it: a kill in between loses it, acknowledged
late or not (celery/celery#7950, celery/kombu#305). Nothing but the moment decides, so what is
printed is a rate of this machine's, with its interval.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.rates import Rate

TRIALS = 60
SCENARIO = """
import random

import pytest

from harness.checks.no_lost_tasks import no_lost_tasks
from harness.checks.no_stranded_tasks import no_stranded_tasks
from harness.faults.sigkill import sigkill
from harness.model import step
from harness.scenario import Scenario

CHANCE = random.Random(7)
STEPS = ["received", "started", "finished", "late_acked"]
MOMENTS = [
    (CHANCE.choice(STEPS), CHANCE.randrange(5, 60))
    for _ in range({trials})
]


@pytest.mark.ackproof(brokers=["redis"], profiles=["hardened"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_kill(run, moment):
    name, nth = moment
    run(
        Scenario(
            tasks=80,
            task_duration_s=0.1,
            faults=[sigkill("worker", when=step(name, nth=nth))],
            checks=[no_lost_tasks(), no_stranded_tasks()],
        )
    )
"""


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "test_kill.py"
        file.write_text(SCENARIO.replace("{trials}", str(trials)))
        command = [str(Path(sys.executable).parent / "ackproof"), "study", str(file)]
        subprocess.run([*command, "--out", folder], check=False, stdout=subprocess.DEVNULL)
        (stored,) = Path(folder).glob("*/run.json")
        record = json.loads(stored.read_text())
    concluded = [trial for trial in record["trials"] if trial["verdict"] != "unknown"]
    lost = [trial for trial in concluded if trial["counts"]["lost"]]
    locked = [t for t in concluded if any("unacked_mutex" in one["why"] for one in t["stranded"])]
    print(f"{record['machine']}, {record['jobs']} at once: {trials} kills of a hardened worker")
    print(f"  lost a message: {Rate(len(lost), len(concluded))} of those with a conclusion")
    print(f"  left a message behind its restore lock: {Rate(len(locked), len(concluded))}")
    print(f"  no conclusion: {trials - len(concluded)}")


if __name__ == "__main__":
    main()
