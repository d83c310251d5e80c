"""The four protocols of the engine, and the few things they hand to each other.

A new broker, runtime, fault or check is one file that satisfies one of these. Peers
never import each other; the trial knows only what is on this screen.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from harness.history import History
from harness.model import (
    BrokerView,
    Endpoint,
    Event,
    Evidence,
    Exit,
    Horizon,
    Settings,
    Trigger,
    Verdict,
)


class Process(Protocol):
    """A command that a runtime started; it leads a process group of its own."""

    name: str
    pid: int
    log: Path

    def poll(self) -> Exit | None: ...
    def exits(self) -> Sequence[Exit]:
        """Every descendant known to have ended, the command itself included."""

    def signal(self, signum: int) -> None:
        """To the command alone, as an orchestrator does."""

    def signal_group(self, signum: int) -> None:
        """To its whole process group."""

    def stop(self) -> None:
        """End the command and everything that came from it, now. Idempotent."""


class Runtime(Protocol):
    """Starts processes so that none outlives the harness, even one that is SIGKILLed."""

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        remove: Sequence[Path] = (),
    ) -> Process:
        """``env`` is the whole environment; ``remove`` are folders that are its own: made
        where they are missing, and deleted at the end."""


class Lease(Protocol):
    """One trial's private part of a broker (a vhost, a database, a queue prefix)."""

    host: str
    port: int

    def url(self, host: str, port: int) -> str:
        """The broker URL when reached at ``host:port``: directly, or through a proxy."""

    def settings(self) -> Settings:
        """What isolates this trial; merged over the profile's settings."""

    def view(self, live: Settings) -> BrokerView:
        """What the broker holds for this trial now. Changes nothing."""

    def name_held(self, live: Settings, received: Sequence[Event]) -> BrokerView:
        """As ``view``, with every held message named; all workers are gone by now, so
        messages may be taken and put back. ``received`` are the probe's events of messages that
        came to a worker or were given back by one, in order (SQS needs their receipt handles and
        times)."""

    def horizon(self, live: Settings) -> Horizon: ...
    def release(self) -> None: ...


class Broker(Protocol):
    """A kind of broker: starts a server of our own, and leases parts of it."""

    name: str

    def start(self, runtime: Runtime, folder: Path) -> Endpoint:
        """Start a server on loopback, on a free port, with its data in ``folder``;
        returns when it answers. Raises MissingPartError or StartError."""

    def lease(self, endpoint: Endpoint, index: int) -> Lease:
        """``index`` is unique among the trials of a run, from 0."""

    def hardened(self, longest_task_s: float) -> Settings:
        """The broker's share of the ``hardened`` profile, for tasks of at most this long."""


class Link(Protocol):
    """The proxied connection between the workers and the broker, driven by Toxiproxy."""

    host: str
    port: int
    """Where the proxy listens."""

    def add(self, toxic: str, stream: str, **attributes: float) -> None: ...
    def clear(self) -> None:
        """Remove every toxic. Idempotent."""

    def close_connections(self) -> None:
        """Close every open connection, even an idle one; both sides see an orderly end."""

    def freeze(self) -> None:
        """Let nothing pass, in either direction, and close nothing. Idempotent."""

    def thaw(self) -> None:
        """Let go what was held back, on the same connections. Idempotent."""

    def frozen(self) -> bool: ...
    def counters(self) -> Mapping[str, int]:
        """Bytes so far, by name; ``sent_downstream`` are those that reached the workers."""

    def connections(self) -> frozenset[tuple[int, int]]:
        """Established client connections: (client port, proxy port)."""


class Stack(Protocol):
    """What a fault may touch: the trial's own workers and its own link."""

    def worker(self, role: str) -> Process: ...
    def role(self, at: Event) -> str:
        """The worker that came to it; the first that runs, where the producer did."""

    def child_pid(self, at: Event) -> int | None:
        """Pid of the pool process that has the message; None: none has, or there is none."""

    def release(self, at: Event, error: str = "") -> None:
        """Let the process that waits at its step go on, or have it raise ``module:Class``.
        Idempotent; of no effect on one that is dead."""

    def meet(self, at: Event, step: str) -> None:
        """Let the pool process that has the message go on to ``step``, where it waits as well."""

    def met(self, at: Event) -> bool:
        """Whether it has come there."""

    def left(self, at: Event) -> str:
        """How the process that waited at its step went on: ``released``, ``raised``, or not
        (yet): empty."""

    def main_pid(self, role: str) -> int:
        """Pid of the worker's main process, which need not be the command's own."""

    def need_link(self) -> Link: ...
    def history(self) -> History: ...


Firing = Generator[float, None, Evidence]
"""A fault at work: yields seconds to wait, and at its end returns its evidence."""


class Fault(Protocol):
    """Breaks one thing, proves that it did, and heals."""

    @property
    def kind(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def when(self) -> Trigger: ...
    @property
    def kills(self) -> bool:
        """Whether it ends processes; then it must have cut off a task to have hit anything."""

    @property
    def needs_link(self) -> bool:
        """Whether the workers must reach the broker through a proxy."""

    @property
    def holds(self) -> bool:
        """Whether the process that came to the step waits there until the fault is done."""

    @property
    def stills(self) -> bool:
        """Whether the pool process that has the message is stopped meanwhile, where main waits."""

    @property
    def lasts_s(self) -> float:
        """How long it is at work, by its plan."""

    def fire(self, stack: Stack, at: Event) -> Firing:
        """``at`` is the event that triggered it. Durations are bounded and in the plan."""

    def heal(self, stack: Stack) -> None:
        """Undo whatever is left. Idempotent."""


class Check(Protocol):
    """A pure function from History to Verdict; a value with a name and parameters.

    It may have ``needs``, a set of names: ``results`` has the result backend read at the end.
    """

    def judge(self, history: History) -> Verdict: ...
    def __str__(self) -> str: ...
