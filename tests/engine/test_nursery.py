"""A command started warm, as a fork of the nursery, cannot tell that it was."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.model import StartError
from harness.runtimes.local import LocalProcess, LocalRuntime, start_nursery
from harness.runtimes.nursery import warmable
from harness.waiting import wait_until
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="warm starts are for Linux")

BIN = Path(sys.executable).parent
LOOK_AROUND = """
import json, os, signal, sys
print(json.dumps({
    "argv": sys.argv, "path": sys.path, "name": __name__, "cwd": os.getcwd(),
    "environ": {k: v for k, v in os.environ.items() if k != "LC_CTYPE"},
    "leads": os.getpid() == os.getsid(0) == os.getpgid(0),
    "fds": [os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2)],
    "signals": {s.name: str(signal.getsignal(s)).split(" at ")[0] for s in
                (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD)},
    "main": sys.modules["__main__"].__dict__.get("MARK"),
    "site": "ackproof_probe" in sys.modules,
}))
MARK = 1
"""


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, address = start_nursery(tmp_path_factory.mktemp("nursery"))
    yield address
    process.stop()


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **more}


def ended(process: LocalProcess) -> tuple[int | None, int | None]:
    """Exit status and signal of a command that ends by itself."""
    end = wait_until(process.poll, PATIENCE_S, "the command ends")
    process.stop()
    return end.status, end.signal


def ran(runtime: LocalRuntime, folder: Path, code: str, **more: str) -> LocalProcess:
    (folder / "given.py").write_text(code)
    log = folder / "given.log"
    log.unlink(missing_ok=True)
    return runtime.start(
        "given",
        ["python", "-m", "given", "one", "two words"],
        env=environment(**more),
        cwd=folder,
        log=log,
    )


def is_warm(process: LocalProcess) -> bool:
    return "nursery.py" in Path(f"/proc/{process.pid}/cmdline").read_text()


def test_it_sees_what_it_would_have_seen(nursery: str, tmp_path: Path) -> None:
    """Arguments, paths, folder, environment, session, files, signals: all as in a new process."""
    seen = []
    for runtime in (LocalRuntime(nursery), LocalRuntime()):
        paths = f"{tmp_path}/a:{tmp_path}/b"
        assert ended(ran(runtime, tmp_path, LOOK_AROUND, PYTHONPATH=paths, MORE="x")) == (0, None)
        said = (tmp_path / "given.log").read_text()
        assert said.startswith("{") and said.count("\n") == 1, said  # noqa: PT018 - shown whole
        seen.append(json.loads(said))
    warm, cold = seen
    assert warm == cold
    assert warm["argv"][1:] == ["one", "two words"]
    assert warm["leads"]


def test_it_really_was_warm(nursery: str, tmp_path: Path) -> None:
    """The same command is a fork of the nursery with it, and a process of its own without."""
    code = "import signal; signal.pause()"
    warm, cold = ran(LocalRuntime(nursery), tmp_path, code), ran(LocalRuntime(), tmp_path, code)
    try:
        assert is_warm(warm)
        assert not is_warm(cold)
    finally:
        warm.stop()
        cold.stop()


def test_the_probe_comes_in(nursery: str, tmp_path: Path) -> None:
    """A sitecustomize on PYTHONPATH is run, as at the start of any Python."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import sys; sys.customized = True")
    code = "import sys; sys.exit(7 if getattr(sys, 'customized', False) else 8)"
    process = ran(LocalRuntime(nursery), tmp_path, code, PYTHONPATH=str(tmp_path / "site"))
    assert ended(process) == (7, None)


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("raise SystemExit", 0, ""),
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit('no luck')", 1, "no luck"),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import atexit; atexit.register(print, 'at the end')", 0, "at the end"),
        ("import threading; threading.Timer(0.1, print, ['late']).start()", 0, "late"),
    ],
)
def test_it_ends_as_python_does(
    nursery: str, tmp_path: Path, code: str, status: int, said: str
) -> None:
    """Exit status, traceback, exit handlers and waiting for threads are an interpreter's."""
    assert ended(ran(LocalRuntime(nursery), tmp_path, code)) == (status, None)
    assert said in (tmp_path / "given.log").read_text()


def test_its_death_is_reported_with_the_signal(nursery: str, tmp_path: Path) -> None:
    """A warm command that is killed ends by that signal, and its guard says so."""
    process = ran(LocalRuntime(nursery), tmp_path, "import signal; signal.pause()")
    process.signal_group(signal.SIGKILL)
    assert ended(process) == (None, signal.SIGKILL)


def test_stop_ends_its_daemons_too(nursery: str, tmp_path: Path) -> None:
    """A grandchild in a session of its own does not survive a warm guard either."""
    code = """
import subprocess, signal
child = subprocess.Popen(["setsid", "sleep", "100"])
open("pid", "w").write(str(child.pid))
signal.pause()
"""
    process = ran(LocalRuntime(nursery), tmp_path, code)
    pid_file = tmp_path / "pid"
    pid = wait_until(
        lambda: (pid_file.exists() and pid_file.read_text()) or None, PATIENCE_S, "its pid"
    )
    process.stop()
    assert not Path(f"/proc/{pid}").exists()


def test_without_a_nursery_it_starts_cold(tmp_path: Path) -> None:
    """An address where nobody listens costs the warmth, not the command."""
    process = ran(LocalRuntime("ackproof-nobody"), tmp_path, "raise SystemExit(5)")
    assert ended(process) == (5, None)


@pytest.mark.parametrize(
    ("command", "warm"),
    [
        (["celery", "-A", "app", "worker"], True),
        (["python", "-m", "app.produce", "--tasks", "3"], True),
        (["celery", "-A", "app", "worker", "-P", "gevent"], False),
        (["celery", "-A", "app", "worker", "--pool=eventlet"], False),
        (["/usr/bin/python3", "-m", "app"], False),
        (["python", "-I", "-m", "app"], False),
        (["python", "app.py"], False),
        (["sh", "-c", "celery -A app worker"], False),
        ([], False),
    ],
)
def test_only_what_is_sure_to_be_the_same_is_warm(command: list[str], warm: bool) -> None:  # noqa: FBT001
    """Shells, other interpreters, options of Python's own and patching pools start cold."""
    assert warmable(command, environment()) is warm


def test_a_variable_that_python_reads_at_its_start_makes_it_cold() -> None:
    """The nursery has read it already, with another value."""
    command = ["python", "-m", "app"]
    assert not warmable(command, environment(PYTHONDEVMODE="1"))
    assert not warmable(command, environment(KOMBU_LOG_DEBUG="1"))
    assert not warmable(command, environment(REMAP_SIGTERM="SIGQUIT"))
    assert warmable(command, environment(PYTHONPATH="/somewhere"))


def test_it_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """ACKPROOF_COLD starts everything cold."""
    monkeypatch.setenv("ACKPROOF_COLD", "1")
    assert not warmable(["python", "-m", "app"], environment())


def test_a_command_that_was_quicker_than_its_start_is_not_run_again(
    nursery: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It and its guard may have ended before anybody could watch them, on a loaded machine: it
    has run, its output stands in the log once, and how it ended is known."""
    opened = os.pidfd_open

    def late(pid: int) -> int:
        wait_until(
            lambda: not Path(f"/proc/{pid}").exists() or None, PATIENCE_S, "the guard to end"
        )
        return opened(pid)

    monkeypatch.setattr("os.pidfd_open", late)
    process = ran(LocalRuntime(nursery), tmp_path, "print('once'); raise SystemExit(3)")
    assert ended(process) == (3, None)
    assert (tmp_path / "given.log").read_text() == "once\n"


def test_a_nursery_that_dies_when_it_was_asked_is_not_asked_elsewhere(tmp_path: Path) -> None:
    """Nobody knows whether the command runs: that is an error, and no second start."""
    own = tempfile.TemporaryDirectory()  # a path of pytest's is too long for a socket
    name = f"{own.name}/nursery"
    with own, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(name)
        listener.listen(1)

        def takes_it_and_dies() -> None:
            connection, _ = listener.accept()
            connection.recv(1 << 20)
            connection.close()

        thread = threading.Thread(target=takes_it_and_dies)
        thread.start()
        with pytest.raises(StartError, match="the nursery ended when it was asked to"):
            ran(LocalRuntime(name), tmp_path, "print('run')")
        thread.join()
    assert not (tmp_path / "given.log").exists()


STRANGER = """
import json, os, socket, sys
address, out = sys.argv[1:]
spec = {"command": ["python", "-c", ""], "cwd": "/", "log": out, "env": [], "remove": []}
read_end, write_end = os.pipe()
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
    asked.settimeout(30)
    try:
        asked.connect(address)
        told = json.dumps({"spec": spec, "values": {}}).encode()
        socket.send_fds(asked, [told], [read_end, write_end])
        print("answered:", asked.recv(32))
    except OSError as error:
        print(type(error).__name__)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_has_nothing_run(nursery: str, tmp_path: Path) -> None:
    """The folder of its socket is closed to others; and if somebody opened it, whoever comes as
    another user is turned away by the kernel's word, unanswered."""
    folder = Path(nursery).parent
    assert folder.stat().st_mode & 0o777 == 0o700

    def stranger() -> str:
        command = [sys.executable, "-I", "-S", "-c", STRANGER, nursery, str(tmp_path / "given.log")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert stranger() == "PermissionError\n"
    try:
        folder.chmod(0o755)
        Path(nursery).chmod(0o777)
        assert stranger() in {"answered: b''\n", "ConnectionResetError\n", "BrokenPipeError\n"}
    finally:
        folder.chmod(0o700)
    assert not (tmp_path / "given.log").exists()
    assert ended(ran(LocalRuntime(nursery), tmp_path, "print('ours')")) == (0, None)
