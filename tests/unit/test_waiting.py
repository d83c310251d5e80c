"""The polling loop: a deadline always ends it, and its failure shows the last state."""

from __future__ import annotations

import random
import socket
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from harness.model import StartError
from harness.runtimes.local import LocalRuntime
from harness.waiting import (
    NotYetError,
    WaitedTooLongError,
    free_port,
    log_tail,
    wait_for_server,
    wait_until,
)

LISTENS = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1])))"


def test_returns_what_the_probe_found() -> None:
    """Anything but None ends the wait, zero and false included."""
    answers = iter([None, None, 0])
    assert wait_until(lambda: next(answers), 5.0, "an answer", every_s=0.001) == 0


class FakeClock:
    """Time passes only in sleep."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, s: float) -> None:
        self.now_s += s


def test_the_failure_shows_the_last_state_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline that passed says what it waited for, and what was there instead."""
    states = iter(f"{count} of 9 messages" for count in range(1000))
    monkeypatch.setattr("harness.waiting.time", FakeClock())

    def probe() -> bool | None:
        raise NotYetError(next(states))

    why = "waited 2 s for all messages; last seen: 4 of 9 messages"
    with pytest.raises(WaitedTooLongError, match=why):
        wait_until(probe, 2.0, "all messages", every_s=0.5)


def test_looks_once_even_without_time() -> None:
    """A deadline of zero is one look."""
    assert wait_until(lambda: "there", 0.0, "it") == "there"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the range from /proc")
def test_a_free_port_is_free_and_never_an_ephemeral_one() -> None:
    """Until a server opens it, no outgoing connection may be given it."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(20):
        port = free_port()
        assert 1024 < port < low
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_nobody_is_given_a_port_that_somebody_was_just_given() -> None:
    """Its server may come to it seconds later: RabbitMQ does. Of forty there are, twenty are
    wanted by four processes at once."""
    # By chance, for those of the last minute's run of this test are still kept.
    low = random.SystemRandom().randrange(20_000, 30_000)
    with ProcessPoolExecutor(4, get_context("spawn")) as four:
        given = list(four.map(_one_of_forty, [low] * 20))
    assert len(set(given)) == 20
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", given[0]))


def _one_of_forty(low: int) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.waiting._PORT_MIN", low)
        patch.setattr("harness.waiting._ephemeral_port_min", lambda: low + 40)
        return free_port()


def test_a_server_that_ends_shows_its_last_lines(tmp_path: Path) -> None:
    """The reason is in its log; the user gets it in one line, and nothing is left running."""
    command = [sys.executable, "-c", "print('no\\n\\nlicence'); raise SystemExit(4)"]
    process = LocalRuntime().start(
        "server", command, env={}, cwd=tmp_path, log=tmp_path / "server.log"
    )
    with pytest.raises(StartError, match=r"exited with status 4.*no \| licence"):
        wait_for_server(process, 1, lambda: None, 10.0)
    assert process.poll() is not None


def test_a_stranger_on_the_port_is_not_taken_for_the_server(tmp_path: Path) -> None:
    """What answers on the port must be what was started: ours get emptied."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        process = LocalRuntime().start(
            "server",
            [sys.executable, "-c", "import time; time.sleep(60)"],
            env={},
            cwd=tmp_path,
            log=tmp_path / "server.log",
        )
        port = stranger.getsockname()[1]
        with pytest.raises(StartError, match=f"port {port} is taken"):
            wait_for_server(process, port, lambda: "an answer", 10.0)
    assert process.poll() is not None


def test_a_server_that_listens_is_ours(tmp_path: Path) -> None:
    """The process itself, or one that came from it, has the port."""
    port = free_port()
    process = LocalRuntime().start(
        "server",
        [sys.executable, "-c", f"{LISTENS}; time.sleep(60)", str(port)],
        env={},
        cwd=tmp_path,
        log=tmp_path / "server.log",
    )

    def answer() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError as error:
            raise NotYetError(str(error)) from None
        return True

    began_s = time.monotonic()
    try:
        assert wait_for_server(process, port, answer, 20.0)
        assert time.monotonic() - began_s < 20.0
    finally:
        process.stop()


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    """Even then the failure can be told."""
    assert "no log" in log_tail(tmp_path / "none.log")
    (tmp_path / "empty.log").touch()
    assert log_tail(tmp_path / "empty.log") == "(empty)"
