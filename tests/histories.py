"""Histories written by hand: a trial told step by step, a second apart.

    story = Story()
    story.publish("a")
    story.received("a")
    story.started("a", pid=11)
    story.dies(pid=11)
    story.ends(story.ready("a"))
    count(story.history())

Workers are ``worker-1`` unless they are named; their leader is pid 1000, and runs happen in
child 11 unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from harness.counting import count
from harness.history import History
from harness.judge import Judgement, judge
from harness.model import MARKER_TASK, BrokerView, Counts, Event, Held, Verdict
from harness.protocols import Check

WORKER = "worker-1"
LEADER = 1000
CHILD = 11
MAIN = 1001
PRODUCER = 500
HARNESS = 1
START_S = 1000.0
WALL_S = 1_700_000_000.0
TASK = "ledger.app.charge"


class Story:
    """Writes events; each comes one second after the one before, unless ``at`` says else."""

    def __init__(self, *, late_after_s: float | None = None, baseline: bool = True) -> None:
        self.events: list[Event] = []
        self._now_s = START_S
        self._wall_s = WALL_S
        self._faults = 0
        self.event("trial", scenario="by hand", seed=7, late_after_s=late_after_s)
        if baseline:
            self.event("worker_ready", role=WORKER, by=MAIN)
            self.event("baseline_met", workers=[WORKER])

    # -- the clock ---------------------------------------------------------------------

    def at(self, s: float) -> Story:
        """The next event happens ``s`` seconds after the start."""
        self._now_s = START_S + s - 1.0
        return self

    def wait(self, s: float) -> Story:
        """``s`` seconds pass."""
        self._now_s += s
        return self

    def clock_steps(self, by_s: float) -> Story:
        """Somebody sets the wall clock."""
        self._wall_s += by_s
        return self

    # -- any event ---------------------------------------------------------------------

    def event(
        self,
        kind: str,
        task_id: str = "",
        /,
        *,
        role: str = "harness",
        by: int = HARNESS,
        retries: int = 0,
        task: str = "",
        **data: object,
    ) -> Story:
        self._now_s += 1.0
        self.events.append(
            Event(
                kind=kind,
                at_s=self._wall_s + self._now_s,
                mono_s=self._now_s,
                pid=by,
                role=role,
                task_id=task_id,
                retries=retries,
                task=task or (TASK if task_id else ""),
                data=data,
            )
        )
        return self

    # -- the producer ------------------------------------------------------------------

    def publish(
        self, task_id: str, *outcomes: str, retries: int = 0, task: str = "", **canvas: object
    ) -> Story:
        """Invoke, then each outcome: ``ok`` (also when none is given), ``fail``, ``info``;
        ``died`` writes nothing. ``canvas`` is what the message says of those that belong to it."""
        for step in ("invoke", *(outcomes or ("ok",))):
            if step != "died":
                kind = f"publish_{step}"
                self.event(kind, task_id, retries=retries, task=task, role="producer", by=PRODUCER)
                self.events[-1].data.update(canvas if step == "invoke" else {})
        return self

    def chord(self, body: str, *headers: str, **canvas: bool | str) -> Story:
        """Its headers are published, each with the id of the body."""
        for index, header in enumerate(headers):
            said = {"chord": body, "group": "group", "group_index": index, **canvas}
            self.publish(header, **said)  # type: ignore[arg-type]
        return self

    # -- a worker ----------------------------------------------------------------------

    def received(
        self, task_id: str, worker: str = WORKER, *, retries: int = 0, redelivered: bool = False
    ) -> Story:
        return self.event(
            "received", task_id, role=worker, by=MAIN, retries=retries, redelivered=redelivered
        )

    def started(
        self,
        task_id: str,
        worker: str = WORKER,
        *,
        pid: int = CHILD,
        retries: int = 0,
        given: Sequence[str] | None = None,
    ) -> Story:
        """``given`` are the digests of a list that was its first argument."""
        self.event("started", task_id, role=worker, by=pid, retries=retries)
        if given is not None:
            told = {"first_argument": list(given), "first_argument_number": len(given)}
            self.events[-1].data.update(told)
        return self

    def returned(
        self,
        task_id: str,
        result: str = "null",
        worker: str = WORKER,
        *,
        pid: int = CHILD,
        retries: int = 0,
        kept_by: str = "app",
    ) -> Story:
        data = {"result": result, "kept_by": kept_by}
        return self.event("returned", task_id, role=worker, by=pid, retries=retries, **data)

    def returns(
        self,
        task_id: str,
        result: str = "null",
        *,
        given: Sequence[str] | None = None,
        pid: int = CHILD,
        retries: int = 0,
        kept_by: str = "app",
    ) -> Story:
        """From received to acked, with what it returned."""
        self.received(task_id, retries=retries)
        self.started(task_id, pid=pid, retries=retries, given=given)
        self.returned(task_id, result, pid=pid, retries=retries, kept_by=kept_by)
        return self.finished(task_id, pid=pid, retries=retries).acked(task_id, retries=retries)

    def raises(self, task_id: str, *, retries: int = 0, kept_by: str = "app") -> Story:
        """From received to acked, with a body that raised."""
        self.received(task_id, retries=retries).started(task_id, retries=retries)
        self.note("raised", task_id, retries=retries, kept_by=kept_by)
        self.note("failed", task_id, retries=retries, exception="ValueError")
        return self.finished(task_id, retries=retries, state="FAILURE").acked(task_id)

    def effect(
        self, task_id: str, worker: str = WORKER, *, pid: int = CHILD, retries: int = 0
    ) -> Story:
        return self.event("effect", task_id, role=worker, by=pid, retries=retries)

    def finished(
        self,
        task_id: str,
        worker: str = WORKER,
        *,
        pid: int = CHILD,
        retries: int = 0,
        state: str = "SUCCESS",
    ) -> Story:
        return self.event("finished", task_id, role=worker, by=pid, retries=retries, state=state)

    def acked(self, task_id: str, worker: str = WORKER, *, retries: int = 0) -> Story:
        return self.event("acked", task_id, role=worker, by=MAIN, retries=retries)

    def rejected(self, task_id: str, worker: str = WORKER, *, requeue: bool = True) -> Story:
        return self.event("rejected", task_id, role=worker, by=MAIN, requeue=requeue)

    def failed(self, task_id: str, worker: str = WORKER, exception: str = "ValueError") -> Story:
        return self.event("failed", task_id, role=worker, by=MAIN, exception=exception)

    def note(
        self,
        kind: str,
        task_id: str,
        worker: str = WORKER,
        *,
        pid: int = CHILD,
        retries: int = 0,
        **data: object,
    ) -> Story:
        """Any other event of a process that runs bodies."""
        self.event(kind, task_id, role=worker, by=pid, retries=retries)
        self.events[-1].data.update(data)
        return self

    def held(
        self,
        task_id: str,
        worker: str = WORKER,
        *,
        pid: int = CHILD,
        retries: int = 0,
        step: str = "started",
    ) -> Story:
        """A fault holds the process that has come to the step."""
        told = {"step": step, "index": 0, "holds": True}
        return self.note("step_reached", task_id, worker, pid=pid, retries=retries, **told)

    def let_go(
        self,
        task_id: str,
        worker: str = WORKER,
        *,
        pid: int = CHILD,
        retries: int = 0,
        how: str = "released",
    ) -> Story:
        told = {"step": "started", "index": 0, "how": how}
        return self.note("step_left", task_id, worker, pid=pid, retries=retries, **told)

    def runs(
        self, task_id: str, worker: str = WORKER, *, pid: int = CHILD, retries: int = 0
    ) -> Story:
        """Received, started, effect, finished, acked."""
        self.received(task_id, worker, retries=retries)
        self.started(task_id, worker, pid=pid, retries=retries)
        self.effect(task_id, worker, pid=pid, retries=retries)
        self.finished(task_id, worker, pid=pid, retries=retries)
        return self.acked(task_id, worker, retries=retries)

    def marker(self, worker: str = WORKER, *, pid: int = CHILD, times: int = 1) -> Story:
        """The worker's marker task comes by, from publish to end."""
        task_id = f"marker-{worker}"
        self.event("publish_invoke", task_id, role=worker, by=MAIN, task=MARKER_TASK)
        self.event("publish_ok", task_id, role=worker, by=MAIN, task=MARKER_TASK)
        for _ in range(times):
            for kind in ("received", "started", "finished", "acked"):
                self.event(kind, task_id, role=worker, by=pid, task=MARKER_TASK)
        return self

    def dies(self, worker: str = WORKER, *, pid: int = LEADER, signal: int = 9) -> Story:
        """A process ends; the worker's leader, unless ``pid`` says which child."""
        return self.event(
            "process_exited",
            name=worker,
            pid=pid,
            status=None,
            signal=signal,
            leader=pid == LEADER,
        )

    # -- the fault ---------------------------------------------------------------------

    def planned(self, kind: str = "sigkill", target: str = "worker", *, kills: bool = True) -> int:
        """A fault is planned; returns its index."""
        index, self._faults = self._faults, self._faults + 1
        trigger = "step(started, nth=1)"
        self.event(
            "fault_planned", index=index, kind=kind, target=target, trigger=trigger, kills=kills
        )
        return index

    def fires(self, index: int = 0, at: str = "", step: str = "started") -> Story:
        """At a step; the message that waits there is ``at``, if any does."""
        return self.event("fault_fired", at, index=index, step=step, held=bool(at))

    def done(
        self,
        index: int = 0,
        *,
        landed: bool = True,
        why_not: str = "",
        victims: Sequence[int] | None = None,
        **facts: object,
    ) -> Story:
        facts |= {} if victims is None else {"victims": list(victims)}
        return self.event("fault_done", index=index, landed=landed, why_not=why_not, facts=facts)

    # -- the end -----------------------------------------------------------------------

    def effects(self, *task_ids: str) -> Story:
        """The store outside the broker is read, and has these effects."""
        for task_id in task_ids:
            self.event("effect_applied", task_id)
        return self.event("effects_read", number=len(task_ids))

    def reads(self, *, expires_s: float = 86400.0, **results: str) -> Story:
        """The result backend is read: by task id a digest, or a state in capitals."""
        for task_id, result in results.items():
            data = {"state": result} if result.isupper() else {"state": "SUCCESS", "result": result}
            self.event("result_read", task_id)
            self.events[-1].data.update(data)
        return self.event("results_read", number=len(results), expires_s=expires_s)

    def ready(self, task_id: str, retries: int = 0) -> Held:
        return Held(task_id, retries, "ready")

    def unacked(
        self, task_id: str, *, back_in_s: float | None = None, retries: int = 0, why: str = ""
    ) -> Held:
        """Held for a consumer; back so many seconds after the next event."""
        now_at_s = self._wall_s + self._now_s + 1.0
        back_at_s = None if back_in_s is None else now_at_s + back_in_s
        return Held(task_id, retries, "unacked", back_at_s, why)

    def drained(
        self,
        *,
        settled: bool = True,
        why: str = "all is accounted for",
        looping: tuple[str, int] | None = None,
    ) -> Story:
        loops = looping is not None
        return self.event("drain_ended", why=why, settled=settled, loops=loops, looping=looping)

    def broker_holds(self, *held: Held, unnamed: int = 0, named: bool | None = None) -> Story:
        """The workers are gone; what the broker still has, of which some it cannot name."""
        view = BrokerView(
            at_s=self._wall_s + self._now_s,
            ready=sum(one.where == "ready" for one in held),
            unacked=sum(one.where == "unacked" for one in held) + unnamed,
            held=held,
            named=unnamed == 0 if named is None else named,
        )
        return self.event("broker_final", view=msgspec.to_builtins(view))

    def ends(self, *held: Held) -> Story:
        """The drain ends, the workers are stopped, the broker is asked."""
        return self.drained().broker_holds(*held)

    # -- what follows ------------------------------------------------------------------

    def history(self) -> History:
        return History(self.events)

    def counts(self) -> Counts:
        return count(self.history())

    def judged(self, *checks: Check) -> Judgement:
        return judge(self.history(), checks)

    def verdict(self, *checks: Check) -> Verdict:
        return self.judged(*checks).verdict
