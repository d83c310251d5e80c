"""What each trial is: drawn from the seed and its number alone, so that one can be run again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from harness import steps
from harness.brokers.redis import restored_after
from harness.checks.duplicate_executions_at_most import duplicate_executions_at_most
from harness.checks.no_lost_tasks import no_lost_tasks
from harness.checks.no_unexpected_tasks import no_unexpected_tasks
from harness.faults.delay import delay
from harness.faults.freeze import freeze
from harness.faults.raises import raises
from harness.faults.reset import reset
from harness.faults.shutdown import shutdown
from harness.faults.sigkill import sigkill
from harness.faults.spot import spot
from harness.faults.stall import stall
from harness.model import Settings, Trigger, step
from harness.protocols import Fault
from harness.scenario import Scenario

BROKERS = ("redis", "rabbitmq", "sqs")
ELSEWHERE = {"effect_begin", "effect"}
"""Steps of a declared effect; the witness declares none."""
CLAIMS = (no_lost_tasks(), duplicate_executions_at_most(0), no_unexpected_tasks())
"""What every trial claims, whatever is done to it; often it is broken, and rightly so."""
WAYS = ("plain", "retries", "fails", "dies_once")
REPLACED = 0.9
"""How often a worker that ended is replaced."""
FEW = {"retry_published"}
ERRORS = ("builtins:RuntimeError", "builtins:ConnectionResetError", "builtins:MemoryError")
KINDS = {
    "sigkill": 10,
    "freeze": 3,
    "raises": 3,
    "delay": 3,
    "spot": 2,
    "shutdown": 2,
    "reset": 1,
    "stall": 1,
}
OPTIONS: dict[str, Settings] = {
    "redis": restored_after(2),
    "rabbitmq": {},
    "sqs": {"visibility_timeout": 3, "wait_time_seconds": 0, "polling_interval": 0.2},
}
"""So short that what is to come back does so within the trial's patience."""


@dataclass(frozen=True)
class Drawn:
    """One trial of the schedule."""

    seed: int
    number: int
    broker: str
    profile: str
    scenario: Scenario

    def __str__(self) -> str:
        faults = "; ".join(f"{fault.kind} {fault.target} at {fault.when}" for fault in self.faults)
        one = self.scenario
        return (
            f"#{self.number} {self.broker} {self.profile} {one.pool} x{one.concurrency} "
            f"{one.workers} worker(s), {one.tasks} tasks of {one.task_duration_s} s: {faults}"
        )

    @property
    def faults(self) -> tuple[Fault, ...]:
        return tuple(self.scenario.faults)


def draw(seed: int, number: int) -> Drawn:
    """The trial with this number in the schedule of this seed."""
    random = Random(f"{seed}/{number}")  # noqa: S311 - a schedule, no secret
    broker = random.choice(BROKERS)
    profile = random.choice(("default", "acks_late", "hardened", "deduplicated"))
    pool = random.choice(("prefork",) * 6 + ("threads", "solo"))
    tasks = random.randint(3, 8)
    settings: dict[str, object] = {"broker_transport_options": OPTIONS[broker]}
    if profile in {"default", "acks_late"}:
        settings["worker_prefetch_multiplier"] = random.choice((1, 2, 4))
    found = [_fault(random, broker, profile, pool, tasks) for _ in range(random.choice((1, 1, 2)))]
    ways = ["plain", *random.choices(WAYS, (8, 2, 2, 1), k=3)]
    if any(fault.when.step == "retry_published" for fault in found):
        ways[0] = "retries"
    duration_s = round(random.uniform(0.05, 0.4), 2)
    match random.randrange(10):
        case 0:  # it outlasts the visibility timeout: two runs at once
            tasks, duration_s = min(tasks, 4), 2.4
            options = {**OPTIONS[broker], "visibility_timeout": 1}
            settings["broker_transport_options"] = options if OPTIONS[broker] else {}
        case 1:  # and this its time limit: killed by its own worker
            tasks, duration_s = min(tasks, 4), 1.4
            settings["task_time_limit"] = 1
        case 2:
            settings["worker_max_tasks_per_child"] = 1
    scenario = Scenario(
        workload="witness",
        tasks=tasks,
        task_duration_s=duration_s,
        workers=random.choice((1, 1, 2)),
        concurrency=1 if pool == "solo" else random.randint(1, 3),
        pool=pool,
        settings=settings,
        options={"ways": ",".join(ways), "gap_s": str(random.choice((0, 0, 0.05)))},
        replace_workers=random.random() < REPLACED,
        faults=found,
        checks=CLAIMS,
        patience_s=10.0,
    )
    return Drawn(seed, number, broker, profile, scenario)


def _fault(random: Random, broker: str, profile: str, pool: str, tasks: int) -> Fault:
    (kind,) = random.choices(tuple(KINDS), tuple(KINDS.values()))
    child = kind in {"sigkill", "freeze"} and pool == "prefork" and random.random() < 0.5
    when = a_step(random, broker, profile, pool, tasks, child=child)
    target = "child" if child else random.choice(("main", "worker"))
    for_s = round(random.uniform(0.2, 4.0), 1)
    signal = random.choice(("SIGTERM", "SIGQUIT"))
    made: dict[str, Callable[[], Fault]] = {
        "sigkill": lambda: sigkill(target, when=when),
        "freeze": lambda: freeze(target, for_s=for_s, when=when),
        "raises": lambda: raises(random.choice(ERRORS), when=when),
        "delay": lambda: delay(for_s=for_s, when=when),
        "spot": lambda: spot(notice_s=round(random.uniform(0.0, 0.5), 2), when=when),
        "shutdown": lambda: shutdown(signal, within_s=20.0, when=when),
        "reset": lambda: reset(when=when),
        "stall": lambda: stall(for_s=for_s, when=when),
    }
    return made[kind]()


def a_step(
    random: Random, broker: str, profile: str, pool: str, tasks: int, *, child: bool = False
) -> Trigger:
    """Any that there is here; with ``child``, where a pool process has the message."""
    names = [
        name
        for name in steps.names()
        if name not in ELSEWHERE
        and not steps.absent(name, broker, pool)
        and not name.startswith("late_ack" if profile == "default" else "early_ack")
    ]
    if child:
        names = names[names.index("accepted") :]
    name = random.choice(names)
    # Of the tasks at least every fourth is tried again, when that is what a fault waits for.
    return step(name, nth=random.randint(1, max(1, tasks // 4 if name in FEW else tasks)))
