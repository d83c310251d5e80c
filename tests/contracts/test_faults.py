"""What every fault owes the engine, shown on real workers, a real Redis and a real Toxiproxy.

The faults are found by walking ``harness/faults/``: a new one is tested as it stands, by the
``EXAMPLES`` of its module. Only how its effect shows from outside must be told here, by its
kind: ``SHOWS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from msgspec import Struct

from harness import bundle, faults, trial, workload
from harness.hall import Hall, HallServices
from harness.history import History
from harness.model import Event, Evidence, Outcome
from harness.protocols import Fault, Firing, Link, Stack
from harness.record import FaultRecord, TrialRecord
from harness.scenario import Scenario
from tests.contracts.watching import Ping, Sample, Watch
from tests.trials import there

pytestmark = pytest.mark.slow

MARGIN_S = 25.0
"""Beyond what its plan says that it lasts: what it may wait for to happen."""
STOPS_WITHIN_S = 0.5
TASK_S = 1.0
EXAMPLES = [
    pytest.param(
        example,
        id=f"{name}-{number}",
        # On every commit the first of each kind.
        marks=[pytest.mark.full] if number else [],
    )
    for name in faults.names()
    for number, example in enumerate(faults.examples(name))
]


class HealedTwice(Struct, frozen=True):
    """The fault, healed before it is at work, and twice when it is done."""

    inner: Any

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def fire(self, stack: Stack, at: Event) -> Firing:
        self.inner.heal(stack)
        evidence: Evidence = yield from self.inner.fire(stack, at)
        return evidence

    def heal(self, stack: Stack) -> None:
        self.inner.heal(stack)
        self.inner.heal(stack)


class Lent(HallServices):
    """What a run lends to a trial, and the link that it lent."""

    made: Link | None = None

    def link(self, name: str, host: str, port: int, folder: Path) -> Link:
        self.made = super().link(name, host, port, folder)
        return self.made

    def address(self) -> tuple[str, int] | None:
        return (self.made.host, self.made.port) if self.made else None


class Seen(NamedTuple):
    """A trial with one fault, as it was judged and as it looked from outside."""

    record: TrialRecord
    history: History
    watch: Watch
    log: str

    @property
    def fault(self) -> FaultRecord:
        (fault,) = self.record.faults
        return fault

    @property
    def struck(self) -> Event:
        (event,) = self.history.of("fault_fired")
        return event

    @property
    def done(self) -> Event:
        (event,) = self.history.of("fault_done")
        return event

    @property
    def before(self) -> Sample:
        return self.watch.before(self.struck.mono_s)

    @property
    def after(self) -> Sample:
        return self.watch.after(self.done.mono_s)

    @property
    def meanwhile(self) -> list[Sample]:
        return self.watch.during(self.struck.mono_s, self.done.mono_s)

    @property
    def main_pid(self) -> int:
        return next(e.pid for e in self.history.of("worker_ready") if e.role == "worker-1")

    @property
    def pings(self) -> list[Ping]:
        """Those that were asked before the fault was done."""
        until_s = self.done.mono_s
        return [one for one in self.watch.pings if one.mono_s <= until_s]


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    hall = Hall(tmp_path_factory.mktemp("faults") / "servers")
    try:
        yield hall
    finally:
        hall.close()


def run(hall: Hall, folder: Path, fault: Fault) -> Seen:
    """One small trial, through the whole engine.

    Of one message: a second would come by while the first one's worker is held or killed, and Redis
    may have handed it out then to nobody who would note it (R16).
    """
    scenario = Scenario(
        workload="workloads/journey",
        faults=(cast("Fault", HealedTwice(fault)),),
        settings={"broker_transport_options": {"visibility_timeout": 2}},
        tasks=1,
        task_duration_s=TASK_S,
    )
    lent = Lent(hall)
    plan = trial.Plan(
        id="trial",
        name="a fault",
        claim="it does what it says",
        broker="redis",
        profile="hardened",
        seed=1,
        index=lent.next_index(),
    )
    app = workload.load(scenario.workload, folder)
    at = folder / "trials" / plan.id
    with Watch(at / "events", lent.address) as watch:
        record = there(lambda: trial.run_trial(plan, scenario, app, lent, folder))
    log = (at / "logs" / "worker-1.log").read_text()
    return Seen(record, bundle.read(at).history, watch, log)


# -- how the effect of each kind shows from outside -------------------------------------


def killed(seen: Seen, fault: Fault) -> None:
    """The pid is there, then it is not; of a child's kill, the main process is none the wiser."""
    assert seen.main_pid in seen.before.status
    assert "Warm shutdown" not in seen.log
    if fault.target == "child":
        (victim,) = {e.pid for e in seen.history.of("step_reached") if e.data["step"] == "effect"}
        assert victim in seen.before.status
        assert victim not in seen.after.status
        assert seen.main_pid in seen.after.status
    else:
        assert seen.after.status == {}


def noticed(seen: Seen, fault: Fault) -> None:
    """Told first, alive all through its notice, and then gone, in the middle of its task."""
    assert "Warm shutdown" in seen.log
    killed_s = seen.fault.evidence["killed_mono_s"]
    assert isinstance(killed_s, float)
    assert killed_s - seen.struck.mono_s >= fault.lasts_s
    notice = seen.watch.during(seen.struck.mono_s, killed_s)
    assert all(seen.main_pid in one.status for one in notice)
    assert seen.after.status == {}


def shut_down(seen: Seen, fault: Fault) -> None:
    """Celery says so, warm or cold, and ends by itself; of it, nothing is left."""
    cold = "SIGQUIT" in str(fault) or str(fault).count("SIGINT") > 1
    assert ("again will terminate all running tasks!" in seen.log) == cold
    assert ("worker: Warm shutdown" in seen.log) == ("SIGQUIT" not in str(fault))
    assert seen.main_pid in seen.before.status
    assert seen.after.status == {}
    assert seen.fault.evidence["shutdown"] == ("Cold" if cold else "Warm")
    assert f"pid {seen.main_pid} exited with status" in str(seen.fault.evidence["exit"])


def frozen(seen: Seen, fault: Fault) -> None:
    """Stopped for as long as it says, they alone, and going on afterwards."""
    (held,) = seen.history.of("step_reached")
    everybody = {pid for one in seen.meanwhile for pid in one.status}
    targets = {"child": {held.pid}, "main": {seen.main_pid}}.get(fault.target, everybody)
    stopped = [one for one in seen.watch.samples if one.stopped]
    assert set().union(*(one.stopped for one in stopped)) == targets
    whole_s = next(one.mono_s for one in stopped if one.stopped == targets)
    # It counts from when all of them are stopped, which is after it has struck.
    looks = seen.watch.during(whole_s, seen.struck.mono_s + fault.lasts_s)
    assert all(one.stopped == targets for one in looks)
    assert not seen.after.stopped


def raised(seen: Seen, fault: Fault) -> None:
    """It is in the worker's log, and that task has failed."""
    del fault
    assert "RuntimeError: Ackproof raised this at effect_begin" in seen.log
    states = {e.task_id: e.data["state"] for e in seen.history.of("finished") if e.task_id}
    assert states[seen.struck.task_id] == "FAILURE"


def delayed(seen: Seen, fault: Fault) -> None:
    """By its own times, that task took as much longer; longer than its visibility timeout, so that
    it may have been run once more meanwhile."""
    run = next(one for one in seen.history.executions if one.message == seen.struck.message)
    assert run.finished_s is not None
    assert run.finished_s - run.started_s >= TASK_S + fault.lasts_s


def cut(seen: Seen, fault: Fault) -> None:
    """Every connection that the worker had is gone, and a stranger's through the link was cut."""
    del fault
    assert seen.before.connections
    assert not seen.before.connections & seen.after.connections
    assert None in [one.took_s for one in seen.pings]


def stalled(seen: Seen, fault: Fault) -> None:
    """No stranger's question through the link is answered while it is there: but for an answer that
    the proxy had in its hands already. Then it is, on the connection on which it was asked; and
    nobody's connection is closed meanwhile."""
    from_s, until_s = seen.struck.mono_s + STOPS_WITHIN_S, seen.struck.mono_s + fault.lasts_s
    assert None not in [one.took_s for one in seen.pings]
    answered = [one.mono_s + (one.took_s or 0.0) for one in seen.watch.pings]
    assert [at_s for at_s in answered if from_s <= at_s < until_s] == []
    assert [
        one for one in seen.watch.pings if one.mono_s < until_s <= one.mono_s + (one.took_s or 0)
    ]
    assert seen.before.connections
    assert all(seen.before.connections <= one.connections for one in seen.meanwhile)


SHOWS: Mapping[str, Callable[[Seen, Fault], None]] = {
    "sigkill": killed,
    "spot": noticed,
    "shutdown": shut_down,
    "freeze": frozen,
    "raises": raised,
    "delay": delayed,
    "reset": cut,
    "stall": stalled,
}


@pytest.mark.parametrize("fault", EXAMPLES)
def test_it_does_what_it_says(hall: Hall, tmp_path: Path, fault: Fault) -> None:
    """It lands, on a message that is named, within its time; its effect is seen from outside; and
    the trial comes to its end, with nothing lost. Healing it once more changes nothing."""
    seen = run(hall, tmp_path, fault)
    assert seen.record.verdict is Outcome.HOLDS, seen.record.reasons
    assert seen.fault.landed
    assert seen.fault.hit
    assert (seen.fault.kind, seen.fault.target) == (fault.kind, fault.target)
    took_s = seen.done.mono_s - seen.struck.mono_s
    assert fault.lasts_s <= took_s <= fault.lasts_s + MARGIN_S
    assert (seen.record.counts.lost, seen.record.counts.stranded) == (0, 0)
    SHOWS[fault.kind](seen, fault)


def test_every_fault_is_found() -> None:
    """By its file; each has examples, and says of what kind it is."""
    kinds = {example.kind for name in faults.names() for example in faults.examples(name)}
    assert kinds == set(SHOWS) == set(faults.names())
