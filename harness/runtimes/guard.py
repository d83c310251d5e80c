"""Runs one command and sees to it that nothing of it outlives the harness.

    harness ──stdin──▶ guard ──fork──▶ the command ──▶ its children, daemons and all
            ◀─stdout──       ◀─────────── how each of them ended

Run as a script, standard library only, one guard a command. The harness holds the write
end of the guard's stdin: when the harness dies, *however* it dies, the kernel closes that
end, the guard reads end-of-file and kills everything that came from the command. On Linux
the guard is a child subreaper, so a process that daemonised itself (epmd) is its child too
and cannot slip away; and the command dies with the guard (parent-death signal), should the
guard itself be killed. Elsewhere the command's process group is all that can be reached.

Argument: one JSON object, the fields of ``Spec``. Prints one JSON line an event:
``{"started": pid}``, ``{"failed": "why"}``,
``{"exit": pid, "status": n|null, "signal": n|null, "mono_s": t}``.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LINUX = sys.platform.startswith("linux")
ONLY_END_OF_FILE_ENDS_A_GUARD = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
AS_IN_A_NEW_PROCESS = (*ONLY_END_OF_FILE_ENDS_A_GUARD, signal.SIGCHLD, signal.SIGPIPE)


class Spec(NamedTuple):
    """What to run. ``env`` names the variables the command may see; the guard has their
    values, and perhaps more: Python sets ``LC_CTYPE`` for itself."""

    command: list[str]
    cwd: str
    log: str
    env: list[str]
    remove: list[str]
    patience_s: float = 0.0
    """How long what came from the command may take to end by itself: a nursery's guards have
    folders to remove."""


def _prctl(option: int, value: int) -> None:
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _say(**message: object) -> None:
    """Report to the harness; it may be gone, and then nobody needs the report."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(message).encode() + b"\n")


def _enter(spec: Spec, guard: int, failure_fd: int, become: Callable[[], object]) -> None:
    """In the child: lead a session of its own, log to a file, become the command."""
    try:
        os.setsid()
        if LINUX:
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != guard:
                return  # it died before it could be watched
        signal.set_wakeup_fd(-1)
        for signum in AS_IN_A_NEW_PROCESS:
            signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        log = os.open(spec.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(spec.cwd)
        become()  # does not return; it closes failure_fd, and so tells of its success
    except OSError as error:
        # exec does not say what it could not find.
        os.write(failure_fd, f"{error.strerror}: {error.filename or spec.command[0]}".encode())
    except BaseException as error:  # noqa: BLE001 - an empty command, a NUL in a word
        os.write(failure_fd, f"{error}: {spec.command}".encode())
    finally:
        os._exit(127)


def _exec(spec: Spec) -> None:
    for name in set(os.environ).difference(spec.env):
        del os.environ[name]
    os.execvp(spec.command[0], spec.command)  # noqa: S606 - no shell is the point


def _start(spec: Spec, become: Callable[[], object]) -> int | None:
    """Fork and exec; None (and a report) when the command cannot be executed."""
    failure_read, failure_write = os.pipe()  # close-on-exec: end-of-file means success
    guard = os.getpid()
    pid = os.fork()
    if pid == 0:
        _enter(spec, guard, failure_write, become)
    os.close(failure_write)
    failure = os.read(failure_read, 4096)
    os.close(failure_read)
    if failure:
        os.waitpid(pid, 0)
        _say(failed=failure.decode(errors="replace"))
        return None
    _say(started=pid)
    return pid


def _reap(ended: set[int]) -> bool:
    """Collect and report every child that ended; False once there is no child left."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        ended.add(pid)
        ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        _say(exit=pid, status=code, signal=ended_by, mono_s=time.monotonic())


def _children() -> list[int]:
    """Pids whose parent is this guard: orphans arrive here, being re-parented to it."""
    me = str(os.getpid())
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if fields[1] == me and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def _end(leader: int, ended: set[int]) -> None:
    """Kill until nothing is left: each death hands its own children to this guard."""
    while True:
        # Once the leader is collected its number may be somebody else's. Where there is no
        # subreaper the group is all there is, and this comes right after the collection.
        if leader not in ended or not LINUX:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(leader, signal.SIGKILL)
        if not _reap(ended):
            return
        for pid in _children() if LINUX else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def _let_end(leader: int, ended: set[int], patience_s: float) -> None:
    """End the command alone, and let the others end by themselves for a while."""
    if leader not in ended:
        with contextlib.suppress(ProcessLookupError):
            os.kill(leader, signal.SIGKILL)
    deadline_s = time.monotonic() + patience_s
    while _reap(ended) and time.monotonic() < deadline_s:
        time.sleep(0.005)


def _watch(ended: set[int]) -> None:
    """Until the harness lets go (end-of-file) or the last child is gone."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    while _reap(ended):
        ready, _, _ = select.select([0, wake_read], [], [], 5.0)
        if wake_read in ready:
            os.read(wake_read, 512)
        if 0 in ready and not os.read(0, 512):
            return


def run(spec: Spec, become: Callable[[], object]) -> int:
    """Be the guard of a command, which ``become`` turns its process into."""
    for signum in ONLY_END_OF_FILE_ENDS_A_GUARD:
        signal.signal(signum, signal.SIG_IGN)
    if LINUX:
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
    for folder in spec.remove:
        with contextlib.suppress(OSError):
            Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    leader = _start(spec, become)
    if leader is not None:
        ended: set[int] = set()
        _watch(ended)
        if spec.patience_s:
            _let_end(leader, ended, spec.patience_s)
        _end(leader, ended)
    for folder in spec.remove:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if leader is not None else 127


def main() -> int:
    spec = Spec(**json.loads(sys.argv[1]))
    return run(spec, lambda: _exec(spec))


if __name__ == "__main__":
    sys.exit(main())
