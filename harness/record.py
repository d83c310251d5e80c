"""What a run leaves in ``run.json``: the output contract (schema ``ackproof/run/1``).

Names here are checked from outside; add, never rename.
"""

from __future__ import annotations

from msgspec import Struct, field

from harness.model import Counts, Outcome

SCHEMA = "ackproof/run/1"


class FaultRecord(Struct, frozen=True):
    """One fault of a trial: what was planned, and the proof that it happened."""

    kind: str
    target: str
    trigger: str
    fired_at_s: float | None
    """Seconds since the trial's first publish; None when the trigger never came."""
    landed: bool
    evidence: dict[str, object] = field(default_factory=dict)
    hit: list[dict[str, object]] = field(default_factory=list)
    """Messages in flight when it fired: task_id, retries, the last step each reached, and its
    fate (``model.Fate``)."""


class Timings(Struct, frozen=True):
    """Seconds. None where the history does not say (no fault: no recovery)."""

    recovery_s: float | None = None
    """From the first fault to the first completion, after it, of a task that started after it."""
    horizon_s: float | None = None
    useful_work_s: float = 0.0
    """Time inside executions that ended; the first of each message."""
    wasted_work_s: float = 0.0
    """Time inside executions that were cut off, or repeated one that had ended."""
    trial_s: float = 0.0


class StrandedMessage(Struct, frozen=True):
    """A message still held when the trial ended, and when it would come back."""

    task_id: str
    retries: int
    where: str
    back_in_s: float | None
    """Seconds after the end of the trial by which it is offered again; None: unknown."""
    why: str = ""


UNKNOWN_TRIES = 2
"""How often a trial that came to no conclusion is run again, where nobody says."""


class Try(Struct, frozen=True):
    """A try of a trial that came to no conclusion, after which it was run again."""

    id: str
    bundle: str
    reasons: list[str]


class TrialRecord(Struct, frozen=True):
    """One trial, as the contract has it, and what a reader needs beside it."""

    id: str
    scenario: str
    broker: str
    profile: str
    settings: dict[str, object]
    faults: list[FaultRecord]
    counts: Counts
    timings: Timings
    verdict: Outcome
    reasons: list[str]
    bundle: str
    """The trial's folder, relative to the run folder: ``trials/<id>``."""
    expected: Outcome = Outcome.HOLDS
    """A canary expects ``broken``; a trial passes when its verdict is what it expects."""
    claim: str = ""
    """The scenario's docstring, first line."""
    horizon: list[str] = field(default_factory=list)
    """The derivation of ``timings.horizon_s``."""
    stranded: list[StrandedMessage] = field(default_factory=list)
    seed: int = 0
    tries: list[Try] = field(default_factory=list)
    """Earlier tries, each of which came to no conclusion. A conclusion is never tried again."""

    @property
    def passed(self) -> bool:
        return self.verdict is self.expected and self.verdict is not Outcome.UNKNOWN


class RunRecord(Struct, frozen=True):
    """``run.json``."""

    schema: str
    run_id: str
    seed: int
    time_scale: float
    versions: dict[str, str]
    trials: list[TrialRecord]
    command: str = ""
    machine: str = ""
    started_at_s: float = 0.0
    duration_s: float = 0.0
    jobs: int = 1
    complete: bool = True
    """False when the run was interrupted: what is here is right, but not all there was."""
    not_run: list[str] = field(default_factory=list)
    """Trials asked for that did not run, each with the reason."""
    errors: list[str] = field(default_factory=list)
    """Those of ``not_run`` where something went wrong; the others only lack a part."""
    failed: list[str] = field(default_factory=list)
    """Tests that failed by an assertion of their own, after a trial that came out well."""
