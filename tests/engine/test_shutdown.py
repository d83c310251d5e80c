"""The fault ``shutdown`` against a worker that ends, or does not; without processes."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from harness.faults.shutdown import shutdown
from harness.model import Event, Evidence, UsageError, step
from harness.protocols import Firing
from harness.scenario import Scenario
from harness.stage import Stage
from harness.workload import Workload
from tests.doubles import PID_MAX, FakeLease, FakeLink, FakeProbe, FakeRuntime

WHEN = step("started")


class Scene:
    """One worker on stand-ins, which came to the step."""

    def __init__(self, folder: Path) -> None:
        runtime = FakeRuntime()
        workload = Workload(worker="work {name}", producer="produce")
        self.stage = Stage(
            Scenario(), workload, runtime, FakeLease(), FakeLink(), {}, folder / "trial"
        )
        self.stage.start_worker("worker-1", marker=True)
        self.worker = runtime["worker-1"]
        self.probe = FakeProbe(self.stage.folder)
        now_s = time.monotonic()
        self.at = Event("step_reached", time.time(), now_s, PID_MAX, "worker-1")

    def told(self, kind: str, how: str) -> None:
        self.probe.notes(kind, how=how)
        self.stage.tick()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def evidence(firing: Firing) -> Evidence:
    """Let it come to its end."""
    while True:
        try:
            time.sleep(min(next(firing), 0.01))
        except StopIteration as end:
            found: Evidence = end.value
            return found


@pytest.mark.parametrize("name", ["SIGTERM", "SIGQUIT", "SIGINT"])
def test_a_worker_that_took_note_and_ended_was_shut_down(scene: Scene, name: str) -> None:
    """The signal goes to the command alone; the evidence says what Celery made of it, and from
    when on: what that worker has in its hands then is what was hit."""
    firing = shutdown(name, when=WHEN).fire(scene.stage, scene.at)
    next(firing)
    assert scene.worker.signals == [signal.Signals[name]]
    scene.told("worker_shutting_down", how="Warm")
    next(firing)
    scene.worker.ends(status=0)
    found = evidence(firing)
    assert found.landed, found.why_not
    assert found.facts["signals"] == [name]
    assert found.facts["shutdown"] == "Warm"
    assert found.facts["exit"] == f"pid {PID_MAX} exited with status 0"
    assert found.facts["told_role"] == "worker-1"


def test_a_second_signal_makes_it_another(scene: Scene) -> None:
    """One after the other, as long as the worker runs; the last that Celery told counts."""
    fault = shutdown("SIGINT", "SIGINT", "SIGINT", when=WHEN, every_s=0.05)
    firing = fault.fire(scene.stage, scene.at)
    next(firing)
    scene.told("worker_shutting_down", how="Warm")
    while len(scene.worker.signals) < 2:
        time.sleep(min(next(firing), 0.01))
    scene.told("worker_shutting_down", how="Cold")
    scene.worker.ends(status=1)
    found = evidence(firing)
    assert found.landed
    assert (found.facts["shutdown"], found.facts["signals"]) == ("Cold", ["SIGINT", "SIGINT"])


@pytest.mark.parametrize(("how", "told"), [("stop", "Warm"), ("terminate", "Cold")])
def test_a_shutdown_that_was_not_announced(scene: Scene, how: str, told: str) -> None:
    """The handler failed before it could tell, and the worker ends all the same."""
    firing = shutdown("SIGQUIT", when=WHEN).fire(scene.stage, scene.at)
    next(firing)
    scene.told("worker_stopping", how=how)
    scene.worker.ends(status=1)
    found = evidence(firing)
    assert found.landed
    assert found.facts["shutdown"] == f"{told}, unannounced"


def test_a_worker_that_does_not_end_has_not_been_shut_down(scene: Scene) -> None:
    """The time is bounded, and the fault then has not landed."""
    firing = shutdown(within_s=0.1, when=WHEN).fire(scene.stage, scene.at)
    scene.told("worker_shutting_down", how="Warm")
    found = evidence(firing)
    assert not found.landed
    assert found.why_not == "the worker had not ended 0.1 s after it was told to"


def test_a_signal_that_celery_did_not_see_proves_nothing(scene: Scene) -> None:
    """A shell in front of the worker may have taken it, and died of it."""
    firing = shutdown(when=WHEN).fire(scene.stage, scene.at)
    next(firing)
    scene.worker.ends(signal=15)
    found = evidence(firing)
    assert not found.landed
    assert found.why_not == "SIGTERM did not reach Celery"


def test_a_signal_that_tells_no_worker_to_end() -> None:
    """Named as the system names them."""
    with pytest.raises(UsageError, match="SIGTERM"):
        shutdown("SIGTERN", when=WHEN)
