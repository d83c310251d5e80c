"""Stand-ins for what a trial stands on: a runtime, a lease and a link that only remember.

runtime = FakeRuntime()
stage = Stage(scenario, workload, runtime, FakeLease(), FakeLink(), {}, folder)
runtime["worker-1"].ends(signal=9)
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from harness.model import MARKER_TASK, BrokerView, Event, Exit, Horizon, Settings

PID_MAX = 4_194_304
"""Linux gives no process a number as high: nobody's pid, so nobody is signalled or seen."""


class FakeProcess:
    """A command that runs until it is told how it ended."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.pid = PID_MAX
        self.log = log
        self.signals: list[int] = []
        self.stops = 0
        self._ended: Exit | None = None

    def ends(self, status: int | None = None, signal: int | None = None) -> None:
        self._ended = Exit(self.pid, status, signal, time.monotonic())

    def poll(self) -> Exit | None:
        return self._ended

    def exits(self) -> Sequence[Exit]:
        return (self._ended,) if self._ended else ()

    def signal(self, signum: int) -> None:
        self.signals.append(signum)

    def signal_group(self, signum: int) -> None:
        self.signals.append(-signum)

    def stop(self) -> None:
        self.stops += 1


class FakeRuntime:
    """Remembers what it was asked to start, by name."""

    def __init__(self) -> None:
        self.started: dict[str, FakeProcess] = {}
        self.env: dict[str, Mapping[str, str]] = {}
        self.commands: dict[str, list[str]] = {}

    def __getitem__(self, name: str) -> FakeProcess:
        return self.started[name]

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        remove: Sequence[Path] = (),
    ) -> FakeProcess:
        del cwd, remove
        self.started[name] = FakeProcess(name, log)
        self.env[name] = env
        self.commands[name] = list(command)
        return self.started[name]


class FakeLease:
    """A broker that holds nothing, at a port of its own."""

    host = "127.0.0.1"
    port = 1

    def url(self, host: str, port: int) -> str:
        return f"fake://{host}:{port}/0"

    def settings(self) -> Settings:
        return {}

    def view(self, live: Settings) -> BrokerView:
        del live
        return BrokerView(at_s=time.time(), ready=0, unacked=0)

    def name_held(self, live: Settings, received: Sequence[Event]) -> BrokerView:
        del received
        return self.view(live)

    def horizon(self, live: Settings) -> Horizon:
        del live
        return Horizon(1.0, ("nothing ever comes back",))

    def release(self) -> None:
        """Nothing was taken."""


class FakeLink:
    """A proxied connection that nobody uses."""

    host = "127.0.0.1"
    port = 2

    def __init__(self) -> None:
        self._frozen = False

    def add(self, toxic: str, stream: str, **attributes: float) -> None:
        """No toxic does anything here."""

    def clear(self) -> None:
        """There is none."""

    def close_connections(self) -> None:
        """There is none."""

    def freeze(self) -> None:
        self._frozen = True

    def thaw(self) -> None:
        self._frozen = False

    def frozen(self) -> bool:
        return self._frozen

    def destroy(self) -> None:
        """There is nothing to close."""

    def counters(self) -> Mapping[str, int]:
        return {}

    def connections(self) -> frozenset[tuple[int, int]]:
        return frozenset()


class FakeProbe:
    """Writes what the probe of one process would write."""

    def __init__(self, folder: Path, role: str = "worker-1", pid: int = PID_MAX) -> None:
        self._file = folder / "events" / f"{role}-{pid}.jsonl"
        self._role = role
        self._pid = pid

    def reaches(self, step: str, task_id: str, index: int = 0) -> None:
        """What the probe writes when an armed step is reached."""
        self.notes("step_reached", task_id, index=index, step=step, nth=1)

    def notes(self, kind: str, task_id: str = "", *, marker: bool = False, **data: object) -> None:
        event = Event(
            kind=kind,
            at_s=time.time(),
            mono_s=time.monotonic(),
            pid=self._pid,
            role=self._role,
            task_id=task_id,
            task=MARKER_TASK if marker else "work",
            data=data,
        )
        with self._file.open("ab") as stream:
            stream.write(msgspec.json.encode(event) + b"\n")
