"""What a scenario file says: one claim, as a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.model import Settings
from harness.protocols import Check, Fault

BOUND_SPARE_S = 60.0
BOUND_TIMES = 4.0


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A workload, Celery settings, faults with triggers, checks. Times in seconds."""

    workload: str = "workloads/ledger"
    """Folder with a ``workload.toml``: relative to the working folder, or one that ships."""
    tasks: int = 12
    task_duration_s: float = 0.5
    workers: int = 1
    concurrency: int = 2
    pool: str = "prefork"
    settings: Settings = field(default_factory=dict)
    """Celery settings, laid over the profile's."""
    options: dict[str, str] = field(default_factory=dict)
    """The workload's own options, such as ``variant``."""
    env: dict[str, str] = field(default_factory=dict)
    """Environment of the workers, over the workload's own: ``{"REMAP_SIGTERM": "SIGQUIT"}``."""
    faults: Sequence[Fault] = ()
    in_turn: bool = False
    """Whether each fault has a message of its own: the next message is published when the end of
    the last one is known, and only then is the next fault armed. So many trials are one."""
    checks: Sequence[Check] = ()
    replace_workers: bool = True
    """Whether a worker that ended is replaced, as an orchestrator would do."""
    late_after_s: float | None = None
    """A completion by redelivery later than this is late; None: as late as the horizon."""
    patience_s: float = 45.0
    """How long to wait, without any progress, for a message to come back. A message that
    comes back later is stranded."""

    bound_s: float | None = None
    """How long the trial may take after its baseline, whatever goes on; None: as its plan says
    (``ends_within_s``)."""
    attempts_max: int = 20
    """A message that was started so often, with nothing else left to do, would be for ever."""

    @property
    def needs(self) -> frozenset[str]:
        """What its checks need beyond the events: ``results``, read from the result backend."""
        return frozenset().union(*(getattr(check, "needs", ()) for check in self.checks))

    @property
    def least_s(self) -> float:
        """The least time its tasks and faults take: what orders the trials of a run."""
        work_s = self.tasks * self.task_duration_s / (self.concurrency * self.workers)
        return work_s + sum(fault.lasts_s for fault in self.faults)

    def ends_within_s(self, horizon_s: float) -> float:
        """The hard bound of a trial: several times what its tasks and faults take, on a busy
        machine, and its patience twice, for the message that comes back with the last of it; all
        that for each turn, where there are turns."""
        if self.bound_s is not None:
            return self.bound_s
        waits_s = 2 * self.patience_s + min(horizon_s, self.patience_s)
        turns = len(self.faults) if self.in_turn else 1
        return turns * (BOUND_SPARE_S + waits_s) + BOUND_TIMES * self.least_s
