"""Reads results from the result backend of the app under test, when its workers have ended.

``python -m ackproof_results FOLDER``, with the interpreter of a worker. The folder has

``backend.json``   written by that worker's probe: the settings that its backend is made of
``ids.json``       written by the harness: the ids of the tasks asked for

and is given ``answers.jsonl``: a line an id with its state, or at last why there are no more.
Celery and the standard library only.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from ackproof_probe.digests import digest

if TYPE_CHECKING:
    from celery import Celery

ANSWER_S = 5.0
"""A backend that has not answered by then will not."""
_ELSEWHERE = {
    "DisabledBackend": "the app has no result backend",
    "RPCBackend": "rpc:// sends results to the producer's own queue",
}


class NotReadError(Exception):
    """Why nothing more can be read."""


def main(folder: str) -> None:
    with open(os.path.join(folder, "answers.jsonl"), "w", encoding="utf-8") as answers:

        def tell(**told: object) -> None:
            answers.write(json.dumps(told) + "\n")
            answers.flush()

        try:
            app = _app(_read(folder, "backend.json"))
            for task_id in _read(folder, "ids.json"):
                tell(task_id=task_id, **_result(app, task_id))
            expires = app.backend.expires  # of a database, a timedelta
            tell(expires_s=getattr(expires, "total_seconds", lambda: expires)())
        except Exception as error:
            why = str(error) if isinstance(error, NotReadError) else f"{error!r}"
            tell(not_read=why[:500])


def _app(told: dict[str, Any]) -> Celery:
    """An app with the worker's own result backend."""
    from celery import Celery

    app = Celery("ackproof", set_as_current=False)
    app.conf.update(told["settings"])
    kind = type(app.backend)
    if kind.__name__ in _ELSEWHERE:
        raise NotReadError(_ELSEWHERE[kind.__name__])
    if "memory" in str(app.conf.result_backend).partition("://")[0]:
        raise NotReadError("the result backend is the worker's own memory")
    if f"{kind.__module__}:{kind.__qualname__}" != told["backend"]:
        raise NotReadError(f"the worker's own backend, {told['backend']}, could not be made again")
    if told["left_out"]:
        raise NotReadError(f"settings of the app that are objects: {', '.join(told['left_out'])}")
    return app


def _result(app: Celery, task_id: str) -> dict[str, object]:
    signal.setitimer(signal.ITIMER_REAL, ANSWER_S)
    try:
        meta = app.backend.get_task_meta(task_id)
        found: dict[str, object] = {"state": str(meta["status"])}
        return found | ({"result": digest(meta["result"])} if meta["status"] == "SUCCESS" else {})
    except Exception as error:
        if _late:
            raise NotReadError(f"the result backend gave no answer in {ANSWER_S:.0f} s") from error
        # Celery tells that it failed, and why only in the error behind that.
        return {"error": repr(error.__cause__ or error.__context__ or error)[:200]}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


_late: list[int] = []


def _timed_out(signum: int, frame: object) -> None:
    del frame
    _late.append(signum)
    raise TimeoutError


def _read(folder: str, name: str) -> Any:
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return json.load(file)


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, _timed_out)
    main(sys.argv[1])
