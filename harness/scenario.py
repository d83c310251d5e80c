"""What a scenario file says: one claim, as a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.model import Settings
from harness.protocols import Check, Fault


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
    faults: Sequence[Fault] = ()
    checks: Sequence[Check] = ()
    replace_workers: bool = True
    """Whether a worker that ended is replaced, as an orchestrator would do."""
    late_after_s: float | None = None
    """A completion by redelivery later than this is late; None: as late as the horizon."""
    patience_s: float = 45.0
    """How long to wait, without any progress, for a message to come back. A message that
    comes back later is stranded."""

    @property
    def least_s(self) -> float:
        """The least time its tasks and faults take: what orders the trials of a run."""
        work_s = self.tasks * self.task_duration_s / (self.concurrency * self.workers)
        return work_s + sum(fault.lasts_s for fault in self.faults)
