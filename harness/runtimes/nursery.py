"""Starts Python commands warm: forks of an interpreter that has Celery imported already.

    harness ──spec, pipes──▶ nursery ──fork──▶ guard ──fork──▶ the command

Half of what a worker's start costs is importing Celery, kombu and their clients, the same
modules each time. The nursery imports them once. A command then runs in a fork of it, with
its own environment, arguments, paths, session and ``sitecustomize`` (so, the probe), as if
Python had just started. Nothing of the user's own is imported beforehand.

Only for what is sure to be the same that way (``warmable``); anything else starts cold, by
exec. ``ACKPROOF_COLD=1`` starts everything cold. Linux only.

Run as a script: ``nursery.py SOCKET``, a path in a folder of this user's own. Who comes as
another user is not answered: whoever is, has commands of its choice run. Its own guard ends it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from harness.runtimes import guard

PRELOADED = (
    "celery.__main__",
    "celery.bin.celery",
    "celery.apps.worker",
    "celery.app.amqp",
    "celery.app.control",
    "celery.app.events",
    "celery.app.log",
    "celery.app.trace",
    "celery.concurrency.prefork",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.strategy",
    "celery.backends.base",
    "celery.events.state",
    "celery.fixups.django",
    "billiard.popen_fork",
    "billiard.sharedctypes",
    "kombu.pidbox",
    "kombu.transport.pyamqp",
    "kombu.transport.redis",
    "kombu.transport.SQS",
    "encodings.idna",
    "sqlite3",
)
COLD_WORDS = ("gevent", "eventlet")
"""Pools that patch the standard library before anything else may be imported."""
COLD_VARIABLES = (
    "PYTHON",
    "KOMBU_",
    "C_",
    "FORKED_BY_MULTIPROCESSING",
    "MALLOC_",
    "LD_",
    "REMAP_SIGTERM",
    "ACKPROOF_HOSTNAME",
)
"""Variables that Python, the linker, Celery, billiard, kombu or the probe read once, when they
start."""


def warmable(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether a fork is sure to do the same as a new process would."""
    plain = not any(word.endswith(COLD_WORDS) for word in command)
    # The nursery has our own environment: what it read at its start, the command would too.
    alike = all(
        os.environ.get(name) == env.get(name)
        for name in {*env, *os.environ}
        if name.startswith(COLD_VARIABLES) and name != "PYTHONPATH"
    )
    return warm_is_possible() and plain and alike and _way(command, env) is not None


def warm_is_possible() -> bool:
    """Whether this system can, and nobody has said no."""
    return sys.platform.startswith("linux") and not os.environ.get("ACKPROOF_COLD")


def _way(command: Sequence[str], env: Mapping[str, str]) -> tuple[str, str, list[str]] | None:
    """How to run it here: ``module`` or ``path``, which one, and its arguments."""
    ours = Path(sys.executable).parent
    match list(command):
        case ["celery", *rest] if _found("celery", env) == ours / "celery":
            return "path", str(ours / "celery"), rest
        case ["python" | "python3" as name, "-m", module, *rest] if _same_python(name, env):
            return "module", module, rest
        case _:
            return None


def _found(name: str, env: Mapping[str, str]) -> Path | None:
    places = (Path(folder) / name for folder in env.get("PATH", "").split(os.pathsep) if folder)
    return next((path for path in places if os.access(path, os.X_OK)), None)


def _same_python(name: str, env: Mapping[str, str]) -> bool:
    found = _found(name, env)
    # Not only the same binary: a virtual environment is a link to it, in another folder.
    return found is not None and found.parent == Path(sys.executable).parent


def become(spec: guard.Spec, values: Mapping[str, str]) -> NoReturn:
    """In the command's own process: run it, as a new interpreter would, and exit."""
    way = _way(spec.command, values)
    if way is None:
        raise OSError(0, "cannot start warm", spec.command[0])
    kind, target, arguments = way
    os.closerange(3, 64)  # the guard's; that they close tells it of the success
    os.environ.clear()
    os.environ.update(values)
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    first = str(Path(target).parent) if kind == "path" else spec.cwd
    paths = [part for part in values.get("PYTHONPATH", "").split(os.pathsep) if part]
    sys.path[:] = [first, *paths, *sys.path]
    sys.argv[:] = [target, *arguments]
    status = 1
    try:
        sys.modules.pop("sitecustomize", None)
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module("sitecustomize")
        if kind == "path":
            runpy.run_path(target, run_name="__main__")
        else:
            runpy.run_module(target, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = _status(end.code)
    except BaseException:  # noqa: BLE001 - as the interpreter does with what nobody caught
        sys.excepthook(*sys.exc_info())
    _leave(status)


def _status(code: object) -> int:
    if code is None or isinstance(code, int):
        return (code or 0) & 0xFF
    print(code, file=sys.stderr)  # noqa: T201 - what sys.exit("text") does
    return 1


def _leave(status: int) -> NoReturn:
    """What an interpreter does at its end, short of taking its modules apart."""
    import atexit

    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - joins threads
        atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def peer_uid(connection: socket.socket) -> int:
    """Whose process is at the other end, as the kernel has it."""
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


def _serve(listener: socket.socket) -> NoReturn:
    """One connection a start: takes a spec and the guard's two pipes, answers with its pid."""
    while True:
        connection, _ = listener.accept()
        with connection:
            if peer_uid(connection) != os.geteuid():
                continue
            message, pipes, _, _ = socket.recv_fds(connection, 1 << 20, 2)
            told = json.loads(message)
            pid = os.fork()
            if pid == 0:
                listener.close()
                _be_a_guard(told, pipes)
            connection.sendall(str(pid).encode())
        for descriptor in pipes:
            os.close(descriptor)


def _be_a_guard(told: dict[str, object], pipes: Sequence[int]) -> NoReturn:
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, descriptor in enumerate(pipes):
            os.dup2(descriptor, number)
        os.closerange(3, 1024)
        values = told["values"]
        spec = guard.Spec(**told["spec"])  # type: ignore[arg-type]
        if isinstance(values, dict):
            status = guard.run(spec, lambda: become(spec, values))
    finally:
        os._exit(status)


def main() -> NoReturn:
    sys.path.pop(0)  # this script's folder
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is here now is shared by every fork, and never freed
    for signum in (signal.SIGCHLD, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # ended guards need no collecting
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(sys.argv[1])
        listener.listen(64)
        print("ready", flush=True)  # noqa: T201 - the harness waits for it
        _serve(listener)


if __name__ == "__main__":
    main()
