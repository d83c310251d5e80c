"""What a run needs of its machine before it can begin: open files, processes, threads.

Asked beforehand, because who runs out of them in the middle of something says anything but that.
"""

from __future__ import annotations

import resource
import threading
from contextlib import suppress

from harness.model import StartError

FILES = 64
FILES_A_TRIAL = 8
TASKS = 32
"""Processes and threads: a server has a dozen of its own, Erlang's some forty."""
TASKS_A_TRIAL = 12
"""A pytest-xdist process and its threads, a worker with its pool and guard, a producer."""
SEMAPHORES = "/dev/shm"  # noqa: S108 - where Linux keeps them, not a file of ours


def need_room(jobs: int) -> None:
    """Raise StartError where ``jobs`` trials at once cannot have what they need. The limit of open
    files is raised as far as the system lets us."""
    _need_files(FILES + FILES_A_TRIAL * jobs, jobs)
    _need_tasks(TASKS + TASKS_A_TRIAL * jobs, jobs)


def _need_files(wanted: int, jobs: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft < wanted:
        raise StartError(
            f"only {soft} files may be open at once, and {_trials(jobs)} {wanted}",
            "Raise the limit (ulimit -n), or give fewer --jobs.",
        )


def _need_tasks(wanted: int, jobs: int) -> None:
    """By starting so many threads, which count as processes do: a limit may be the user's, the
    container's or the system's, and only the kernel knows which holds."""
    done = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(wanted):
            thread = threading.Thread(target=done.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        raise StartError(
            f"only {len(started)} more processes and threads can be started, and {_trials(jobs)} "
            f"{wanted}",
            "Raise the limit (ulimit -u, or that of the container), or give fewer --jobs.",
        ) from error
    finally:
        done.set()
        for thread in started:
            thread.join()


def _trials(jobs: int) -> str:
    return f"{jobs} trials at once need" if jobs > 1 else "one trial needs"


CAUSES = (
    (
        ("SemLock", "Read-only file system"),
        f"Celery's prefork pool keeps its semaphores in {SEMAPHORES}: it must be writable.",
    ),
    (
        ("SemLock", "No space left on device"),
        f"Celery's prefork pool keeps its semaphores in {SEMAPHORES}, which is full.",
    ),
    (
        ("SemLock", "Permission denied"),
        f"Celery's prefork pool keeps its semaphores in {SEMAPHORES}: it must be writable.",
    ),
    (("Too many open files",), "Raise the limit (ulimit -n), or give fewer --jobs."),
    (
        ("can't start new thread",),
        "Raise the limit of processes (ulimit -u, or that of the container).",
    ),
    (
        ("Resource temporarily unavailable", "fork"),
        "Raise the limit of processes (ulimit -u, or that of the container).",
    ),
    (("No space left on device",), "Make room on the disk, or give another folder with --out."),
)


def mend(said: str) -> str:
    """How to mend what a process said that ended; empty where it is nothing of the machine's."""
    return next((how for words, how in CAUSES if all(word in said for word in words)), "")
