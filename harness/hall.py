"""The servers of a run: each started once, on first need, and lent to every trial.

One process holds the hall (pytest's controller); pytest-xdist's workers reach it through a
manager on loopback, with a key that only this run knows. When the holder dies, however it
dies, the guards of its servers end them.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import secrets
import shutil
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import IO, cast

from msgspec import Struct

from harness import brokers
from harness.model import Endpoint, Exit, MissingPartError, Settings, StartError
from harness.protocols import Lease, Link, Process
from harness.runtimes import toxiproxy
from harness.runtimes.local import LocalRuntime, start_nursery
from harness.runtimes.nursery import warm_is_possible


class Recording:
    """A runtime that remembers what it started, so that the hall can ask how it ended."""

    def __init__(self) -> None:
        self.started: list[Process] = []
        self.closed = False
        self._runtime = LocalRuntime()

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
        process = self._runtime.start(name, command, env=env, cwd=cwd, log=log, remove=remove)
        self.started.append(process)
        if self.closed:
            process.stop()
            raise StartError(f"{name} is not needed any more")
        return process

    def close(self) -> None:
        """End all that was started, and whatever is being started now. Idempotent."""
        self.closed = True
        for process in self.started:
            process.stop()


SERVERS, TEMP = "servers", "tmp"
"""Below a run's folder: what its servers keep, and what its tests do. They go with the run."""
LOCK = "lock"
START_TRIES = 2
"""A port that was free when it was chosen may be taken when the server comes to it."""
CLOSE_TIMEOUT_S = 2.0


class Hall:
    """Starts servers and hands out their addresses. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._runtimes: dict[str, Recording] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._numbers = itertools.count()
        self._nursery: tuple[Process, str] | None = None
        self._folders = itertools.count()
        self._closed = False
        self._failed: dict[str, StartError] = {}
        self._lock: IO[str] | None = None
        self.users: set[int] = set()
        """Pids of the pytest-xdist workers that use the hall."""

    def next_index(self) -> int:
        """A number no other trial of the run has."""
        return next(self._numbers)

    def join(self, pid: int) -> None:
        """A pytest-xdist worker makes itself known."""
        self.users.add(pid)

    def broker(self, name: str) -> Endpoint:
        """The broker's server, started if there is none or it has died. Raises HarnessError."""
        with self._locks[name]:
            if name in self._failed:
                raise self._failed[name]
            known = self._endpoints.get(name)
            if known is None or self.exit_of(name, known.pid) is not None:
                self._endpoints[name] = self._started(name)
            return self._endpoints[name]

    def nursery(self) -> str:
        """Address of the process from which Python commands start warm; empty: there is none."""
        if not warm_is_possible():
            return ""
        with self._locks["nursery"]:
            if self._nursery is None:
                self._nursery = start_nursery(self._claimed("nursery"))
            return self._nursery[1]

    def exit_of(self, name: str, pid: int) -> Exit | None:
        """How the server with this pid ended; None while it runs."""
        runtime = self._runtimes.get(name)
        for process in runtime.started if runtime else ():
            if process.pid == pid:
                return process.poll()
        return None

    def versions(self) -> dict[str, str]:
        """What ran, by the server's name."""
        return {name: endpoint.version for name, endpoint in sorted(self._endpoints.items())}

    def close(self) -> None:
        """End every server, keep its log, and delete its data. Idempotent."""
        self._closed = True
        for name, runtime in list(self._runtimes.items()):
            runtime.close()
            # A server that was just being started sees that it has ended, and gives up.
            if self._locks[name].acquire(timeout=CLOSE_TIMEOUT_S):
                self._locks[name].release()
            runtime.close()
        if self._nursery is not None:
            self._nursery[0].stop()
        logs = self._folder.parent / "logs"
        for log in self._folder.rglob("*.log"):
            logs.mkdir(exist_ok=True)
            shutil.copy(log, logs / f"{log.relative_to(self._folder).parts[0]}-{log.name}")
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    def _claimed(self, name: str) -> Path:
        """A folder below ours, which is locked for as long as this process lives: what is left in
        one that nobody holds any more is anybody's to clear away (``sweep``)."""
        with self._locks[LOCK]:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._lock is None:
                self._lock = (self._folder / LOCK).open("w")
                fcntl.flock(self._lock, fcntl.LOCK_EX)
        folder = self._folder / name
        folder.mkdir()
        return folder

    def _started(self, name: str) -> Endpoint:
        runtime = self._runtimes.setdefault(name, Recording())
        for left in reversed(range(START_TRIES)):
            if self._closed:
                raise StartError("the run is over")
            folder = self._claimed(f"{name}-{next(self._folders)}")
            try:
                return brokers.load(name).start(runtime, folder)
            except StartError as error:
                if not left:
                    self._failed[name] = error  # nor would it start for the next trial
                    raise
        raise AssertionError("it returns or raises")


def sweep(out: Path) -> None:
    """Remove what runs below ``out`` have left that were killed: their servers' data."""
    for lock in out.glob(f"*/{SERVERS}/{LOCK}"):
        with suppress(OSError), lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its run is over
            for name in (SERVERS, TEMP):
                shutil.rmtree(lock.parents[1] / name, ignore_errors=True)


class Address(Struct, frozen=True):
    """How to reach a hall from another process."""

    host: str
    port: int
    key: str


class _Manager(BaseManager):
    pass


_Manager.register("hall")


def serve(hall: Hall) -> Address:
    """Make ``hall`` reachable for the processes that are told the address."""
    key = secrets.token_hex(16)

    class Server(BaseManager):
        pass

    Server.register("hall", callable=lambda: hall)
    manager = Server(address=("127.0.0.1", 0), authkey=key.encode())
    server = manager.get_server()
    threading.Thread(target=server.serve_forever, name="ackproof-hall", daemon=True).start()
    host, port = cast("tuple[str, int]", server.address)
    return Address(host=host, port=port, key=key)


def join(address: Address) -> Hall:
    """The hall of another process, as if it were here."""
    manager = _Manager(address=(address.host, address.port), authkey=address.key.encode())
    manager.connect()
    hall: Hall = manager.hall()  # type: ignore[attr-defined]
    hall.join(os.getpid())
    return hall


class HallServices:
    """What a trial needs of the run, on top of a hall. Satisfies ``trial.Services``."""

    def __init__(self, hall: Hall) -> None:
        self._hall = hall
        self._pids: dict[str, int] = {}
        self._proxies: dict[str, Process] = {}
        self.runtime = LocalRuntime(hall.nursery())

    def next_index(self) -> int:
        return self._hall.next_index()

    def lease(self, broker: str, index: int) -> Lease:
        endpoint = self._hall.broker(broker)
        self._pids[broker] = endpoint.pid
        return brokers.load(broker).lease(endpoint, index)

    def results(self) -> Lease | None:
        try:
            endpoint = self._hall.broker("redis")
        except MissingPartError:
            return None
        return brokers.load("redis").lease(endpoint, self.next_index())

    def hardened(self, broker: str, longest_task_s: float) -> Settings:
        return brokers.load(broker).hardened(longest_task_s)

    def died(self, broker: str) -> str:
        ended = self._hall.exit_of(broker, self._pids[broker])
        return str(ended) if ended else ""

    def link(self, name: str, host: str, port: int, folder: Path) -> Link:
        process, endpoint = toxiproxy.start(self.runtime, folder)
        self._proxies[name] = process
        try:
            return toxiproxy.create(endpoint, name, host, port)
        except BaseException:
            self.drop_link(name)
            raise

    def drop_link(self, name: str) -> None:
        self._proxies.pop(name).stop()
