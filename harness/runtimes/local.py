"""Local processes: each command under a guard, so that none outlives the harness."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.model import Exit, StartError

GUARD = Path(__file__).with_name("guard.py")
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0


class LocalProcess:
    """A command and everything that came from it, behind its guard."""

    def __init__(self, name: str, guard: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
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


class LocalRuntime:
    """Starts commands as local processes. Needs nothing but a POSIX system."""

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
        spec = {
            "command": list(command),
            "cwd": str(cwd),
            "log": str(log),
            "env": sorted(env),
            "remove": [str(folder) for folder in remove],
        }
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARD), json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(env),
            start_new_session=True,  # Ctrl-C at the terminal is for the harness alone
        )
        process = LocalProcess(name, guard, log)
        try:
            process.wait_started()
        except BaseException:  # also Ctrl-C: nobody else knows of it yet
            process.stop()
            raise
        return process


def die_with_parent() -> None:
    """End this process when its parent ends (Linux), as pytest-xdist's workers must.

    Elsewhere execnet's own end-of-file handling has to do.
    """
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
