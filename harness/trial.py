"""One trial, in ten steps, readable from top to bottom.

 1. lease a broker                      6. heal
 2. start workers                       7. drain
 3. baseline                            8. collect
 4. publish                             9. judge
 5. fire the faults                    10. release

The history is written as it happens; the verdict comes from what is on disk alone, so
``ackproof judge`` gives the same one later.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from harness import bundle, drain, shortage, steps
from harness.judge import Judgement, judge
from harness.model import (
    MARKER_TASK,
    Event,
    HarnessError,
    Horizon,
    NotHereError,
    Outcome,
    Settings,
    StartError,
    UsageError,
)
from harness.profiles import PROFILES
from harness.protocols import Check, Lease, Link, Process, Runtime
from harness.record import TrialRecord
from harness.result_reading import read_results
from harness.scenario import Scenario
from harness.stage import Stage
from harness.workload import Workload

BASELINE_TIMEOUT_S = 90.0
EFFECTS_TIMEOUT_S = 30.0
VIEW_EVERY_S = 0.15
LOG_LINES = 4
LOG_LINE_LENGTH = 300


class Plan(Struct, frozen=True):
    """Which trial: a scenario on a broker with a profile and a seed."""

    id: str
    name: str
    claim: str
    broker: str
    profile: str
    seed: int
    index: int
    """Unique among the trials of a run."""
    expected: Outcome = Outcome.HOLDS
    time_scale: float = 1.0


class Services(Protocol):
    """What the run lends to a trial: servers it started, and ways to reach them."""

    @property
    def runtime(self) -> Runtime: ...
    def lease(self, broker: str, index: int) -> Lease: ...
    def hardened(self, broker: str, longest_task_s: float) -> Settings: ...
    def link(self, name: str, host: str, port: int, folder: Path) -> Link: ...
    def drop_link(self, name: str) -> None: ...
    def results(self) -> Lease | None:
        """A Redis database for results; None where there is no Redis to be had."""

    def died(self, broker: str) -> str:
        """How the broker's server ended; empty while it runs."""


def run_trial(
    plan: Plan, scenario: Scenario, workload: Workload, services: Services, run_folder: Path
) -> TrialRecord:
    """Run one trial and judge it. Raises StartError when its workers do not start,
    MissingPartError when the broker cannot, NotHereError when its broker or pool has not the
    step of a fault, UsageError for a command that cannot be filled in; whatever else goes wrong
    makes it ``unknown``."""
    folder = run_folder / "trials" / plan.id
    with ExitStack() as release:  # 10. release: in reverse order, whatever happens
        lease = services.lease(plan.broker, plan.index)  # 1. lease a broker
        release.callback(lease.release)
        results = services.results()
        if results:
            release.callback(results.release)
        link = _link(plan, scenario, lease, services, release, folder)
        settings = compose(plan, scenario, lease, services, folder)

        def ended() -> str:
            how = services.died(plan.broker)
            return f"the {plan.broker} server died by itself: {how}" if how else ""

        stage = Stage(scenario, workload, services.runtime, lease, link, settings, folder, ended)
        stage.results = results
        release.callback(stage.forget_reading)
        release.callback(stage.stop)
        stage.note(
            "trial",
            **msgspec.to_builtins(plan),
            late_after_s=scenario.late_after_s,
            patience_s=scenario.patience_s,
        )
        try:
            _start_workers(stage)  # 2. start workers
            horizon = _baseline(stage, plan.broker)  # 3. baseline
            producer = _publish(stage)  # 4. publish
            _until_settled(stage, producer, horizon)  # 5. fire  6. heal  7. drain
            _collect(stage)  # 8. collect
        except HarnessError as error:
            # Where the server is gone, a worker that ended says nothing about the app.
            if isinstance(error, NotHereError | UsageError):
                raise
            if isinstance(error, StartError) and not ended():
                raise
            if str(error) != ended():
                stage.note("trial_error", why=str(error))
        if ended():
            stage.note("trial_error", why=ended())
        stage.stop()
        stage.note_missed()
        bundle.write(folder, plan, scenario, settings, stage.live_settings, stage.history())
    return judged(folder, scenario.checks)  # 9. judge


def judged(folder: Path, claims: Sequence[Check] | None = None) -> TrialRecord:
    """The record of a trial from what is stored in its folder, and nothing else; ``claims`` are
    its checks, where they need not be looked up."""
    stored = bundle.read(folder)
    found: Judgement = judge(stored.history, claims if claims is not None else stored.checks())
    try:
        plan = msgspec.convert(stored.plan, Plan)
    except msgspec.ValidationError as error:
        raise UsageError(f"{folder} is not a whole trial: {error} in its plan") from error
    return TrialRecord(
        id=plan.id,
        scenario=plan.name,
        broker=plan.broker,
        profile=plan.profile,
        settings=stored.settings,
        faults=list(found.faults),
        counts=found.counts,
        timings=found.timings,
        verdict=found.verdict.outcome,
        reasons=list(found.verdict.reasons),
        bundle=f"trials/{folder.name}",
        expected=plan.expected,
        claim=plan.claim,
        horizon=list(found.horizon),
        stranded=list(found.stranded),
        seed=plan.seed,
    )


def compose(
    plan: Plan, scenario: Scenario, lease: Lease, services: Services, folder: Path
) -> Settings:
    """Profile, then the scenario's own settings, then what isolates the trial.

    ``{trial_dir}``, the trial's folder, is filled in where a setting is a text.
    """
    profile = PROFILES[plan.profile]
    hardened = services.hardened(plan.broker, scenario.task_duration_s) if profile.hardened else {}
    settings: dict[str, object] = {}
    for layer in (profile.settings, hardened, scenario.settings, lease.settings()):
        merge(settings, layer)
    # Only this field: a setting may have braces of its own.
    return {
        name: value.replace("{trial_dir}", str(folder)) if isinstance(value, str) else value
        for name, value in settings.items()
    }


def merge(settings: dict[str, object], layer: Settings) -> None:
    """Lay ``layer`` over ``settings``; dictionaries are merged one level deep."""
    for name, value in layer.items():
        below = settings.get(name)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        settings[name] = {**below, **value} if both else value  # type: ignore[dict-item]


def _link(
    plan: Plan,
    scenario: Scenario,
    lease: Lease,
    services: Services,
    release: ExitStack,
    folder: Path,
) -> Link | None:
    if not any(fault.needs_link for fault in scenario.faults):
        return None
    link = services.link(plan.id, lease.host, lease.port, folder / "link")
    release.callback(services.drop_link, plan.id)
    return link


def _start_workers(stage: Stage) -> None:
    for number in range(1, stage.scenario.workers + 1):
        stage.start_worker(f"worker-{number}", marker=True)


def _baseline(stage: Stage, broker: str) -> Horizon:
    """Each worker is ready and completes a marker task; its live settings give the horizon."""
    names = set(stage.workers)

    def met() -> bool:
        gone = names - stage.live_roles()
        if gone:
            stage.tick()  # its last words may say more
            raise StartError(_ended_at_start(stage, min(gone)), _mend(stage, min(gone)))
        history = stage.history()
        ready = {event.role for event in history.events if event.kind == "worker_ready"}
        ran = {e.role for e in history.events if e.kind == "finished" and e.task == MARKER_TASK}
        return names <= ready and names <= ran

    if not stage.tick_until(met, BASELINE_TIMEOUT_S):
        raise HarnessError(_not_met(stage, names))
    stage.note("baseline_met", workers=sorted(names))
    ready = stage.history().first("worker_ready")
    live = ready.data["settings"] if ready else {}
    stage.live_settings = live if isinstance(live, dict) else {}
    _need_steps(stage, broker, ready)
    for difference in overridden(stage.settings, stage.live_settings):
        stage.note("trial_error", why=difference)
    horizon = stage.lease.horizon(stage.live_settings)
    stage.note("horizon", seconds=horizon.seconds, derivation=list(horizon.derivation))
    stage.replacing = stage.scenario.replace_workers
    return horizon


def _need_steps(stage: Stage, broker: str, ready: Event | None) -> None:
    """Refuse the trial where a step of its faults is not there: on this broker, in this pool, or
    in the worker's own Celery and kombu."""
    # The app's command may name another pool than the scenario.
    pool = steps.pool_of(ready.data.get("pool") if ready else "", stage.scenario.pool)
    faults = stage.scenario.faults
    steps.need([(fault.when, fault.target) for fault in faults], broker, pool)
    missing = ready.data.get("steps_missing") if ready else ()
    if isinstance(missing, list):
        steps.refuse_moved(missing, [fault.when for fault in faults])


def _publish(stage: Stage) -> Process:
    return stage.start_producer()


def _until_settled(stage: Stage, producer: Process, horizon: Horizon) -> None:
    """Publish, break, heal and drain overlap in time; this is the loop they share."""
    bound_s = stage.scenario.ends_within_s(horizon.seconds)
    stage.bound_s = time.monotonic() + bound_s
    if stage.scenario.in_turn:
        _take_turns(stage, producer, horizon)
    if not stage.tick_until(lambda: producer.poll() is not None, _left_s(stage)):
        raise HarnessError(f"the producer did not end within {bound_s:.0f} s")
    ended = producer.poll()
    if ended is not None and ended.status != 0:
        stage.note("trial_error", why=f"the producer failed ({ended}): {last_lines(producer.log)}")
    if not stage.tick_until(stage.faults_done, _left_s(stage)):
        raise HarnessError(f"a fault was still at work after {bound_s:.0f} s")
    stage.busy_s = time.monotonic()  # idleness counts from here
    settled = _settle(stage, horizon)
    stage.note("drain_ended", **msgspec.structs.asdict(settled))


def _take_turns(stage: Stage, producer: Process, horizon: Horizon) -> None:
    """A turn ends as a trial does: when the fate of every message so far is determined.

    Where a worker lives on that keeps a message and will not settle it, or takes no more of them,
    it is restarted, as a deploy would one day: else it would meet the next turn's fault.
    """

    def next_one() -> bool:
        return stage.paused() or producer.poll() is not None

    while stage.tick_until(next_one, _left_s(stage)) and stage.paused():
        settled = _settle(stage, horizon)
        # Its last step may come when the broker has nothing left to show.
        if not stage.struck() and stage.tick_until(stage.struck, drain.TRANSIT_S):
            settled = _settle(stage, horizon)
        if not settled.settled or drain.kept(stage.history(), stage.live_roles()):
            stage.restart_workers()
            settled = _settle(stage, horizon)
        if not settled.settled:
            raise HarnessError(f"a turn did not come to its end: {settled.why}")
        stage.next_turn()


def _settle(stage: Stage, horizon: Horizon) -> drain.Settled:
    """Wait until waiting longer changes nothing, or the trial gives up."""
    looks = drain.Looks()
    settled: drain.Settled | None = None
    while settled is None:
        stage.tick()
        if _busy(stage, horizon):
            looks.forget()
            settled = drain.gave_up(_drain(stage, horizon))
            continue
        _look(stage, looks)
        now = _drain(stage, horizon)
        if not _busy(stage, horizon):
            settled = drain.decide(now, looks) or drain.gave_up(now, looks.view)
    return settled


def _left_s(stage: Stage) -> float:
    return stage.bound_s - time.monotonic()


def _busy(stage: Stage, horizon: Horizon) -> bool:
    """Whether a fault or a worker is at work; remembers when that was last so."""
    busy = not stage.faults_done() or drain.busy(_drain(stage, horizon))
    if busy:
        stage.busy_s = time.monotonic()
    return busy


def _drain(stage: Stage, horizon: Horizon) -> drain.Drain:
    return drain.Drain(
        history=stage.history(),
        live=stage.live_roles(),
        horizon=horizon,
        patience_s=stage.scenario.patience_s,
        now_s=time.monotonic(),
        now_at_s=time.time(),
        progress_s=stage.progress_s,
        idle_s=max(stage.busy_s, stage.progress_s),
        bound_s=stage.bound_s,
        attempts_max=stage.scenario.attempts_max,
    )


def _look(stage: Stage, looks: drain.Looks) -> None:
    """Ask the broker what it holds, not more often than it likes to be asked; then read what
    happened meanwhile, and only then believe it."""
    stage.tick_until(lambda: stage.looked_s + VIEW_EVERY_S < time.monotonic(), VIEW_EVERY_S * 2)
    asked_s = time.monotonic()
    view = stage.lease.view(stage.live_settings)
    stage.looked_s = time.monotonic()
    stage.tick()
    looks.add(view, asked_s=asked_s, answered_s=stage.looked_s, stirred_s=stage.stirred_s)


def _collect(stage: Stage) -> None:
    """Stop the workers, then name every message the broker still holds; read the effects."""
    received = list(stage.history().of("received", "given_back"))
    stage.stop()
    stage.tick()
    view = stage.lease.name_held(stage.live_settings, received)
    stage.note("broker_final", view=msgspec.to_builtins(view))
    if stage.workload.effects:
        _read_effects(stage)
    if "results" in stage.scenario.needs:
        read_results(stage)


def _read_effects(stage: Stage) -> None:
    reader = stage.start_effects()
    stage.tick_until(lambda: reader.poll() is not None, EFFECTS_TIMEOUT_S)
    ended = reader.poll()
    if ended is None or ended.status != 0:
        how = ended or f"it did not end within {EFFECTS_TIMEOUT_S:.0f} s"
        _no_effects(stage, f"the effects command failed ({how}): {last_lines(reader.log)}")
        return
    lines = reader.log.read_text().splitlines()
    try:
        effects = [json.loads(line) for line in lines if line.strip()]
        for effect in effects:
            stage.note(
                "effect_applied",
                task_id=str(effect["task_id"]),
                retries=int(effect.get("retries", 0)),
                applied_at_s=effect.get("at_s"),
            )
    except (ValueError, KeyError, TypeError) as error:
        _no_effects(stage, f"the effects command printed no JSON lines: {error!r}")
        return
    stage.note("effects_read", number=len(effects))


def _no_effects(stage: Stage, why: str) -> None:
    stage.note("effects_failed", why=why)
    stage.note("trial_error", why=why)


def overridden(asked: Settings, live: Settings) -> list[str]:
    """Settings of the trial that the worker does not run with."""
    found = []
    for name, value in asked.items():
        real = live.get(name)
        led = urlsplit(str(value))
        if name == "result_backend" and (led.hostname or led.scheme.startswith("redis")):
            continue  # led to the run's own
        same = (
            isinstance(real, Mapping) and value.items() <= real.items()
            if isinstance(value, Mapping)
            else real == value
        )
        if not same:
            found.append(f"the worker runs with {name} = {real!r}, the trial asked for {value!r}")
    return found


def last_lines(log: Path) -> str:
    """What the end of a log says, in one line: of a traceback, its exception."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "no log"
    told: list[str] = []
    for line in reversed(lines):
        if told and (line[:1].isspace() or line.startswith("Traceback ")):
            break
        if line.strip():
            told.insert(0, line.strip()[:LOG_LINE_LENGTH])
        if len(told) == LOG_LINES:
            break
    return " | ".join(told) or "an empty log"


def shown(path: Path) -> str:
    """As seen from the working folder, where that is shorter."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _ended_at_start(stage: Stage, name: str) -> str:
    process = stage.workers[name]
    said = f"{name} ended at start ({process.poll()}): {last_lines(process.log)}"
    return f"{said} (all of it: {shown(process.log)})"


def _mend(stage: Stage, name: str) -> str:
    """Where it was for want of something of the machine's."""
    try:
        return shortage.mend(stage.workers[name].log.read_text(errors="replace"))
    except OSError:
        return ""


def _not_met(stage: Stage, names: set[str]) -> str:
    history = stage.history()
    ready = {event.role for event in history.events if event.kind == "worker_ready"}
    if not history.events or not any(event.role in names for event in history.events):
        why = "the probe was not loaded (does the worker command start Python with -E, -I or -S?)"
    elif failed := history.first("marker_failed"):
        why = f"{failed.role} could not send its marker task: {failed.data['error']}"
    elif names - ready:
        why = f"{', '.join(sorted(names - ready))} not ready after {BASELINE_TIMEOUT_S:.0f} s"
    else:
        why = "a worker is ready but did not complete its marker task"
    first = min(names)
    return f"baseline not met: {why}; {first}: {last_lines(stage.workers[first].log)}"
