"""What a run needs of its machine is asked for beforehand, and named where it is not to be had."""

from __future__ import annotations

import resource
import threading

import pytest

from harness import shortage
from harness.model import StartError

INFINITY = resource.RLIM_INFINITY


class Limits:
    """The limits of open files, as the kernel would keep them."""

    def __init__(self, soft: int, hard: int) -> None:
        self.now = (soft, hard)

    def get(self, _: int) -> tuple[int, int]:
        return self.now

    def set(self, _: int, limits: tuple[int, int]) -> None:
        if limits[0] > self.now[1] >= 0:
            raise ValueError("not allowed to raise maximum limit")
        self.now = limits


def room(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, jobs: int) -> int:
    """How many files may be open once a run of so many trials at once has asked."""
    limits = Limits(soft, hard)
    monkeypatch.setattr(resource, "getrlimit", limits.get)
    monkeypatch.setattr(resource, "setrlimit", limits.set)
    shortage.need_room(jobs)
    return limits.now[0]


def test_enough_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is enough is left alone; what is not is raised as far as it must be."""
    assert room(monkeypatch, 1024, 4096, jobs=4) == 1024
    assert room(monkeypatch, INFINITY, INFINITY, jobs=4) == INFINITY
    assert room(monkeypatch, 20, 4096, jobs=1) == 72
    assert room(monkeypatch, 20, INFINITY, jobs=2) == 80


def test_too_few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there can be, and how many trials need."""
    with pytest.raises(StartError, match=r"only 70 files .* one trial needs 72.*ulimit -n"):
        room(monkeypatch, 20, 70, jobs=1)


def test_too_few_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says when it is enough, and nothing of the question is left running."""
    before = threading.active_count()
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if threading.active_count() >= before + 10:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(
        StartError, match=r"only 10 more processes and threads .* 3 trials at once need 68"
    ):
        shortage.need_room(3)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("in SemLock\nOSError: [Errno 30] Read-only file system", ": it must be writable"),
        ("in SemLock\nPermissionError: [Errno 13] Permission denied", shortage.SEMAPHORES),
        ("in SemLock\nOSError: [Errno 28] No space left on device", ", which is full"),
        ("OSError: [Errno 28] No space left on device", "Make room on the disk"),
        ("OSError: [Errno 24] Too many open files", "ulimit -n"),
        ("RuntimeError: can't start new thread", "ulimit -u"),
        ("fork\nBlockingIOError: [Errno 11] Resource temporarily unavailable", "ulimit -u"),
        ("ModuleNotFoundError: No module named 'proj'", ""),
        ("", ""),
    ],
)
def test_what_a_process_said_that_ended(said: str, names: str) -> None:
    """Nothing is said of what is not the machine's."""
    assert names in shortage.mend(said)
    assert bool(shortage.mend(said)) is bool(names)
