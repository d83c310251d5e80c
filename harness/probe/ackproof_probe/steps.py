"""Failpoints: where an armed step is reached, the process says so, and may be made to wait.

    harness: writes armed.json ─▶ probe: reaches the step for the nth time
             ◀── step_reached ──        waits, reading a FIFO
             kills, stops, ... then writes "go" ─▶ step_left

So whatever the harness does is done exactly there, and is seen from outside. A process that is
killed meanwhile has no ``step_left``. While nothing is armed, a step costs one ``stat``.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import wraps
from importlib import import_module
from types import ModuleType
from typing import Any

from ackproof_probe import digests, marking
from ackproof_probe.missing import there
from ackproof_probe.record import record

_folder = os.environ.get("ACKPROOF_STEPS", "")
_role = os.environ.get("ACKPROOF_ROLE", "")
_tells_results = bool(os.environ.get("ACKPROOF_TELL_RESULTS"))
_armed_file = os.path.join(_folder, "armed.json")
_armed_state: tuple[int, int, int] | None = None
_armed: list[dict[str, Any]] = []
# As they were before any pool patched them: a process that waits must not go on in a
# greenlet. They are not `os.read` looked up late.
_read, _open, _close, _write, _stat = os.read, os.open, os.close, os.write, os.stat


def reach(
    step: str,
    task_id: object,
    retries: object,
    task: object,
    worker_pid: int | None = None,
) -> None:
    """A message came to ``step`` in this process. Raises what the harness asked for, if so."""
    if not _folder or task == marking.TASK or not task_id:
        return
    try:
        error = _reached(step, task_id, retries, task, worker_pid)
    except OSError as failure:  # the trial's folder is gone, or full
        record("probe_failed", task_id, where=f"the step {step}", error=repr(failure))
        return
    if error is not None:
        raise error


def _reached(
    step: str,
    task_id: object,
    retries: object,
    task: object,
    worker_pid: int | None,
) -> BaseException | None:
    """What to raise, if anything; comes back when the harness lets it."""
    error = None
    for point in _points():
        if point["step"] == step and _concerns(point, str(task_id), str(task or "")):
            nth = _ordinal(point["index"])
            if nth == point["nth"]:
                who = {"task_id": task_id, "retries": retries, "task": task}
                facts = {"step": step, "nth": nth, "worker_pid": worker_pid}
                error = _strike(point, facts, who) or error
    return error


def _concerns(point: dict[str, Any], task_id: str, task: str) -> bool:
    """Whether this message, in this process, is one that the failpoint waits for."""
    return (
        point["role"] in {"", _role}
        and point["task_id"] in {"", task_id}
        and (not point["task"] or fnmatchcase(task, point["task"]))
    )


def _points() -> list[dict[str, Any]]:
    global _armed, _armed_state  # noqa: PLW0603 - read again when the file is another
    try:
        seen = _stat(_armed_file)
        state = (seen.st_ino, seen.st_mtime_ns, seen.st_size)
        if state != _armed_state:
            with open(_armed_file, encoding="utf-8") as file:
                _armed = json.load(file)
            _armed_state = state
    except OSError:
        _armed, _armed_state = [], None
    return _armed


def _ordinal(index: int) -> int:
    """How often this failpoint has been reached, in all processes: a byte each in one file."""
    counter = _open(
        os.path.join(_folder, f"{index}.count"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644
    )
    try:
        _write(counter, b".")
        return os.lseek(counter, 0, os.SEEK_CUR)
    finally:
        _close(counter)


def _strike(
    point: dict[str, Any], facts: dict[str, Any], who: dict[str, Any]
) -> BaseException | None:
    facts["index"] = point["index"]
    if not point["holds"]:
        record("step_reached", **who, **facts)
        return None
    # For reading and writing: so it is open before the harness hears of us, and never at its end.
    fifo = _open(os.path.join(_folder, f"{point['index']}.fifo"), os.O_RDWR | os.O_CLOEXEC)
    child = facts["worker_pid"] if point["stills"] else None
    try:
        _signal(child, signal.SIGSTOP)
        record("step_reached", **who, **facts, holds=True)
        answer = _read(fifo, 1024).decode()
    finally:
        _close(fifo)
        _signal(child, signal.SIGCONT)
    wanted = answer.partition("raise ")[2].strip()
    error, how = _made(wanted, str(facts["step"])) if wanted else (None, "released")
    record("step_left", **who, **facts, how=how)
    return error


def _made(wanted: str, step: str) -> tuple[BaseException | None, str]:
    """The exception ``module:Class``, and ``raised``; or none, and why there is no such one."""
    module, _, name = wanted.partition(":")
    try:
        error = getattr(import_module(module), name)(f"Ackproof raised this at {step}")
    except Exception as failure:
        return None, f"released, for {wanted} cannot be made: {failure!r}"
    if isinstance(error, BaseException):
        return error, "raised"
    return None, f"released, for {wanted} is no exception"


def _signal(child: int | None, signum: int) -> None:
    """To the pool process that has the message; in most pools that is this very process."""
    if child and child != os.getpid():
        try:
            os.kill(child, signum)
        except OSError:
            pass  # it has ended


# -- where they stand ------------------------------------------------------------------


def watch_received(signals: ModuleType) -> None:
    """Hook on ``celery.signals``: the strategy looks the signal's ``send`` up each time."""

    def on(request: Any, **_: object) -> dict[str, Any]:
        # Which acknowledgement this will be is known here, and no more in `Message.ack`.
        request.message.ackproof_acks_late = bool(request.task.acks_late)
        return of_request(request)

    if there(signals, "celery.signals:"):
        signals.task_received.send = _after(signals.task_received.send, "received", on)


def watch_trace(trace: ModuleType) -> None:
    """Hook on ``celery.app.trace``, which binds the ``send`` of its signals early."""

    def on(task: Any, **_: object) -> dict[str, Any]:
        return of_task(task)

    for step, name in (("started", "send_prerun"), ("finished", "send_postrun")):
        if there(trace, f"celery.app.trace:{name}"):
            setattr(trace, name, _after(getattr(trace, name), step, on))


def watch_redis(redis: ModuleType) -> None:
    """Hook on ``kombu.transport.redis``."""
    _watch_noting(redis, "kombu.transport.redis:")


def watch_sqs(sqs: ModuleType) -> None:
    """Hook on ``kombu.transport.SQS``."""
    _watch_noting(sqs, "kombu.transport.SQS:")


def _watch_noting(transport: ModuleType, where: str) -> None:
    def on(_: object, message: Any, *__: object, **___: object) -> dict[str, Any]:
        return of_message(message)

    if there(transport, where):
        append = _before(transport.QoS.append, "taken", on)
        transport.QoS.append = _after(append, "noted", on)


def watch_processing(worker: ModuleType) -> None:
    """Hook on ``celery.worker.worker``: how a request gets to the pool, whichever it is."""

    def on(controller: Any, request: Any) -> dict[str, Any]:
        # What a green pool calls a pid is the number of a greenlet.
        request.message.ackproof_green = bool(controller.pool.is_green)
        return of_request(request)

    def handed_over(controller: Any, request: Any) -> dict[str, Any]:
        # In solo the body has run by now: it is nowhere "with the pool".
        return {} if _is_solo(controller.pool) else of_request(request)

    if there(worker, "celery.worker.worker:"):
        process = worker.WorkController._process_task  # noqa: SLF001 - there is no public one
        process = _after(_before(process, "reserved", on), "sent", handed_over)
        worker.WorkController._process_task = process  # noqa: SLF001


def _is_solo(pool: object) -> bool:
    return any(cls.__module__ == "celery.concurrency.solo" for cls in type(pool).__mro__)


def watch_accepting(request: ModuleType) -> None:
    """Hook on ``celery.worker.request``."""

    def on(self: Any, pid: int, *_: object, **__: object) -> dict[str, Any]:
        process = None if getattr(self.message, "ackproof_green", True) else pid
        # Kept for the acknowledgement, which comes next and is not told.
        self.message.ackproof_worker_pid = process
        return {**of_request(self), "worker_pid": process}

    if there(request, "celery.worker.request:"):
        request.Request.on_accepted = _before(request.Request.on_accepted, "accepted", on)


def watch_result(base: ModuleType) -> None:
    """Hook on ``celery.backends.base``; without a result backend it is called all the same."""

    def on(_: object, task_id: str, *__: object, **___: object) -> dict[str, Any]:
        from celery import current_task

        return of_task(current_task) if current_task else {"task_id": task_id}

    def returned(self: Any, task_id: str, result: object, *args: Any, **kwargs: Any) -> Any:
        who = on(self, task_id)
        # A task that is marked done without running, as a chord's error is, has not returned.
        if who.get("task") not in {None, marking.TASK} and who["task_id"] == task_id:
            kept = _kept_by(self, *_arguments(args, kwargs, "request", "store_result"))
            record("returned", **who, **_compared(result), **kept)
        return who

    def raised(self: Any, task_id: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        who = on(self, task_id)
        # Not a chord's body, or the rest of a chain, that is marked failed with this one.
        if who.get("task") not in {None, marking.TASK} and who["task_id"] == task_id:
            named = _arguments(args, kwargs, "exc", "traceback", "request", "store_result")
            record("raised", **who, **_kept_by(self, None, named[3]))
        return who

    if there(base, "celery.backends.base:"):
        done = _before(base.Backend.mark_as_done, "callbacks_published", returned)
        base.Backend.mark_as_done = _after(done, "result_stored", on)
        if _tells_results:
            base.Backend.mark_as_failure = _told(base.Backend.mark_as_failure, raised)


def _compared(result: object) -> dict[str, Any]:
    """What is held against something later: of a chord's header against what the body is given,
    or, where a check needs them, of every task against what its result backend gives."""
    from celery import current_task

    in_chord = getattr(current_task.request, "chord", None)
    return {"result": digests.digest(result)} if in_chord or _tells_results else {}


def _kept_by(backend: Any, request: Any, store: object) -> dict[str, Any]:
    """Who keeps the result: the ``app``'s backend, the ``task``'s own, or nobody: empty."""
    from celery import current_task

    if not _tells_results:
        return {}
    if store is False or getattr(request, "ignore_result", False):
        return {"kept_by": ""}
    same = current_task and backend is current_task.app.backend
    return {"kept_by": "app" if same else "task"}


def _arguments(args: tuple[Any, ...], kwargs: dict[str, Any], *names: str) -> list[Any]:
    """The arguments of these names, however they were passed; None for one that was not."""
    return [
        args[place] if place < len(args) else kwargs.get(name) for place, name in enumerate(names)
    ]


def watch_retry(task: ModuleType) -> None:
    """Hook on ``celery.app.task``: ``retry`` raises Retry once the retry is published."""
    if not there(task, "celery.app.task:"):
        return
    retry_real = task.Task.retry

    def is_out(who: dict[str, Any]) -> None:
        record("retry_published", **who)
        reach("retry_published", **who)

    @wraps(retry_real)
    def retry(self: Any, *args: object, **kwargs: object) -> object:
        from celery.exceptions import Retry

        # Its own request, which may be of an older message than the retry that it makes.
        who = of_task(self)
        try:
            result = retry_real(self, *args, **kwargs)
        except Retry:
            is_out(who)
            raise
        is_out(who)  # throw=False
        return result

    task.Task.retry = retry


def acknowledging(message: Any, moment: str) -> None:
    """Called from ``Message.ack``: ``ack_begins`` or ``acked``. Early or late, its request said."""
    late = getattr(message, "ackproof_acks_late", None)
    if late is None:
        return
    pid = getattr(message, "ackproof_worker_pid", None)
    who = of_message(message)
    reach(f"{'late' if late else 'early'}_{moment}", **who, worker_pid=pid)


def of_request(request: Any) -> dict[str, Any]:
    return {
        "task_id": request.id,
        "retries": request.request_dict.get("retries"),
        "task": request.type,
    }


def of_message(message: Any) -> dict[str, Any]:
    headers = message.headers or {}
    return {
        "task_id": headers.get("id"),
        "retries": headers.get("retries"),
        "task": headers.get("task"),
    }


def of_task(task: Any) -> dict[str, Any]:
    return {"task_id": task.request.id, "retries": task.request.retries, "task": task.name}


_Who = Callable[..., dict[str, Any]]


def _before(function: Callable[..., object], step: str, who: _Who) -> Callable[..., object]:
    @wraps(function)
    def watched(*args: Any, **kwargs: Any) -> object:
        _come_to(step, who, args, kwargs)
        return function(*args, **kwargs)

    return watched


def _told(function: Callable[..., object], who: _Who) -> Callable[..., object]:
    """``who`` is told of the call, and that is all."""

    @wraps(function)
    def watched(*args: Any, **kwargs: Any) -> object:
        try:
            who(*args, **kwargs)
        except Exception as error:  # Celery passes something else here than it did
            record("probe_failed", where=function.__qualname__, error=repr(error))
        return function(*args, **kwargs)

    return watched


def _after(function: Callable[..., object], step: str, who: _Who) -> Callable[..., object]:
    @wraps(function)
    def watched(*args: Any, **kwargs: Any) -> object:
        result = function(*args, **kwargs)
        _come_to(step, who, args, kwargs)
        return result

    return watched


def _come_to(step: str, who: _Who, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
    try:
        told = who(*args, **kwargs)
    except Exception as error:  # Celery passes something else here than it did
        record("probe_failed", where=f"the step {step}", error=repr(error))
        return
    if told:
        reach(step, **told)
