"""The one polling loop of the project, and what starting a server needs of it.

A deadline is required everywhere, and a failure shows the last state seen.
"""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import psutil

from harness.model import Exit, HarnessError, StartError
from harness.processes import family

T = TypeVar("T")

LOG_LINES_SHOWN = 4
_LOG_TAIL_BYTES = 8192
_PORT_MIN = 15_000
_PORT_TRIES = 100


class NotYetError(Exception):
    """Raised by a probe instead of returning None, to tell what state it saw."""


class WaitedTooLongError(StartError):
    """A deadline passed; carries the last state seen."""


class NoAnswerError(HarnessError):
    """A server of ours that answered before is silent or gone."""


class _Started(Protocol):
    """What is needed of a process to wait for it (``harness.protocols.Process`` has it)."""

    name: str
    pid: int
    log: Path

    def poll(self) -> Exit | None: ...
    def stop(self) -> None: ...


def wait_until(
    probe: Callable[[], T | None], deadline_s: float, what: str, every_s: float = 0.02
) -> T:
    """Call ``probe`` until it returns something else than None, and return that.

    The probe tells what it saw instead by raising NotYetError. It is called at least once.
    ``what`` completes the sentence "waited 5 s for ...".
    Raises WaitedTooLongError after ``deadline_s`` seconds.
    """
    deadline = time.monotonic() + deadline_s
    seen = "nothing"
    while True:
        try:
            found = probe()
        except NotYetError as state:
            found, seen = None, str(state)
        if found is not None:
            return found
        if time.monotonic() >= deadline:
            raise WaitedTooLongError(f"waited {deadline_s:g} s for {what}; last seen: {seen}")
        time.sleep(every_s)


def wait_for_server(
    process: _Started,
    port: int,
    answer: Callable[[], T | None],
    deadline_s: float,
    every_s: float = 0.02,
) -> T:
    """Wait until a server that was just started gives its ``answer`` on ``port``; return that.

    Raises StartError, with the last lines of its log, when it ends or stays silent, or when
    somebody else listens on the port; by then the process is stopped.
    """

    def answer_of_the_living() -> T | None:
        if ended := process.poll():
            raise StartError(f"{process.name} ended at its start ({ended})")
        found = answer()
        # A server that we did not start must never be taken for ours: ours get emptied.
        if found is not None and not _listens(process.pid, port):
            raise StartError(f"port {port} is taken by another process")
        return found

    try:
        return wait_until(answer_of_the_living, deadline_s, f"{process.name} to answer", every_s)
    except StartError as error:
        process.stop()
        raise StartError(f"{error.what}. Its log ends: {log_tail(process.log)}") from error


def _listens(pid: int, port: int) -> bool:
    """Whether this process, or one that came from it, listens on the TCP port."""
    for member in family(pid):
        # A helper of the server may end while we look.
        with contextlib.suppress(psutil.NoSuchProcess):
            for connection in psutil.Process(member).net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return True
    return False


def log_tail(log: Path, lines: int = LOG_LINES_SHOWN) -> str:
    """Read the last non-empty lines of a log, joined by `` | `` into one line."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _LOG_TAIL_BYTES))
            text = stream.read().decode(errors="replace")
    except OSError as error:
        return f"(no log: {error.strerror})"
    shown = [line.strip() for line in text.splitlines() if line.strip()][-lines:]
    return " | ".join(shown) or "(empty)"


def free_port() -> int:
    """Choose a TCP port of 127.0.0.1 that nobody listens on, and keep it for a minute.

    It is taken from below the system's ephemeral range: a server may open its port seconds
    later (RabbitMQ does), and until then no outgoing connection of this machine, of which
    trials make thousands, is given it. Nor does another call, in whatever process, choose it
    for a minute: a connection through it was ended by this side, and in ``TIME_WAIT`` it keeps
    from the port whoever does not set ``SO_REUSEADDR``, as servers do and ``free_port`` does
    not (Yelp's ``ephemeral-port-reserve`` is the source of this).
    """
    # Not from the run's seed: two runs side by side must not pick the same ports.
    chance = random.SystemRandom()
    for _ in range(_PORT_TRIES):
        port = chance.randrange(_PORT_MIN, _ephemeral_port_min())
        with socket.socket() as probe, socket.socket() as visitor:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            # Only now: of two that choose the same at once, one was refused.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.listen(1)
            visitor.connect(("127.0.0.1", port))
            probe.accept()[0].close()
            return port
    raise StartError(f"no free port found on 127.0.0.1 in {_PORT_TRIES} tries")


def _ephemeral_port_min() -> int:
    """The lowest port that outgoing connections get: Linux says it, others use IANA's."""
    try:
        low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 49_152
    # A machine with a range widened downwards leaves us no room below it.
    return low if low > _PORT_MIN + 1000 else 65_536
