"""Local processes: each command under a guard, so that none outlives the harness."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from harness.model import Exit, StartError
from harness.runtimes import nursery

GUARD = Path(__file__).with_name("guard.py")
START_TIMEOUT_S = 30.0
GUARDS_END_S = 2.0
SOCKET_PATH_MAX = 107
"""Of ``sockaddr_un``."""
STOP_TIMEOUT_S = 60.0
"""For a guard that hangs. One at work is not to be killed: what it has still to remove, such as
the thousand files of a database on a busy disk, would be left for good."""


class LocalProcess:
    """A command and everything that came from it, behind its guard."""

    def __init__(self, name: str, guard: _Guard, log: Path, remove: Sequence[Path] = ()) -> None:
        self.name = name
        self._remove = remove
        self.log = log
        self.pid = 0
        self._guard = guard
        self._unread = b""
        self._exits: list[Exit] = []
        self._failure = ""

    def poll(self) -> Exit | None:
        """How the command ended; None while it runs."""
        known = self._ending()
        if known is None and self._guard.poll() is not None:
            known = self._ending()
            if known is None:  # nobody could report: the guard was killed, and this with it
                known = Exit(self.pid, None, int(signal.SIGKILL), time.monotonic())
                self._exits.append(known)
        return known

    def exits(self) -> Sequence[Exit]:
        """Every direct child of the guard known to have ended: the command, and orphans of it."""
        self._listen(0.0)
        return tuple(self._exits)

    def signal(self, signum: int) -> None:
        """Signal the command alone, as an orchestrator does. Silent when it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def signal_group(self, signum: int) -> None:
        """Signal the command's whole process group. Silent when it has ended already."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signum)

    def stop(self) -> None:
        """End everything. Idempotent, also when it was interrupted half-way."""
        stdin, stdout = self._guard.stdin, self._guard.stdout
        if stdin is None or stdout is None or stdout.closed:
            return
        stdin.close()  # the guard reads end-of-file, and ends everything
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self._guard.poll() is None and time.monotonic() < deadline:
            self._listen(0.05)
        if self._guard.poll() is None:
            self._guard.kill()
            self._guard.wait()
        self.poll()
        stdout.close()
        for folder in self._remove:  # the guard has, unless somebody killed it
            shutil.rmtree(folder, ignore_errors=True)

    def wait_started(self) -> None:
        """Until the guard says that the command runs. Raises StartError."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.pid and not self._failure:
            over = self._guard.poll() is not None or time.monotonic() > deadline
            self._listen(0.0 if over else 0.5)  # its last words, even if it is over
            if over:
                break
        if not self.pid:
            why = self._failure or "its guard ended, or was silent, before it started"
            raise StartError(f"cannot start {self.name}: {why}")

    def _ending(self) -> Exit | None:
        self._listen(0.0)
        return next((ended for ended in self._exits if ended.pid == self.pid), None)

    def _listen(self, timeout_s: float) -> None:
        out = self._guard.stdout
        if out is None or out.closed:
            return
        while select.select([out], [], [], timeout_s)[0]:
            timeout_s = 0.0
            chunk = os.read(out.fileno(), 65536)
            if not chunk:
                time.sleep(0.001)
                break
            *lines, self._unread = (self._unread + chunk).split(b"\n")
            for line in lines:
                self._note(json.loads(line))

    def _note(self, message: dict[str, object]) -> None:
        match message:
            case {"started": int(pid)}:
                self.pid = pid
            case {"failed": str(why)}:
                self._failure = why
            case {"exit": int(pid), "mono_s": float(mono_s)}:
                status, signum = message["status"], message["signal"]
                self._exits.append(
                    Exit(
                        pid=pid,
                        status=status if isinstance(status, int) else None,
                        signal=signum if isinstance(signum, int) else None,
                        mono_s=mono_s,
                    )
                )


class _Guard(Protocol):
    """What is needed of a guard's process; ``subprocess.Popen`` is one."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None

    def poll(self) -> int | None: ...
    def kill(self) -> None: ...
    def wait(self) -> int: ...


class _NotAskedError(Exception):
    """The nursery could not be asked, so nothing can have started there."""


class _WarmGuard:
    """A guard that the nursery forked: not our child, so watched by its pidfd.

    Raises _NotAskedError as long as nothing was sent. After that the command may run, and
    whatever goes wrong is a StartError: started once more, it might run twice.
    """

    def __init__(self, name: str, nursery: str, told: bytes) -> None:
        command_end, self_end = os.pipe()
        read_end, report_end = os.pipe()
        self.stdin: IO[bytes] | None = os.fdopen(self_end, "wb", buffering=0)
        self.stdout: IO[bytes] | None = os.fdopen(read_end, "rb", buffering=0)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
                try:
                    asked.connect(nursery)
                    # One packet: all of it is taken, or none.
                    socket.send_fds(asked, [told], [command_end, report_end])
                except OSError as error:  # it is gone, or too much to tell
                    raise _NotAskedError(str(error)) from error
                self._pid_fd = _pid_fd_of(name, asked)
        except BaseException:
            self.stdin.close()
            self.stdout.close()
            raise
        finally:
            os.close(command_end)
            os.close(report_end)

    def poll(self) -> int | None:
        if self._pid_fd is None:
            return 0
        return 0 if select.select([self._pid_fd], [], [], 0.0)[0] else None

    def kill(self) -> None:
        if self._pid_fd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pid_fd, signal.SIGKILL)

    def wait(self) -> int:
        if self._pid_fd is not None:
            select.select([self._pid_fd], [], [])
        return 0


def _pid_fd_of(name: str, asked: socket.socket) -> int | None:
    """What watches the guard that the nursery answers with; None: it has ended already, as a
    short command's may have on a loaded machine. Raises StartError."""
    asked.settimeout(START_TIMEOUT_S)
    try:
        answer = asked.recv(32)
    except OSError as error:
        raise StartError(f"cannot start {name}: the nursery does not answer: {error}") from error
    if not answer:
        raise StartError(f"cannot start {name}: the nursery ended when it was asked to")
    with contextlib.suppress(ProcessLookupError):
        return os.pidfd_open(int(answer))
    return None


class LocalRuntime:
    """Starts commands as local processes. Needs nothing but a POSIX system.

    With the address of a nursery, Python commands for which it makes no difference start
    warm, as forks of it. What came from a command has ``patience_s`` to end by itself.
    """

    def __init__(self, nursery: str = "", *, patience_s: float = 0.0) -> None:
        self._nursery = nursery
        self._patience_s = patience_s

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        remove: Sequence[Path] = (),
    ) -> LocalProcess:
        """Start ``command``, leading a process group of its own. Raises StartError."""
        spec: dict[str, object] = {
            "command": list(command),
            "cwd": str(cwd),
            "log": str(log),
            "env": sorted(env),
            "remove": [str(folder) for folder in remove],
            "patience_s": self._patience_s,
        }
        process = LocalProcess(name, self._guard(name, spec, command, env), log, remove)
        try:
            process.wait_started()
        except BaseException:  # also Ctrl-C: nobody else knows of it yet
            process.stop()
            raise
        return process

    def _guard(
        self, name: str, spec: dict[str, object], command: Sequence[str], env: Mapping[str, str]
    ) -> _Guard:
        if self._nursery and nursery.warmable(command, env):
            told = json.dumps({"spec": spec, "values": dict(env)}).encode()
            with contextlib.suppress(_NotAskedError):  # start cold
                return _WarmGuard(name, self._nursery, told)
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARD), json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(env),
            start_new_session=True,  # Ctrl-C at the terminal is for the harness alone
        )


def start_nursery(folder: Path) -> tuple[LocalProcess, str]:
    """Start a nursery under a guard of its own; its address is for LocalRuntime.

    Raises StartError. It is ready when it has imported everything, in a second or two.
    """
    # Nobody else can come in: the folder is this user's own (0700).
    own = _short_folder()
    address = str(own / "nursery")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    log = folder / "nursery.log"
    try:
        process = LocalRuntime(patience_s=GUARDS_END_S).start(
            "nursery",
            [sys.executable, nursery.__file__, address],
            env=env,
            cwd=folder,
            log=log,
            remove=[own],
        )
    except BaseException:
        shutil.rmtree(own, ignore_errors=True)
        raise
    deadline = time.monotonic() + START_TIMEOUT_S
    while "ready" not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            process.stop()
            raise StartError(f"the nursery did not start: {log.read_text()[-500:]}")
        time.sleep(0.02)
    return process, address


def _short_folder() -> Path:
    """A new one, whose path is short enough for a socket in it. Raises StartError."""
    tries = (tempfile.gettempdir(), "/tmp")  # noqa: S108 - mkdtemp sees to it
    for place in dict.fromkeys(tries):
        if len(place) < SOCKET_PATH_MAX - 40:
            with contextlib.suppress(OSError):
                return Path(tempfile.mkdtemp(prefix="ackproof-", dir=place))
    raise StartError("there is no folder for temporary files with a short path", "Set TMPDIR.")


def die_with_parent() -> None:
    """End this process when its parent ends (Linux), as pytest-xdist's workers must.

    Elsewhere execnet's own end-of-file handling has to do.
    """
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
