"""The real command line as its users run it, and what it leaves behind, seen from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from harness.record import RunRecord
from harness.reporting import run_json

ACKPROOF = str(Path(sys.executable).with_name("ackproof"))
MARK = "ACKPROOF_TEST_RUN"
"""A variable that everything of a run inherits, but for what gets an environment of its own."""
WITHIN_S = 30.0
"""For what takes a second or two on a quiet machine. What leaks stays for good."""
POLL_S = 0.02


class Run:
    """One command in a folder of its own, which is also its mark on every process of it."""

    def __init__(self, folder: Path, *words: str, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.temp = folder / "tmp"
        self.temp.mkdir(parents=True, exist_ok=True)
        self.cwd = folder / "cwd"
        self.cwd.mkdir(exist_ok=True)
        self.out = folder / "out"
        given = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            self.process = subprocess.Popen(
                words,
                cwd=self.cwd,
                env={**given, MARK: str(folder), "TMPDIR": str(self.temp), **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self._seen: set[psutil.Process] = set()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stdout(self) -> str:
        return (self.folder / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    def wait(self, timeout_s: float = 300.0) -> int:
        """Its exit status."""
        return self.process.wait(timeout_s)

    def events(self) -> str:
        """Everything that the probes of its trials have written so far."""
        texts = []
        for file in self.out.glob("*/trials/*/events/*.jsonl"):
            with contextlib.suppress(OSError):
                texts.append(file.read_text(errors="replace"))
        return "".join(texts)

    def until(self, done: Callable[[], bool], what: str, timeout_s: float = 180.0) -> None:
        """Wait for a moment of the run."""
        deadline_s = time.monotonic() + timeout_s
        while not done():
            assert self.process.poll() is None, f"it ended before {what}: {self.stderr}"
            assert time.monotonic() < deadline_s, f"no {what}; {self.stdout}"
            time.sleep(5 * POLL_S)

    def family(self) -> set[psutil.Process]:
        """Its living processes: by descent, and by the marks that a run leaves on them."""
        found = {one for one in self._seen if _alive(one)}
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= set(psutil.Process(self.pid).children(recursive=True))
        for process in psutil.process_iter():
            if process.pid != os.getpid() and self._marked(process):
                found.add(process)
        self._seen |= found
        return {one for one in found if _alive(one)}

    def _marked(self, process: psutil.Process) -> bool:
        mark = str(self.folder) + "/"
        at = Path("/proc") / str(process.pid)
        for name in ("environ", "cmdline"):
            with contextlib.suppress(OSError):
                if mark.encode() in (at / name).read_bytes().replace(b"\0", b"/\0"):
                    return True
        for name in ("cwd", "fd/1", "fd/2"):
            with contextlib.suppress(OSError):
                if (str((at / name).readlink()) + "/").startswith(mark):
                    return True
        return False

    def gone(self, within_s: float = WITHIN_S) -> None:
        """No process of it lives, listens or has left a temporary file, ``within_s`` from now."""
        deadline_s = time.monotonic() + within_s
        while left := self.family():
            assert time.monotonic() < deadline_s, f"alive: {[_told(one) for one in left]}"
            time.sleep(POLL_S)
        leftovers = [str(path.relative_to(self.temp)) for path in self.temp.rglob("*")]
        assert not leftovers, f"left in the folder for temporary files: {leftovers[:9]}"

    def ports(self) -> set[int]:
        """TCP ports that its processes listen on."""
        found: set[int] = set()
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                for connection in process.net_connections("tcp"):
                    if connection.status == psutil.CONN_LISTEN and connection.laddr:
                        found.add(connection.laddr.port)
        return found

    def end(self) -> None:
        """Leave nothing behind, whatever the test found."""
        self.family()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.process.wait()
        deadline_s = time.monotonic() + WITHIN_S
        while (left := self.family()) and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def report(self) -> RunRecord:
        """Its run.json, with the other files of a report beside it."""
        (file,) = self.out.glob("*/run.json")
        for name in ("index.html", "summary.md", "junit.xml"):
            assert (file.parent / name).stat().st_size
        return run_json.load(file)


_NOT_PASSED_ON = {"CI", "PYTEST_CURRENT_TEST", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", MARK}


def listening(ports: set[int]) -> set[int]:
    """Those of the ports on which anybody listens."""
    everybody = psutil.net_connections("tcp")
    found = [one.laddr for one in everybody if one.status == psutil.CONN_LISTEN]
    return ports & {address.port for address in found if address}


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _told(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return f"{process.pid} {process.status()} {' '.join(process.cmdline())[:120]}"
    return str(process.pid)


def short_folder() -> Path:
    """Where a run can have its folder: close to the root, and nobody else's."""
    return Path(tempfile.mkdtemp(prefix="ap-")).resolve()
