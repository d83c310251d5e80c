"""Watches what a fault does, from outside: by the kernel, and by a client of its own.

Independent of the evidence that the fault returns, which is what it is held against.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Self

import psutil

LOOK_S = 0.02
PING_S = 0.05
PING = b"PING\r\n"
"""To be refused, for it knows no password, is to be answered."""


class Sample(NamedTuple):
    """The processes of a worker at one moment between ``mono_s`` and ``until_s``: what each of
    them is doing, by pid, and the local ports of their connections to the link. One that has
    ended is not there."""

    mono_s: float
    until_s: float
    status: Mapping[int, str]
    connections: frozenset[int]

    @property
    def stopped(self) -> frozenset[int]:
        return frozenset(p for p, status in self.status.items() if status == psutil.STATUS_STOPPED)


class Ping(NamedTuple):
    """A question through the link, and how long it took to be answered; None: it was cut off."""

    mono_s: float
    took_s: float | None


class Watch:
    """Looks all the time at the worker that writes its events to ``events``, until it is left; and
    where there is a link, asks Redis something through it, as a stranger."""

    def __init__(self, events: Path, link: Callable[[], tuple[str, int] | None]) -> None:
        self.samples: list[Sample] = []
        self.pings: list[Ping] = []
        self._events = events
        self._link = link
        self._over = threading.Event()
        self._threads = [threading.Thread(target=one) for one in (self._look, self._ping)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def during(self, from_s: float, until_s: float) -> list[Sample]:
        found = [one for one in self.samples if from_s <= one.mono_s and one.until_s <= until_s]
        assert found, f"nobody looked between {from_s} and {until_s}"
        return found

    def before(self, mono_s: float) -> Sample:
        return [one for one in self.samples if one.until_s <= mono_s][-1]

    def after(self, mono_s: float) -> Sample:
        return next(one for one in self.samples if one.mono_s > mono_s)

    def _look(self) -> None:
        while not self._over.wait(LOOK_S):
            now_s = time.monotonic()
            address = self._link()
            status: dict[int, str] = {}
            connections: set[int] = set()
            for pid in self._pids():
                with contextlib.suppress(psutil.Error, FileNotFoundError, ProcessLookupError):
                    process = psutil.Process(pid)
                    if process.status() == psutil.STATUS_ZOMBIE:
                        continue
                    status[pid] = process.status()
                    if address is not None:
                        connections |= _to(process, address[1])
            self.samples.append(Sample(now_s, time.monotonic(), status, frozenset(connections)))

    def _pids(self) -> set[int]:
        """The first worker's processes that have told something: main, and each child that has
        begun a task. A replacement has another name."""
        return {int(file.name.split("-")[2]) for file in self._events.glob("worker-1-*.jsonl")}

    def _ping(self) -> None:
        connection: socket.socket | None = None
        while not self._over.wait(PING_S):
            address = self._link()
            if address is None:
                continue
            asked_s, said = time.monotonic(), b""
            with contextlib.suppress(OSError):
                connection = connection or socket.create_connection(address, timeout=30.0)
                connection.sendall(PING)
                said = connection.recv(100)
            took_s = time.monotonic() - asked_s if said else None
            self.pings.append(Ping(asked_s, took_s))
            if took_s is None and connection is not None:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()


def _to(process: psutil.Process, port: int) -> set[int]:
    """The local ports of its established connections to there."""
    return {
        one.laddr.port
        for one in process.net_connections("tcp")
        if one.status == psutil.CONN_ESTABLISHED and one.raddr.port == port
    }
