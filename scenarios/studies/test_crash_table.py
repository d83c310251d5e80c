"""What becomes of a message when something dies at one step of its life.

Each step, by kind of death, broker and profile, in turn: one message, one death, then a fresh
worker. Run by name: ``ackproof study --scenario crash_table``.
"""

import pytest

from harness.faults.freeze import freeze
from harness.faults.raises import raises
from harness.faults.sigkill import sigkill
from harness.model import step
from harness.plugin import RunTrial
from harness.protocols import Fault
from harness.scenario import Scenario
from harness.steps import absent, names

ROUNDS = 3
DEATHS = ("main killed", "child killed", "worker killed", "worker frozen", "exception")
FROZEN_S = 6.0
"""Longer than the visibility timeout of the hardened profiles here, 3 s, and the restore pass
that comes after it."""
IN_THE_PRODUCER = ("publishing", "published")
BEFORE_THE_POOL = ("taken", "noted", "received", "reserved", "sent")
EARLY = ("early_ack_begins", "early_acked")
LATE = ("late_ack_begins", "late_acked")
MEANWHILE = ("accepted", *EARLY)
"""Main and the pool go on side by side there: main dies when the body has begun."""
# A short poll: of a long one, moto hands a message to whoever has died meanwhile.
SHORT_POLL = {"broker_transport_options": {"wait_time_seconds": 0, "polling_interval": 0.25}}


def deadly(death: str, name: str) -> Fault:
    """The fault: at the first message that comes there, of the task that does come there."""
    when = step(name, task="*.go_again" if name == "retry_published" else "")
    match death:
        case "worker frozen":
            return freeze("worker", for_s=FROZEN_S, when=when)
        case "exception":
            return raises(when=when)
        case _:
            until = "effect_begin" if name in MEANWHILE else ""
            return sigkill(death.partition(" ")[0], when=when, until=until)


def exists(death: str, name: str, broker: str, *, acks_late: bool) -> bool:
    """Whether a message comes by this step here, with something there to be killed."""
    if absent(name, broker) or name in IN_THE_PRODUCER or name in (EARLY if acks_late else LATE):
        return False
    # The pool has not got the message yet, or is done with it.
    return death != "child killed" or name not in {*BEFORE_THE_POOL, *LATE}


def scenario(death: str, broker: str, profile: str) -> Scenario:
    """Its last step first, and so the messages that nobody holds last: the end of one that may
    be on its way takes longest to know, and would be waited for in each later turn."""
    late = profile != "default"
    steps = [name for name in names() if exists(death, name, broker, acks_late=late)]
    return Scenario(
        workload="workloads/journey",
        tasks=len(steps),
        task_duration_s=0.6,
        concurrency=1,
        options={"retrying": "1"},
        settings=SHORT_POLL if broker == "sqs" else {},
        faults=[deadly(death, name) for name in reversed(steps)],
        in_turn=True,
        patience_s=12.0,
    )


@pytest.mark.ackproof(profiles=["default", "acks_late", "hardened", "deduplicated"])
@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("turn", range(ROUNDS))
def test_crash_table(run: RunTrial, death: str, turn: int) -> None:
    del turn
    name = f"crash_table-{death.replace(' ', '-')}"
    run(scenario(death, run.broker, run.profile), name=name).assert_holds()
