"""The values everything else speaks in: frozen records, and no I/O.

Times are seconds and say so in their names. ``at_s`` is wall-clock time (Unix epoch),
``mono_s`` is ``CLOCK_MONOTONIC``, which all processes of one machine share: intervals
and order are computed from ``mono_s`` alone, so a stepping wall clock cannot change a
verdict; ``at_s`` is for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct, field

Settings = Mapping[str, object]
"""Celery settings by their lower-case names, JSON values only."""

MARKER_TASK = "ackproof.marker"
"""Name of the task the probe adds for the baseline; it is never counted."""


class MessageId(NamedTuple):
    """What identifies a message: Celery's own retry is another message, not a duplicate."""

    task_id: str
    retries: int


class Event(Struct, frozen=True, omit_defaults=True):
    """One line of a history. Written by the probe or by the harness, never changed."""

    kind: str
    at_s: float
    mono_s: float
    pid: int
    role: str
    """Who wrote it: ``worker-1``, ``worker-1+`` (its replacement), ``producer``, ``harness``."""
    task_id: str = ""
    retries: int = 0
    task: str = ""
    """The task's registered name."""
    data: dict[str, object] = field(default_factory=dict)

    @property
    def message(self) -> MessageId:
        return MessageId(self.task_id, self.retries)


class Outcome(StrEnum):
    """What a check, and a trial, comes to. ``unknown`` never passes."""

    HOLDS = "holds"
    BROKEN = "broken"
    UNKNOWN = "unknown"


class Fate(StrEnum):
    """What became of one message in the end; worst last, but for not knowing."""

    ONCE = "once"
    """Completed, and its body was never started again."""
    DUPLICATE = "duplicate"
    """Completed, and its body was started more than once."""
    PENDING = "pending"
    """Completed once, and the broker still holds it: it would be delivered again."""
    STRANDED = "stranded"
    """Not completed, and still held: it comes back later than the trial waited."""
    LOST = "lost"
    """Not completed, and nobody holds it."""
    UNKNOWN = "unknown"
    """Its publish came to no outcome, or the history has a gap."""


class Verdict(Struct, frozen=True):
    """An outcome and why. ``reasons`` is empty only when the outcome is ``holds``."""

    outcome: Outcome
    reasons: tuple[str, ...] = ()


class Counts(Struct, frozen=True):
    """What is counted; the names are the output contract (DESIGN.md, "What is counted").

    ``duplicate_effects`` is None when the workload declares no way to read its effects:
    zero would be a claim that nobody checked.
    """

    attempted: int = 0
    confirmed: int = 0
    rejected: int = 0
    indeterminate: int = 0
    completed: int = 0
    lost: int = 0
    stranded: int = 0
    late: int = 0
    duplicate_executions: int = 0
    overlapping_executions: int = 0
    duplicate_effects: int | None = None
    unexpected: int = 0
    redelivery_pending: int = 0
    """Completed messages that the broker still held at the end: they would run again."""


class Held(Struct, frozen=True):
    """A message that the broker holds, and when it would be offered again.

    The two times are wall clock, and lie in the future of the view that tells them: who sees
    that one has passed gives None, and says in ``why`` what is still waited for.
    """

    task_id: str
    retries: int
    where: str
    """``ready`` or ``unacked``."""
    back_at_s: float | None = None
    """Latest time at which the broker offers it again; None: no time is set (it is ready
    now, or it returns when its consumer's connection ends, or it is overdue)."""
    why: str = ""
    earliest_at_s: float | None = None
    """Earliest such time; None: it may be any moment."""


class BrokerView(Struct, frozen=True):
    """What a broker says it holds for a trial, at one moment.

    ``held`` may name fewer messages than the two numbers count (AMQP does not say which
    messages a consumer holds); ``named`` tells whether it names them all.
    """

    at_s: float
    ready: int
    unacked: int
    held: tuple[Held, ...] = ()
    named: bool = True

    @property
    def total(self) -> int:
        return self.ready + self.unacked


class Horizon(Struct, frozen=True):
    """The longest a message can wait for redelivery, derived from live settings."""

    seconds: float
    derivation: tuple[str, ...]
    """One line a term: what, its value, where the value comes from."""
    earliest_s: float = 0.0
    """The shortest: nothing that a worker was given is offered again sooner after that,
    however its worker ended. Decides where the broker does not name what it holds."""


class Endpoint(Struct, frozen=True):
    """Where a server of ours listens: enough for another process to use it."""

    host: str
    port: int
    pid: int
    version: str
    extra: dict[str, str] = field(default_factory=dict)
    password: str = ""
    """Of the run: no other user of the machine knows it. Empty where a server can have none."""


class Exit(Struct, frozen=True):
    """How a process ended: ``status`` as the shell counts it, or the ``signal``."""

    pid: int
    status: int | None
    signal: int | None
    mono_s: float

    def __str__(self) -> str:
        if self.signal is not None:
            return f"pid {self.pid} ended by signal {self.signal}"
        return f"pid {self.pid} exited with status {self.status}"


class Evidence(Struct, frozen=True):
    """What a fault can prove it did. ``facts`` are JSON values, in the field's names."""

    landed: bool
    facts: dict[str, object] = field(default_factory=dict)
    why_not: str = ""
    """One sentence when ``landed`` is false."""


class Trigger(Struct, frozen=True):
    """When a fault fires: at the nth time that a step is reached, counted over the whole trial
    and all its processes. Progress beats wall clock, because it replays.
    """

    step: str
    nth: int = 1
    task: str = ""
    """Only of tasks by this registered name, or pattern (``*.charge``); empty: of any."""

    def __str__(self) -> str:
        of = f", task={self.task}" if self.task else ""
        return f"step({self.step}, nth={self.nth}{of})"


def step(name: str, nth: int = 1, task: str = "") -> Trigger:
    """Fire at the ``nth`` time that the step ``name`` is reached; ``ackproof steps`` lists them."""
    return Trigger(step=name, nth=nth, task=task)


class HarnessError(Exception):
    """The root of our errors: a sentence for the user; the command line exits with 3.

    ``mend`` says how to put it right.
    """

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(f"{what}. {mend}" if mend else what)
        self.what = what
        self.mend = mend


class UsageError(HarnessError):
    """A wrong name, option or folder."""


class NotHereError(HarnessError):
    """A trial that does not exist on its broker or in its pool: a step that they have not."""


class MissingPartError(HarnessError):
    """A server or binary that is not there."""


class StartError(HarnessError):
    """A server or a worker that did not come up; carries its last log lines."""
