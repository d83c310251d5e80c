"""Real trials for tests: on servers of their own, with an app that is written by the test.

    trials = Trials(folder)
    record = trials.run(Scenario(...), app(folder), "redis")
    history = trials.history(record)

``Witness`` is a fault that harms nothing: it shows that a step was reached.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest
from msgspec import Struct

from harness import bundle, steps
from harness.hall import Hall, HallServices
from harness.history import History
from harness.model import Event, Evidence, MissingPartError, Settings, Trigger, step
from harness.protocols import Firing, Stack
from harness.record import TrialRecord
from harness.scenario import Scenario
from harness.stage import Stage
from harness.trial import Plan, merge, run_trial
from harness.workload import Workload
from tests.patience import PATIENCE_S

APP = '''
"""Three tasks with one effect: acknowledged early, acknowledged late, and tried again once."""

import os
import sys
import time

from celery import Celery

app = Celery("way")


def apply(name):
    with open(os.environ["WAY_LOG"], "a") as log:
        log.write(name + "\\n")


@app.task(name="early", acks_late=False)
def early(duration_s):
    work("early", duration_s)


@app.task(name="late", acks_late=True)
def late(duration_s):
    work("late", duration_s)


@app.task(name="again", acks_late=True, bind=True)
def again(self, duration_s):
    work("again", duration_s)
    if not self.request.retries:
        # Not at once: solo may begin the retry before it has acknowledged this one.
        raise self.retry(countdown=0.5)


def work(name, duration_s):
    time.sleep(duration_s / 2)
    apply(name)
    time.sleep(duration_s / 2)


if __name__ == "__main__":
    number, duration_s, names = sys.argv[1:]
    for name in names.split(","):
        for _ in range(int(number)):
            app.send_task(name, (float(duration_s),))
'''
TASKS = ("early", "late", "again")
ACKS_EARLY = ("early_ack_begins", "early_acked")
ACKS_LATE = ("late_ack_begins", "late_acked")
RETURNS = ("callbacks_published", "result_stored")
NOT_ON_THE_WAY = {
    "early": (*ACKS_LATE, "retry_published"),
    "late": (*ACKS_EARLY, "retry_published"),
    "again": (*ACKS_EARLY, *RETURNS),
}
"""Steps that a message of the task does not come by, for what the task is."""
SHORT_POLL: Settings = {
    "broker_transport_options": {"wait_time_seconds": 0, "polling_interval": 0.25}
}
"""For SQS: in kombu 5.5 the main process does nothing else during a poll, of 10 s by default."""
WORKER = "-A way worker --hostname {name}@%h --pool {pool} --concurrency {concurrency}"
QUIETLY = "--loglevel INFO --without-gossip --without-mingle --without-heartbeat"


def app(folder: Path, bin_folder: str = "") -> Workload:
    """A workload written to ``folder``, run by the commands of another environment if named.
    Its option ``names`` says which of the tasks are sent (``early,late``), ``tasks`` of each."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "way.py").write_text(APP)
    at = f"{bin_folder}/" if bin_folder else ""
    return Workload(
        worker=f"{at}celery {WORKER} {QUIETLY}",
        producer=f"{at}python -m way {{tasks}} {{task_duration_s}} {{names}}",
        effect="way:apply",
        env={"WAY_LOG": "{trial_dir}/way.log"},
        options={"names": "early"},
        folder=folder,
    )


class Witness(Struct, frozen=True):
    """Shows that a step was reached, and does nothing."""

    kind: ClassVar[str] = "witness"
    target: ClassVar[str] = "nothing"
    kills: ClassVar[bool] = False
    needs_link: ClassVar[bool] = False
    holds: ClassVar[bool] = False
    stills: ClassVar[bool] = False
    lasts_s: ClassVar[float] = 0.0
    when: Trigger

    def fire(self, stack: Stack, at: Event) -> Firing:
        del stack
        yield 0.0
        return Evidence(landed=True, facts={"pid": at.pid})

    def heal(self, stack: Stack) -> None:
        """Nothing was broken."""


class Trials:
    """Servers, and the trials that run on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._hall = Hall(folder / "servers")
        self.services = HallServices(self._hall)

    def close(self) -> None:
        self._hall.close()

    def run(
        self, scenario: Scenario, workload: Workload, broker: str, profile: str = "default"
    ) -> TrialRecord:
        """The whole of a trial. A server that is missing skips; in CI it fails."""
        index = self.services.next_index()
        plan = Plan(
            id=f"{broker}-{scenario.pool}-{index}",
            name="way",
            claim="",
            broker=broker,
            profile=profile,
            seed=1,
            index=index,
        )
        return there(lambda: run_trial(plan, scenario, workload, self.services, self.folder))

    def history(self, record: TrialRecord) -> History:
        return bundle.read(self.folder / record.bundle).history

    def stage(
        self, scenario: Scenario, workload: Workload, broker: str, settings: Settings
    ) -> Stage:
        """A worker on a real broker, for a test that moves it by itself, and stops it."""
        index = self.services.next_index()
        lease = there(lambda: self.services.lease(broker, index))
        folder = self.folder / f"stage-{index}"
        whole = dict(settings)
        merge(whole, lease.settings())
        return Stage(scenario, workload, self.services.runtime, lease, None, whole, folder)


T = TypeVar("T")


def there(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except MissingPartError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def seen_on_the_way(
    trials: Trials,
    broker: str,
    pool: str,
    commands: Path | None = None,
    task_duration_s: float = 0.1,
) -> History:
    """A worker armed at every step for each of the tasks; one message of each."""
    faults = [Witness(when=step(name, task=task)) for task in TASKS for name in steps.names()]
    scenario = Scenario(
        pool=pool,
        tasks=1,
        task_duration_s=task_duration_s,
        faults=faults,
        options={"names": ",".join(TASKS)},
    )
    workload = app(trials.folder / "app", str(commands or ""))
    stage = trials.stage(scenario, workload, broker, SHORT_POLL if broker == "sqs" else {})
    try:
        stage.start_worker("worker-1", marker=False)
        ready = stage.tick_until(lambda: bool(stage.history().of("worker_ready")), PATIENCE_S)
        assert ready, "the worker is not ready"
        stage.start_producer()
        settled = len(TASKS) + 1  # the retry is a message of its own
        done = stage.tick_until(lambda: len(stage.history().of("acked")) == settled, PATIENCE_S)
        assert done, stage.history().of("started", "finished", "acked")

        def gone_on() -> bool:
            """The last step of each is behind its acknowledgement."""
            return all(
                any(e.data["step"] in {"early_acked", "late_acked"} for e in way(h, task))
                for h in [stage.history()]
                for task in TASKS
            )

        assert stage.tick_until(gone_on, PATIENCE_S), stage.history().of("step_reached")
    finally:
        stage.stop()
    return stage.history()


def way(history: History, task: str) -> list[Event]:
    """The steps that its first message came by, in their order."""
    return [e for e in history.of("step_reached") if (e.task, e.retries) == (task, 0)]


def expected_steps(here: Iterable[str], task: str) -> list[str]:
    """Of the steps that are there, those that a message of the task comes by."""
    return [name for name in here if name not in NOT_ON_THE_WAY[task]]
