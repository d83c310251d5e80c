"""What a trial runs on: its workers, its link, its events. Keeps everything moving.

``tick`` is the one heartbeat of a trial: read what the probes wrote, notice deaths, fire
faults whose trigger has come, move on those that are at work, replace workers that ended.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from math import inf
from pathlib import Path

from harness.failpoints import MEETING, PACE, Failpoints
from harness.follower import Follower
from harness.history import History
from harness.model import Event, Evidence, HarnessError, Settings, StartError
from harness.processes import alive
from harness.protocols import Fault, Firing, Lease, Link, Process, Runtime
from harness.scenario import Scenario
from harness.workload import Workload

TICK_S = 0.02
SERVER_LOOK_S = 1.0
SPARE_WORKERS = 5
MISSED = "missed"
"""Beside the events: a probe that could not write one turns its byte over (``record.py``)."""
RESULTS = "results"
"""Below the trial's folder: where results are kept that the app would keep in files."""
READING = "reading"
"""Below the trial's folder, while it runs: what the results are read with."""


_PLAIN: Settings = {"broker_use_ssl": False, "broker_user": None, "broker_password": None}
"""How the run's own servers are reached, whatever the app's are like: what they want is in the
URL."""


class Stage:
    """The processes and events of one trial. Satisfies ``protocols.Stack``."""

    def __init__(
        self,
        scenario: Scenario,
        workload: Workload,
        runtime: Runtime,
        lease: Lease,
        link: Link | None,
        settings: Settings,
        folder: Path,
        server_ended: Callable[[], str] = str,
    ) -> None:
        """``server_ended`` says how the broker's server ended; empty while it runs."""
        self.scenario = scenario
        self.workload = workload
        self.lease = lease
        self.settings = settings
        self.folder = folder
        self.live_settings: Settings = {}
        self.workers: dict[str, Process] = {}
        self._runtime = runtime
        self._link = link
        self._replaced: set[str] = set()
        self._exited: set[str] = set()
        self._dead_pids: set[int] = set()
        self._events: list[Event] = []
        self._history: History | None = None
        self._pending = list(enumerate(scenario.faults))
        self._at_work: list[_AtWork] = []
        self._release = ExitStack()
        self._server_ended = server_ended
        self.results: Lease | None = None
        """A Redis database for the app's results, where there is one."""
        self._asked_server_s = time.monotonic()
        self._last_look_s = time.monotonic()
        self.progress_s = time.monotonic()
        self.stirred_s = time.monotonic()
        """When something last happened that may have set messages moving: an event was read, a
        fault ended, a worker started or ended."""
        self.bound_s = inf
        """When the trial ends, whatever goes on."""
        self.busy_s = time.monotonic()
        """When a worker was last seen to have work in its hands, or to be coming up."""
        self.looked_s = 0.0
        """When the broker was last asked what it holds."""
        self.replacing = False
        (folder / "events").mkdir(parents=True)
        (folder / "events" / MISSED).write_text("0")
        (folder / "logs").mkdir()
        (folder / RESULTS).mkdir()
        if "results" in scenario.needs:
            (folder / READING).mkdir(mode=0o700)
        self._follower = Follower(folder / "events")
        self._failpoints = Failpoints(folder / "steps")
        self._turn = 0
        for index, fault in self._pending:
            self.note(
                "fault_planned",
                index=index,
                kind=fault.kind,
                target=fault.target,
                trigger=str(fault.when),
                kills=fault.kills,
            )
            if not scenario.in_turn:
                self._arm(index)
        if scenario.in_turn:
            self._arm_turn()

    # -- what faults may touch ---------------------------------------------------------

    def worker(self, role: str) -> Process:
        if role not in self.workers:
            raise HarnessError("no worker runs")
        return self.workers[role]

    def role(self, at: Event) -> str:
        return at.role if at.role in self.workers else min(self.live_roles(), default="")

    def child_pid(self, at: Event) -> int | None:
        pid = at.data.get("worker_pid") or at.pid
        pool = at.role in self.workers and pid != self.main_pid(at.role)
        return pid if pool and isinstance(pid, int) else None

    def release(self, at: Event, error: str = "") -> None:
        self._failpoints.release(_index(at), error)

    def meet(self, at: Event, step: str) -> None:
        self._failpoints.meet(_index(at), step, at.task_id)
        child = self.child_pid(at)
        if child is not None:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGCONT)

    def met(self, at: Event) -> bool:
        there = [_index(event) for event in self.history().of("step_reached")]
        return MEETING + _index(at) in there

    def left(self, at: Event) -> str:
        how = [e.data.get("how") for e in self.history().of("step_left") if _index(e) == _index(at)]
        return str(how[0]) if how else ""

    def main_pid(self, role: str) -> int:
        ready = [event.pid for event in self.history().of("worker_ready") if event.role == role]
        return ready[-1] if ready else self.workers[role].pid

    def need_link(self) -> Link:
        if self._link is None:
            raise StartError("this fault needs a proxied link, and the trial has none")
        return self._link

    def history(self) -> History:
        if self._history is None:
            self._history = History(self._events)
        return self._history

    # -- events --------------------------------------------------------------------------

    def note(
        self,
        kind: str,
        /,
        *,
        mono_s: float | None = None,
        task_id: str = "",
        retries: int = 0,
        **data: object,
    ) -> None:
        """Add an event of the harness's own."""
        event = Event(
            kind=kind,
            at_s=time.time(),
            mono_s=time.monotonic() if mono_s is None else mono_s,
            pid=os.getpid(),
            role="harness",
            task_id=task_id,
            retries=retries,
            data=data,
        )
        self._add([event])

    def _add(self, events: list[Event]) -> None:
        if events:
            self._events += events
            self._history = None

    # -- processes -----------------------------------------------------------------------

    def start_worker(self, name: str, *, marker: bool) -> None:
        """Start the user's own worker command with the probe loaded from outside."""
        command = self.workload.command(self.workload.worker, self._values(name))
        env = self._env(name) | ({"ACKPROOF_MARKER": "1"} if marker else {})
        env |= {"ACKPROOF_HOSTNAME": _host(name)} if self.scenario.workers > 1 else {}
        self.workers[name] = self._start(name, command, env)
        self.stirred_s = time.monotonic()

    def start_producer(self) -> Process:
        command = self.workload.command(self.workload.producer, self._values("producer"))
        return self._start("producer", command, self._env("producer", direct=True))

    def start_effects(self) -> Process:
        """The workload's command that prints its effects, one JSON line each, to its log."""
        command = self.workload.command(self.workload.effects, self._values("effects"))
        return self._start("effects", command, self.workload.environment(self._values("effects")))

    def start_reader(self, python: str) -> Process:
        """Reads results from the app's backend, with the worker's own interpreter."""
        command = [python, "-m", "ackproof_results", str(self.folder / READING)]
        return self._start("results", command, self.workload.environment(self._values("results")))

    def forget_reading(self) -> None:
        """With what the results are read there may be a password: it is not kept."""
        shutil.rmtree(self.folder / READING, ignore_errors=True)

    def note_missed(self) -> None:
        """Say so, if a probe could not write an event: on a full disk there may be no next one
        that tells it."""
        if (self.folder / "events" / MISSED).read_text() != "0":
            self.note("events_missed")

    def live_roles(self) -> frozenset[str]:
        return frozenset(name for name, process in self.workers.items() if process.poll() is None)

    def stop(self) -> None:
        """End every process of the trial, and heal what is left of any fault."""
        self.replacing = False
        for work in self._at_work:
            work.firing.close()
            work.fault.heal(self)
        self._at_work.clear()
        self._release.close()
        self._failpoints.close()
        with suppress(OSError):
            (self.folder / RESULTS).rmdir()  # where nobody kept any

    def _start(self, name: str, command: list[str], env: Mapping[str, str]) -> Process:
        log = self.folder / "logs" / f"{name}.log"
        # A worker that is killed cannot delete its temporary files (billiard's `pymp-*`). Not
        # below the trial's own folder: paths of Unix sockets must be short.
        temp = Path(tempfile.gettempdir()) / f"ackproof-{secrets.token_hex(8)}"
        process = self._runtime.start(
            name,
            command,
            env={**env, "TMPDIR": str(temp)},
            cwd=self.workload.folder,
            log=log,
            remove=[temp],
        )
        self._release.callback(process.stop)
        return process

    def _values(self, name: str) -> dict[str, object]:
        scenario = self.scenario
        return {
            **self.workload.options,
            **scenario.options,
            "name": name,
            "pool": scenario.pool,
            "concurrency": scenario.concurrency,
            "tasks": scenario.tasks,
            "task_duration_s": scenario.task_duration_s,
            "trial_dir": str(self.folder),
        }

    def _env(self, role: str, *, direct: bool = False) -> dict[str, str]:
        via = self.lease if direct or self._link is None else self._link
        url = self.lease.url(via.host, via.port)
        return {
            **self.workload.environment(self._values(role)),
            **({} if direct else self.scenario.env),
            # Celery asks these three before any setting, whoever made it.
            "CELERY_BROKER_URL": url,
            "CELERY_BROKER_READ_URL": url,
            "CELERY_BROKER_WRITE_URL": url,
            "ACKPROOF_BROKER": url,
            "ACKPROOF_RESULTS": json.dumps(self._results()),
            "ACKPROOF_TELL_RESULTS": self._reading(),
            "ACKPROOF_EVENTS": str(self.folder / "events"),
            "ACKPROOF_STEPS": str(self._failpoints.folder),
            "ACKPROOF_ROLE": role,
            "ACKPROOF_SETTINGS": json.dumps({**self.settings, **_PLAIN, "broker_url": url}),
            "ACKPROOF_EFFECT": self.workload.effect,
        }

    def _reading(self) -> str:
        return str(self.folder / READING) if "results" in self.scenario.needs else ""

    def _results(self) -> dict[str, str]:
        """Where results of each kind are kept, whatever the app names."""
        found = {
            "file": f"file://{self.folder / RESULTS}",
            "db": f"db+sqlite:///{self.folder / RESULTS / 'results.sqlite'}",
        }
        if self.results is not None:
            found["redis"] = self.results.url(self.results.host, self.results.port)
        return found

    # -- the heartbeat -------------------------------------------------------------------

    def tick(self) -> None:
        """Let a moment pass, and attend to everything that happened in it.

        Raises HarnessError when the broker's server died, which no fault did to it.
        """
        self._look_at_server()
        fresh = self._follower.poll()
        self._add(fresh)
        if fresh:
            # When it is read, not when it was written: its writer may have been slow to.
            self.stirred_s = time.monotonic()
        self._notice_deaths()
        for event in fresh:
            if event.kind in {"finished", "worker_ready", "started"}:
                self.progress_s = max(self.progress_s, event.mono_s)
            if event.kind == "step_reached":
                self._fire(event)
            if event.kind == "foreign_server":
                raise StartError(
                    f"{event.role} was about to connect to {event.data['url']}, named by "
                    f"{event.data['by']}: that is no server of this run",
                    "Take it out, or leave it to the environment; "
                    "a result backend can be named in the scenario's settings.",
                )
        self._move_faults()
        if self.replacing:
            self._replace_workers()
        time.sleep(TICK_S)

    def tick_until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Tick until ``done()``; false when the time ran out first."""
        deadline_s = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline_s:
                return False
            self.tick()
        return True

    def faults_done(self) -> bool:
        """Whether no fault is at work; one that waits for its trigger is not."""
        return not self._at_work

    # -- turns ---------------------------------------------------------------------------

    def paused(self) -> bool:
        """Whether the producer has published this turn's message, and waits for the next turn."""
        waits = [e for e in self.history().of("step_reached") if _index(e) == PACE]
        return len(waits) > self._turn

    def struck(self) -> bool:
        """Whether this turn's fault has found its message."""
        return self._turn not in [index for index, _ in self._pending]

    def next_turn(self) -> None:
        """Let the producer publish one message more, and the next fault strike it."""
        self._failpoints.disarm(self._turn)
        self._turn += 1
        self._pending = [(index, fault) for index, fault in self._pending if index >= self._turn]
        self._arm_turn()
        self.progress_s = self.stirred_s = self.busy_s = time.monotonic()
        self._failpoints.release(PACE)

    def restart_workers(self) -> None:
        """End those that live, at once; they are replaced as any that ended is."""
        for name in sorted(self.live_roles()):
            self.note("worker_restarted", name=name)
            self.workers[name].stop()
        self.progress_s = self.stirred_s = self.busy_s = time.monotonic()

    def _arm_turn(self) -> None:
        """With no fault left, the producer goes on as it likes."""
        if self._turn < len(self.scenario.faults):
            self._arm(self._turn)
            self._failpoints.pace(self._turn + 1)
        else:
            self._failpoints.disarm(PACE)

    def _arm(self, index: int) -> None:
        fault = self.scenario.faults[index]
        self._failpoints.arm(index, fault.when, holds=fault.holds, stills=fault.stills)

    def _look_at_server(self) -> None:
        if time.monotonic() < self._asked_server_s + SERVER_LOOK_S:
            return
        self._asked_server_s = time.monotonic()
        ended = self._server_ended()
        if ended:
            raise HarnessError(ended)

    def _notice_deaths(self) -> None:
        seen_alive_s, self._last_look_s = self._last_look_s, time.monotonic()
        for name, process in self.workers.items():
            ended = process.poll()
            if ended is not None and name not in self._exited:
                self._exited.add(name)
                self.stirred_s = time.monotonic()
                self.note(
                    "process_exited",
                    mono_s=ended.mono_s,
                    name=name,
                    pid=ended.pid,
                    status=ended.status,
                    signal=ended.signal,
                    leader=True,
                )
        for run in self.history().executions:
            if run.open and run.pid not in self._dead_pids and not alive(run.pid):
                self._dead_pids.add(run.pid)
                # It died since the last look; it is not to be given a life it did not have.
                died_s = max(run.started_s, seen_alive_s)
                self._note_death(run.role, run.pid, died_s)

    def _note_death(self, role: str, pid: int, mono_s: float) -> None:
        self.stirred_s = time.monotonic()
        self.note("process_exited", mono_s=mono_s, name=role, pid=pid, leader=False)

    def _fire(self, event: Event) -> None:
        index = _index(event)
        if not 0 <= index < MEETING:
            return
        fault = self.scenario.faults[index]
        if (index, fault) not in self._pending:
            self.note("trial_error", why=f"a message came to {fault.when} after its turn")
            self._failpoints.release(index)
            return
        self._pending.remove((index, fault))
        self.note(
            "fault_fired",
            task_id=event.task_id,
            retries=event.retries,
            index=index,
            step=event.data.get("step"),
            role=event.role,
            held=fault.holds,
        )
        self._at_work.append(_AtWork(index, fault, fault.fire(self, event), self.role(event)))

    def _move_faults(self) -> None:
        for work in list(self._at_work):
            if time.monotonic() < work.resume_s:
                continue
            try:
                work.resume_s = time.monotonic() + next(work.firing)
            except StopIteration as end:
                self._finish(work, end.value)
            except Exception as error:  # noqa: BLE001 - faults are anybody's code
                # Whatever a fault stumbles over, its trial cannot be believed any more.
                self.note("trial_error", why=f"the fault {work.fault.kind} failed: {error!r}")
                self._finish(work, Evidence(landed=False, why_not=repr(error)))

    def _finish(self, work: _AtWork, evidence: Evidence) -> None:
        self._at_work.remove(work)
        work.fault.heal(self)
        self._failpoints.disarm(work.index)
        self._failpoints.disarm(MEETING + work.index)
        self._failpoints.release(MEETING + work.index)
        if work.fault.holds:
            self._failpoints.release(work.index)
        killed_s = evidence.facts.get("killed_mono_s")
        victims = evidence.facts.get("victims")
        if isinstance(killed_s, float) and isinstance(victims, list):
            for pid in victims:
                self._dead_pids.add(pid)
                self._note_death(work.role, pid, killed_s)
        self.progress_s = self.stirred_s = time.monotonic()
        self.note(
            "fault_done",
            index=work.index,
            landed=evidence.landed,
            facts=evidence.facts,
            why_not=evidence.why_not,
        )

    def _replace_workers(self) -> None:
        for name in sorted(self._exited - self._replaced):
            self._replaced.add(name)
            spare = SPARE_WORKERS + 2 * len(self.scenario.faults)
            if len(self.workers) - self.scenario.workers >= spare:
                self.note("trial_error", why=f"{len(self.workers)} workers ended one after another")
                self.replacing = False
                return
            self.progress_s = time.monotonic()
            self.start_worker(f"{name}+", marker=False)


class _AtWork:
    """A fault that has fired and is not done."""

    def __init__(self, index: int, fault: Fault, firing: Firing, role: str) -> None:
        self.index = index
        self.fault = fault
        self.firing = firing
        self.role = role
        self.resume_s = 0.0


def _index(event: Event) -> int:
    """The fault that an event of a failpoint is about."""
    index = event.data["index"]
    return index if isinstance(index, int) else -1


def _host(worker: str) -> str:
    """The host of ``worker-2`` and of its replacements ``worker-2+``. One name a worker: Celery
    takes two that share theirs for one."""
    return f"{worker.rstrip('+')}.{socket.gethostname()}"
