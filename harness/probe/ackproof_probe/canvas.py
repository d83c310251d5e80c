"""What a task message says of the tasks that belong to it: its chord, and what follows it.

Signatures are dictionaries, in both message protocols. Only what is there is told, by id:

``parent_id``, ``root_id``, ``group``, ``group_index``   as in the message
``chord``          the task that is to receive the results of this one and of its fellows
``chord_is``       set where that cannot be told, because the chord's body is a group, a chord
``chord_takes_nothing``   the body is immutable: it is not given the results
``follows``        the tasks that are published when this one has returned: the next of its
                   chain, and callbacks (``link``) that have an id
``follows_unknown``   the next of its chain has no id that could be followed
``nesting``        how often a task of this id has replaced itself (``Task.replace``)
"""

from __future__ import annotations

from typing import Any

_HEADERS = ("parent_id", "root_id", "group", "group_index")


def of(message: tuple[Any, ...]) -> dict[str, Any]:
    """The facts of a ``task_message`` tuple. Never raises: what it cannot read, it tells."""
    try:
        return _of(message)
    except Exception as error:
        return {"canvas_unread": f"{type(error).__name__}: {error}"[:200]}


def _of(message: tuple[Any, ...]) -> dict[str, Any]:
    headers, _, body, _ = message
    second = bool(headers.get("id"))
    source, embed = (headers, body[2]) if second else (body, body)
    found = {name: source[name] for name in _HEADERS if source.get(name) is not None}
    if source.get("replaced_task_nesting"):
        found["nesting"] = source["replaced_task_nesting"]
    if embed.get("chord"):
        found |= _chord(embed["chord"])
    # The rest of a chain is kept backwards: what runs next stands last.
    following = heads(embed["chain"][-1]) if embed.get("chain") else []
    if following is None:
        found["follows_unknown"] = True
    for callback in embed.get("callbacks") or ():
        following = [*(following or ()), *(heads(callback) or ())]
    if following:
        found["follows"] = following
    return found


def _chord(body: dict[str, Any]) -> dict[str, Any]:
    """Which task receives the results: of a chain, its first."""
    first = heads(body) if body.get("subtask_type") in {None, "chain"} else None
    if first is None or len(first) != 1:
        whole = (body.get("options") or {}).get("task_id")
        return {"chord": whole, "chord_is": body.get("subtask_type") or "a task without an id"}
    takes_nothing = {"chord_takes_nothing": True} if _first_of(body).get("immutable") else {}
    return {"chord": first[0], **takes_nothing}


def heads(signature: dict[str, Any]) -> list[str] | None:
    """Ids of the tasks that are published first when this is applied; None: not known."""
    kind = signature.get("subtask_type")
    given = signature.get("kwargs") or {}
    if kind == "chain":
        return heads(given["tasks"][0])
    if kind == "chord":
        return _each(given.get("header"))
    if kind == "group":
        return _each(given.get("tasks"))
    task_id = (signature.get("options") or {}).get("task_id")
    return [task_id] if task_id and not kind else None


def _each(tasks: Any) -> list[str] | None:
    if isinstance(tasks, dict):
        return heads(tasks)
    if not isinstance(tasks, list | tuple):
        return None  # lazy: to look into it would be to change it
    found: list[str] = []
    for task in tasks:
        first = heads(task)
        if first is None:
            return None
        found += first
    return found


def _first_of(signature: dict[str, Any]) -> dict[str, Any]:
    while signature.get("subtask_type") == "chain":
        signature = signature["kwargs"]["tasks"][0]
    return signature
