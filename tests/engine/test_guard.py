"""Nothing leaks: whatever dies, no process of a command outlives the harness."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

import harness
from harness.model import Exit, StartError
from harness.processes import alive
from harness.runtimes.local import LocalProcess, LocalRuntime
from tests.patience import PATIENCE_S

WITHIN_S = PATIENCE_S
LINUX = sys.platform.startswith("linux")
linux_only = pytest.mark.skipif(not LINUX, reason="parent-death signal and /proc are Linux's")

TREE = """
trap '' TERM INT HUP
echo $$ >> "$PIDS"
sleep 300 & echo $! >> "$PIDS"                          # a child
setsid sleep 300 & echo $! >> "$PIDS"                   # one with a session of its own
(setsid sh -c 'echo $$ >> "$PIDS"; exec sleep 300' &)   # a daemon: its parent is gone
wait
"""
TREE_SIZE = 4

PARENT = """
import signal, sys
from pathlib import Path
from harness.runtimes.local import LocalRuntime

folder = Path(sys.argv[1])
env = {"PATH": sys.argv[2], "PIDS": str(folder / "pids")}
print("starting", flush=True)
process = LocalRuntime().start(
    "tree", ["sh", "-c", sys.argv[3]], env=env, cwd=folder, log=folder / "log",
    remove=[folder / "data"],
)
print("started", flush=True)
try:
    sys.stdin.read()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.read()
process.stop()
"""

Start = Callable[..., LocalProcess]


def until(done: Callable[[], bool], what: str) -> None:
    """Poll until ``done()``; fail with ``what`` when it takes too long."""
    deadline = time.monotonic() + WITHIN_S
    while not done():
        assert time.monotonic() < deadline, f"after {WITHIN_S:g} s still: {what}"
        time.sleep(0.005)


def dead(pids: list[int]) -> None:
    until(lambda: not any(map(alive, pids)), f"some of {pids} live")


def tree_of(folder: Path) -> list[int]:
    """The pids of a TREE, once all of it is there: the command, a child, a session, a daemon."""
    pids = pids_in(folder, TREE_SIZE)
    assert all(map(alive, pids))
    return pids


def pids_in(folder: Path, number: int) -> list[int]:
    """What a script wrote to its $PIDS, once it is so many lines."""
    file = folder / "pids"
    until(lambda: file.exists() and file.read_text().count("\n") == number, "pids are missing")
    return [int(line) for line in file.read_text().split()]


def of(folder: Path) -> list[int]:
    """Living processes that have to do with ``folder``: guards, commands, all below them."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.environ().get("PIDS", "")]
        except psutil.Error:
            continue
        if any(str(folder) in word for word in words) and process.pid != os.getpid():
            found.append(process.pid)
    return found


def ending(process: LocalProcess) -> Exit:
    until(lambda: process.poll() is not None, f"{process.name} runs")
    ended = process.poll()
    assert ended is not None
    return ended


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a command in ``tmp_path``; a single word is a shell script."""
    with ExitStack() as release:

        def start(command: str | list[str], **options: object) -> LocalProcess:
            words = ["sh", "-c", command] if isinstance(command, str) else command
            given: dict[str, object] = {
                "env": {"PATH": os.environ["PATH"], "PIDS": str(tmp_path / "pids")},
                "cwd": tmp_path,
                "log": tmp_path / "log",
                **options,
            }
            process = LocalRuntime().start("it", words, **given)  # type: ignore[arg-type]
            release.callback(process.stop)
            return process

        yield start


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """A process that uses a LocalRuntime as the harness does, and can be killed."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("x")
    with ExitStack() as release:

        def parent() -> subprocess.Popen[str]:
            source = str(Path(harness.__file__).parent.parent)
            process = subprocess.Popen(
                [sys.executable, "-c", PARENT, str(tmp_path), os.environ["PATH"], TREE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": source},
                start_new_session=True,
            )
            release.enter_context(process)
            release.callback(process.kill)
            return process

        yield parent


def guard_of(process: LocalProcess) -> subprocess.Popen[bytes]:
    assert isinstance(process._guard, subprocess.Popen)
    return process._guard


def says(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == line


# -- the end -----------------------------------------------------------------------------


def test_stop_ends_everything(start: Start, tmp_path: Path) -> None:
    """The command, its group, sessions of their own and daemons, all deaf to SIGTERM, are
    gone when ``stop`` returns."""
    process = start(TREE)
    pids = tree_of(tmp_path)
    assert process.pid == pids[0]
    process.stop()
    expected = pids if LINUX else pids[:2]
    assert not any(map(alive, expected))


def test_stop_ends_what_outlived_the_command(start: Start, tmp_path: Path) -> None:
    """The command itself ended long ago; its daemon still belongs to it."""
    process = start("(setsid sh -c 'echo $$ >> \"$PIDS\"; exec sleep 300' &); exit 5")
    assert ending(process).status == 5
    (pid,) = pids_in(tmp_path, 1)
    if LINUX:
        assert alive(pid), "only stop ends a daemon"
    process.stop()
    dead([pid])


@linux_only
def test_stop_ends_what_multiplies(start: Start, tmp_path: Path) -> None:
    """Something that goes on forking daemons does not escape between two looks."""
    process = start("while :; do (setsid sleep 300 &) ; sleep 0.002; done")
    until(lambda: len(of(tmp_path)) > 12, "not many")
    process.stop()
    assert of(tmp_path) == []


def test_stop_is_idempotent(start: Start) -> None:
    """Twice is once; and what is known of the end stays known."""
    process = start("sleep 300")
    process.stop()
    process.stop()
    assert ending(process).signal == signal.SIGKILL
    process.signal_group(signal.SIGTERM)


@pytest.mark.parametrize("delay_s", [0.0, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12])
@linux_only
def test_nothing_outlives_a_parent_killed_while_it_starts(
    parent: Callable[[], subprocess.Popen[str]], tmp_path: Path, delay_s: float
) -> None:
    """SIGKILL of the harness at some moment of a start: before the guard is there, before
    the command, before its children."""
    process = parent()
    says(process, "starting")
    time.sleep(delay_s)  # the moment is the point, not a wait for something
    process.kill()
    process.wait()
    until(lambda: not of(tmp_path), "something lives")


@linux_only
def test_nothing_outlives_a_parent_killed_in_mid_run(
    parent: Callable[[], subprocess.Popen[str]], tmp_path: Path
) -> None:
    """SIGKILL of the harness: the whole tree goes, and then its folder."""
    process = parent()
    says(process, "starting")
    says(process, "started")
    pids = tree_of(tmp_path)
    process.kill()
    process.wait()
    dead(pids)
    until(lambda: not of(tmp_path), "the guard lives")
    assert not (tmp_path / "data").exists()


def test_ctrl_c_is_for_the_harness_alone(
    parent: Callable[[], subprocess.Popen[str]], tmp_path: Path
) -> None:
    """SIGINT to the harness's process group leaves the command alone, until it is stopped."""
    process = parent()
    says(process, "starting")
    says(process, "started")
    pids = tree_of(tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    says(process, "interrupted")
    assert all(map(alive, pids))
    process.communicate()
    assert process.returncode == 0
    dead(pids if LINUX else pids[:2])


@linux_only
def test_the_command_dies_with_its_guard(start: Start) -> None:
    """SIGKILL of the guard itself: the command goes too, and is known to have ended."""
    process = start(["sleep", "300"])
    guard_of(process).kill()
    dead([process.pid])
    assert ending(process).signal == signal.SIGKILL
    assert [ended.pid for ended in process.exits()] == [process.pid]
    process.stop()


@linux_only
def test_no_signal_but_sigkill_ends_a_guard(start: Start, tmp_path: Path) -> None:
    """A guard is not talked into leaving its command."""
    process = start(TREE)
    tree_of(tmp_path)
    guard = guard_of(process)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        guard.send_signal(signum)
    assert process.poll() is None
    process.stop()
    assert guard.returncode == 0, "it left by the door"


def test_folders_are_removed_at_the_end(start: Start, tmp_path: Path) -> None:
    """Only when nothing can write there any more; one that is not there does no harm."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "file").write_text("x")
    process = start("sleep 300", remove=[folder, tmp_path / "none"])
    assert folder.exists()
    process.stop()
    assert not folder.exists()
    assert tmp_path.exists()


# -- what is reported --------------------------------------------------------------------


def test_the_ending_of_a_command(start: Start) -> None:
    """A status, or the signal; before that, nothing. Times are the machine's."""
    before = time.monotonic()
    by_itself, killed = ending(start("exit 3")), ending(start("kill -SEGV $$"))
    assert (by_itself.status, by_itself.signal) == (3, None)
    assert (killed.status, killed.signal) == (None, signal.SIGSEGV)
    assert before < by_itself.mono_s < killed.mono_s < time.monotonic()
    assert start("sleep 300").poll() is None


@linux_only
def test_the_endings_of_orphans(start: Start, tmp_path: Path) -> None:
    """When a process's parent has gone, its own end is seen too."""
    process = start(TREE)
    _, child, session, daemon = tree_of(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    assert ending(process).signal == signal.SIGKILL
    for pid, signum in (
        (child, signal.SIGUSR2),
        (session, signal.SIGUSR1),
        (daemon, signal.SIGSEGV),
    ):
        os.kill(pid, signum)
    until(lambda: len(process.exits()) == TREE_SIZE, "not all is known")
    assert {ended.pid: ended.signal for ended in process.exits()} == {
        process.pid: signal.SIGKILL,
        child: signal.SIGUSR2,
        session: signal.SIGUSR1,
        daemon: signal.SIGSEGV,
    }


def test_a_signal_to_the_command_alone(start: Start, tmp_path: Path) -> None:
    """As an orchestrator does it: the command's children do not get it."""
    process = start('sleep 300 & echo $! > "$PIDS"; wait')
    (child,) = pids_in(tmp_path, 1)
    process.signal(signal.SIGTERM)
    assert ending(process).signal == signal.SIGTERM
    assert alive(child)
    process.signal(signal.SIGTERM)  # nobody there: silent


def test_a_signal_to_the_group(start: Start, tmp_path: Path) -> None:
    """The command and its children get it."""
    process = start('sleep 300 & echo $! > "$PIDS"; wait')
    (child,) = pids_in(tmp_path, 1)
    process.signal_group(signal.SIGTERM)
    assert ending(process).signal == signal.SIGTERM
    dead([child])


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["no-such-command"], "cannot start it: No such file or directory: no-such-command"),
        (["/etc/passwd"], "cannot start it: Permission denied: /etc/passwd"),
        (["ls", "a\0b"], r"cannot start it: embedded null byte: \['ls', 'a\\x00b'\]"),
        ([], r"cannot start it: list index out of range: \[\]"),
    ],
)
def test_a_command_that_cannot_start(start: Start, command: list[str], why: str) -> None:
    """One line that names what could not be executed."""
    with pytest.raises(StartError, match=f"^{why}$"):
        start(command)


def test_a_folder_that_is_not_there(start: Start, tmp_path: Path) -> None:
    """The working folder or the log's: one line that names it, and nothing is left."""
    with pytest.raises(StartError, match=f"No such file or directory: {tmp_path}/none$"):
        start("true", cwd=tmp_path / "none")
    with pytest.raises(StartError, match=f"No such file or directory: {tmp_path}/none/log$"):
        start("true", log=tmp_path / "none" / "log")
    until(lambda: not of(tmp_path), "something lives")


def test_a_guard_that_says_nothing(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended before the command ran: one line, not a wait."""
    monkeypatch.setattr("harness.runtimes.local.GUARD", Path("/dev/null"))
    with pytest.raises(StartError, match=r"^cannot start it: its guard ended"):
        start("true")


# -- what the command is given -----------------------------------------------------------


def test_output_goes_to_the_log(start: Start, tmp_path: Path) -> None:
    """Both streams, in order, after what was there; input is empty."""
    (tmp_path / "log").write_text("before\n")
    ending(start("echo one; echo two >&2; cat; pwd"))
    assert (tmp_path / "log").read_text() == f"before\none\ntwo\n{tmp_path.resolve()}\n"


def test_the_environment_is_what_was_given(start: Start, tmp_path: Path) -> None:
    """Nothing of the harness's own environment, and nothing of the guard's."""
    ending(start(["env"], env={"PATH": os.environ["PATH"], "A": "1 = 1"}))
    lines = (tmp_path / "log").read_text().splitlines()
    assert sorted(lines) == ["A=1 = 1", f"PATH={os.environ['PATH']}"]


def test_the_command_leads_a_group_of_its_own(start: Start) -> None:
    """A session of its own too, apart from the harness's and the guard's."""
    process = start("sleep 300")
    assert os.getpgid(process.pid) == os.getsid(process.pid) == process.pid


@linux_only
def test_no_descriptor_leaks(start: Start, tmp_path: Path) -> None:
    """Not even one that was made inheritable: three, and no more."""
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)  # noqa: FBT003 - it has no keyword
        process = start(["sleep", "300"])
    log = str(tmp_path / "log")

    def only_three() -> bool:  # while it loads, the command has its libraries open
        entries = Path(f"/proc/{process.pid}/fd").iterdir()
        try:
            opened = {int(entry.name): str(entry.readlink()) for entry in entries}
        except FileNotFoundError:
            return False
        return opened == {0: "/dev/null", 1: log, 2: log}

    until(only_three, "more than three descriptors")


def test_signals_are_as_in_a_new_process(start: Start) -> None:
    """What the guard ignores, its command does not."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        process = start(["sleep", "300"])
        process.signal(signum)
        assert ending(process).signal == signum
