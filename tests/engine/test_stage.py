"""The heartbeat of a trial: triggers, faults at work, deaths, replacements; without processes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from msgspec import Struct

from harness.failpoints import MEETING, PACE
from harness.model import Event, Evidence, HarnessError, StartError, Trigger, step
from harness.protocols import Fault, Firing, Stack
from harness.scenario import Scenario
from harness.stage import SPARE_WORKERS, Stage
from harness.workload import Workload
from tests.doubles import PID_MAX, FakeLease, FakeLink, FakeProbe, FakeRuntime

WORKLOAD = Workload(worker="work {name}", producer="produce", effects="effects")
FIRED: list[Event] = []
"""The events that fired a Planned, in order."""
HEALED: list[str] = []


class Planned(Struct, frozen=True):
    """A fault that only says that it was there; ``fails`` raises, ``waits`` is never done,
    ``meets`` has another process wait as well."""

    kind: ClassVar[str] = "planned"
    kills: ClassVar[bool] = False
    holds: ClassVar[bool] = True
    stills: ClassVar[bool] = False
    needs_link: ClassVar[bool] = False
    target: str
    when: Trigger
    does: str = ""
    victims: tuple[int, ...] = ()

    def fire(self, stack: Stack, at: Event) -> Firing:
        FIRED.append(at)
        if self.does == "fails":
            raise RuntimeError("it broke")
        while self.does == "waits":
            yield 0.0
        if self.does == "meets":
            stack.meet(at, "effect_begin")
            while not stack.met(at):
                yield 0.0
        yield 0.0
        facts: dict[str, object] = {}
        if self.victims:
            facts = {"victims": list(self.victims), "killed_mono_s": at.mono_s + 0.001}
        return Evidence(landed=True, facts=facts)

    def heal(self, stack: Stack) -> None:
        del stack
        HEALED.append(self.target)


class Scene:
    """A stage on stand-ins, and what happens on it."""

    def __init__(self, folder: Path, *faults: Fault, **scenario: object) -> None:
        self.folder = folder / "trial"
        self.runtime = FakeRuntime()
        self.ended = ""
        self.stage = Stage(
            Scenario(faults=faults, **scenario),  # type: ignore[arg-type]
            WORKLOAD,
            self.runtime,
            FakeLease(),
            FakeLink(),
            {"task_acks_late": True},
            self.folder,
            lambda: self.ended,
        )
        self.stage.start_worker("worker-1", marker=True)

    def probe(self, role: str = "worker-1", pid: int = PID_MAX) -> FakeProbe:
        return FakeProbe(self.folder, role, pid)

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.stage.tick()

    def events(self, kind: str) -> list[Event]:
        return [event for event in self.stage.history().events if event.kind == kind]


Build = Callable[..., Scene]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    monkeypatch.setattr("harness.stage.TICK_S", 0.0)
    monkeypatch.setattr("harness.stage.SERVER_LOOK_S", 0.0)
    FIRED.clear()
    HEALED.clear()
    return lambda *faults, **scenario: Scene(tmp_path, *faults, **scenario)


# -- triggers -----------------------------------------------------------------------------


def test_a_fault_fires_once_when_its_step_was_reached(scene: Build) -> None:
    """The probes count, over all processes; what comes to other steps fires nothing."""
    stage = scene(Planned("a", step("started", nth=3)))
    (armed,) = json.loads((stage.folder / "steps" / "armed.json").read_text())
    assert (armed["step"], armed["nth"], armed["index"]) == ("started", 3, 0)
    stage.probe().notes("started", "t1")
    stage.tick()
    assert FIRED == []
    stage.probe("worker-2", pid=PID_MAX + 1).reaches("started", "t3")
    stage.tick(3)
    assert [(event.task_id, event.role) for event in FIRED] == [("t3", "worker-2")]
    (fired,) = stage.events("fault_fired")
    (done,) = stage.events("fault_done")
    assert fired.data["index"] == done.data["index"] == 0
    assert (fired.task_id, fired.data["step"], fired.data["held"]) == ("t3", "started", True)
    assert done.data["landed"] is True
    assert json.loads((stage.folder / "steps" / "armed.json").read_text()) == []


def test_steps_reached_at_once_fire_each_their_own(scene: Build) -> None:
    """Two faults among the events of one look."""
    stage = scene(Planned("a", step("started", nth=1)), Planned("b", step("started", nth=2)))
    stage.probe().reaches("started", "t1", index=0)
    stage.probe().reaches("started", "t2", index=1)
    stage.tick(3)
    assert [event.task_id for event in FIRED] == ["t1", "t2"]
    assert sorted(str(event.data["index"]) for event in stage.events("fault_done")) == ["0", "1"]


def test_who_waits_at_a_step_is_let_go_when_the_fault_is_done(scene: Build) -> None:
    """And not before: whatever the fault does, it does there."""
    stage = scene(Planned("a", step("started")))
    waits = os.open(stage.folder / "steps" / "0.fifo", os.O_RDWR | os.O_NONBLOCK)
    try:
        stage.probe().reaches("started", "t1")
        with pytest.raises(BlockingIOError):
            os.read(waits, 10)
        stage.tick(3)
        assert os.read(waits, 10) == b"go"
    finally:
        os.close(waits)


def armed(scene: Scene) -> list[tuple[int, str, int, str]]:
    """What the probes look for."""
    points = json.loads((scene.folder / "steps" / "armed.json").read_text())
    return [(p["index"], p["step"], p["nth"], p["role"]) for p in points]


def test_in_turn_each_fault_has_a_message_of_its_own(scene: Build) -> None:
    """The producer waits after each message; the next fault is armed with the next message, and
    after the last one the producer goes on as it likes."""
    stage = scene(Planned("a", step("started")), Planned("b", step("effect")), in_turn=True)
    assert armed(stage) == [(0, "started", 1, ""), (PACE, "published", 1, "producer")]
    assert not stage.stage.paused()
    waits = os.open(stage.folder / "steps" / f"{PACE}.fifo", os.O_RDWR | os.O_NONBLOCK)
    try:
        stage.probe("producer").reaches("published", "t1", index=PACE)
        stage.tick(2)
        assert FIRED == []
        assert stage.stage.paused()
        assert not stage.stage.struck()
        stage.probe().reaches("started", "t1", index=0)
        stage.tick(3)
        assert stage.stage.struck()
        stage.stage.next_turn()
        assert os.read(waits, 10) == b"go"
        assert armed(stage) == [(1, "effect", 1, ""), (PACE, "published", 2, "producer")]
        assert not stage.stage.paused()
        stage.probe("producer", pid=PID_MAX + 1).reaches("published", "t2", index=PACE)
        stage.tick(2)
        assert stage.stage.paused()
        stage.stage.next_turn()  # nothing came to its fault
        assert os.read(waits, 10) == b"go"
        assert armed(stage) == []
    finally:
        os.close(waits)
    assert [event.task_id for event in FIRED] == ["t1"]
    assert [event.data["index"] for event in stage.events("fault_planned")] == [0, 1]


def test_who_comes_to_a_step_after_its_turn_is_let_go(scene: Build) -> None:
    """It is no fault's message any more, and the trial cannot be believed."""
    stage = scene(Planned("a", step("started")), Planned("b", step("effect")), in_turn=True)
    waits = os.open(stage.folder / "steps" / "0.fifo", os.O_RDWR | os.O_NONBLOCK)
    try:
        stage.stage.next_turn()
        stage.probe().reaches("started", "t1", index=0)
        stage.tick(2)
        assert os.read(waits, 10) == b"go"
    finally:
        os.close(waits)
    assert FIRED == []
    (error,) = stage.events("trial_error")
    assert error.data["why"] == "a message came to step(started, nth=1) after its turn"


def test_two_processes_wait_for_one_fault(scene: Build) -> None:
    """The one that came to its step, and, until they meet, the one that has the message: at a step
    of its own, with that message alone. Both are let go when the fault is done."""
    stage = scene(Planned("a", step("accepted"), does="meets"))
    stage.probe().reaches("accepted", "t1")
    stage.tick(2)
    (_, point) = json.loads((stage.folder / "steps" / "armed.json").read_text())
    assert (point["index"], point["step"], point["task_id"]) == (MEETING, "effect_begin", "t1")
    assert len(stage.events("fault_done")) == 0
    waits = [
        os.open(stage.folder / "steps" / f"{index}.fifo", os.O_RDWR | os.O_NONBLOCK)
        for index in (0, MEETING)
    ]
    try:
        stage.probe(pid=PID_MAX + 1).reaches("effect_begin", "t1", index=MEETING)
        stage.tick(3)
        assert [os.read(fifo, 10) for fifo in waits] == [b"go", b"go"]
    finally:
        for fifo in waits:
            os.close(fifo)
    assert [event.data["landed"] for event in stage.events("fault_done")] == [True]
    assert json.loads((stage.folder / "steps" / "armed.json").read_text()) == []


def test_every_fault_is_planned_from_the_start(scene: Build) -> None:
    """What never fires is in the history all the same."""
    stage = scene(Planned("a", step("late_acked", nth=7)))
    (planned,) = stage.events("fault_planned")
    assert planned.data["trigger"] == "step(late_acked, nth=7)"
    assert stage.stage.faults_done()


# -- faults at work -----------------------------------------------------------------------


def test_a_fault_that_raises(scene: Build) -> None:
    """It did not land, its trial cannot be believed, and it is healed."""
    stage = scene(Planned("a", step("started"), does="fails"))
    stage.probe().reaches("started", "t1")
    stage.tick(2)
    (error,) = stage.events("trial_error")
    assert "the fault planned failed: RuntimeError('it broke')" in str(error.data["why"])
    (done,) = stage.events("fault_done")
    assert done.data["landed"] is False
    assert HEALED == ["a"]
    assert stage.stage.faults_done()


def test_a_fault_at_work_is_waited_for_and_healed_at_the_end(scene: Build) -> None:
    """A trial that ends under it, by whatever error, still heals it; once."""
    stage = scene(Planned("a", step("started"), does="waits"))
    stage.probe().reaches("started", "t1")
    stage.tick(5)
    assert not stage.stage.faults_done()
    assert HEALED == []
    stage.stage.stop()
    stage.stage.stop()
    assert HEALED == ["a"]
    assert stage.stage.faults_done()


def test_victims_die_when_they_were_killed(scene: Build) -> None:
    """A fault knows when it killed: its word counts for more than when it was noticed."""
    stage = scene(Planned("a", step("started"), victims=(PID_MAX + 7,)))
    stage.probe().reaches("started", "t1")
    stage.tick(2)
    deaths = [event for event in stage.events("process_exited") if event.pid != PID_MAX]
    (death,) = [event for event in deaths if event.data["pid"] == PID_MAX + 7]
    assert death.mono_s == FIRED[0].mono_s + 0.001


# -- deaths and replacements --------------------------------------------------------------


def test_the_death_of_a_worker_is_noted_once(scene: Build) -> None:
    """How it ended, and that it was the leader."""
    stage = scene()
    stage.runtime["worker-1"].ends(signal=9)
    stage.tick(3)
    (death,) = stage.events("process_exited")
    assert (death.data["name"], death.data["signal"], death.data["leader"]) == ("worker-1", 9, True)
    assert stage.stage.live_roles() == frozenset()


def test_the_death_of_a_child_under_its_task_is_noted(scene: Build) -> None:
    """Nobody reports the end of a pool child: it is looked for while it runs something."""
    stage = scene()
    stage.probe(pid=PID_MAX + 3).notes("started", "t1")  # nobody has this pid
    stage.probe(pid=os.getpid()).notes("started", "t2")  # alive, and well
    stage.tick(3)
    (death,) = stage.events("process_exited")
    assert (death.data["pid"], death.data.get("leader", False)) == (PID_MAX + 3, False)
    assert death.mono_s >= stage.stage.history().executions[0].started_s


def test_a_replacement_starts_once(scene: Build) -> None:
    """Under a name of its own, without a marker, and only while workers are replaced."""
    stage = scene()
    stage.runtime["worker-1"].ends(status=0)
    stage.tick(2)
    assert set(stage.runtime.started) == {"worker-1"}
    stage.stage.replacing = True
    stage.tick(3)
    assert set(stage.runtime.started) == {"worker-1", "worker-1+"}
    assert "ACKPROOF_MARKER" in stage.runtime.env["worker-1"]
    assert "ACKPROOF_MARKER" not in stage.runtime.env["worker-1+"]
    assert stage.runtime.commands["worker-1+"] == ["work", "worker-1+"]
    assert stage.stage.live_roles() == {"worker-1+"}


def test_workers_that_end_one_after_another(scene: Build) -> None:
    """An app that keeps crashing is given up, and the trial cannot be believed."""
    stage = scene()
    stage.stage.replacing = True
    for number in range(SPARE_WORKERS + 3):
        process = stage.runtime.started.get("worker-1" + "+" * number)
        if process:
            process.ends(status=1)
        stage.tick(2)
    assert len(stage.runtime.started) == 1 + SPARE_WORKERS
    (error,) = stage.events("trial_error")
    assert "ended one after another" in str(error.data["why"])
    assert stage.stage.replacing is False


# -- the rest -----------------------------------------------------------------------------


def test_workers_go_through_the_link_and_the_producer_does_not(scene: Build) -> None:
    """A fault of the link is the workers' affair."""
    stage = scene()
    stage.stage.start_producer()
    assert stage.runtime.env["worker-1"]["CELERY_BROKER_URL"] == "fake://127.0.0.1:2/0"
    assert stage.runtime.env["producer"]["CELERY_BROKER_URL"] == "fake://127.0.0.1:1/0"


def test_each_process_has_a_folder_for_temporary_files(scene: Build) -> None:
    """Of its own: what a killed worker leaves goes with it."""
    stage = scene()
    stage.stage.start_producer()
    folders = {stage.runtime.env[name]["TMPDIR"] for name in ("worker-1", "producer")}
    assert len(folders) == 2


def test_a_server_that_died_ends_the_trial(scene: Build) -> None:
    """At once, with the reason, and not after the patience of the scenario."""
    stage = scene()
    stage.tick()
    stage.ended = "the fake server died by itself: pid 7 ended by signal 9"
    with pytest.raises(HarnessError, match=r"^the fake server died by itself: pid 7"):
        stage.tick()


def test_a_stage_without_a_link(tmp_path: Path) -> None:
    """A fault that needs one is told so."""
    stage = Stage(Scenario(), WORKLOAD, FakeRuntime(), FakeLease(), None, {}, tmp_path / "trial")
    with pytest.raises(StartError, match="needs a proxied link"):
        stage.need_link()


def test_stop_is_idempotent(scene: Build) -> None:
    """Every process is stopped, once, and none is replaced any more."""
    stage = scene()
    stage.stage.start_producer()
    stage.stage.replacing = True
    stage.stage.stop()
    stage.stage.stop()
    assert [process.stops for process in stage.runtime.started.values()] == [1, 1]
    stage.runtime["worker-1"].ends(signal=9)
    stage.tick(2)
    assert len(stage.runtime.started) == 2


def test_ticking_until_a_time_is_up(scene: Build) -> None:
    """True when it came to pass, false when the time ran out first."""
    stage = scene()
    assert stage.stage.tick_until(lambda: True, 0.0)
    assert not stage.stage.tick_until(lambda: False, 0.01)


def test_the_workers_environment_is_the_scenarios_own(scene: Build) -> None:
    """Of workers alone, replacements too; and nothing in it leads them elsewhere."""
    stage = scene(env={"REMAP_SIGTERM": "SIGQUIT", "CELERY_BROKER_URL": "redis://elsewhere"})
    stage.stage.start_worker("worker-1+", marker=False)
    stage.stage.start_producer()
    env = stage.runtime.env
    assert env["worker-1"]["REMAP_SIGTERM"] == env["worker-1+"]["REMAP_SIGTERM"] == "SIGQUIT"
    assert "REMAP_SIGTERM" not in env["producer"]
    assert "elsewhere" not in env["worker-1"]["CELERY_BROKER_URL"]
