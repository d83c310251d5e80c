"""Celery's messages and settings, read from outside: by a broker's own eyes.

Used when a broker is inspected (steps 5 and 8 of a trial). Knows Celery's message protocols
1 and 2; imports neither Celery nor kombu, so that looking costs nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping

from msgspec import Struct

from harness.model import MARKER_TASK, MessageId, Settings

_JSON = "application/json"
_UUID_LENGTH = 36
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Reading(Struct, frozen=True):
    """What a message turned out to be.

    ``counts`` is false for what is no task (remote control, events, results) and for the
    baseline's marker. A message that counts and has no ``message`` cannot be named: its
    body is pickled, compressed or broken.
    """

    counts: bool
    message: MessageId | None = None


NOT_COUNTED = Reading(counts=False)
UNREADABLE = Reading(counts=True)


def read_message(headers: Mapping[str, object], body: bytes, content_type: str) -> Reading:
    """Tell which task message this is, from its headers, or its body before protocol 2.

    Source: https://docs.celeryq.dev/en/stable/internals/protocol.html
    """
    if "id" in headers and "task" in headers:
        return _reading(headers)
    if content_type != _JSON or "compression" in headers:
        return UNREADABLE
    try:
        content = json.loads(body)
    except ValueError:
        return UNREADABLE
    if isinstance(content, dict) and "id" in content and "task" in content:
        return _reading(content)
    return NOT_COUNTED


def read_envelope(raw: bytes) -> Reading:
    """As ``read_message``, for the JSON envelope of kombu's virtual transports.

    What is no such envelope (a list of the user's own in the same Redis database) is not
    counted. Source: ``kombu.transport.virtual.Channel.prepare_message``.
    """
    try:
        envelope = json.loads(raw)
    except ValueError:
        return NOT_COUNTED
    if not isinstance(envelope, dict) or not {"body", "properties"} <= envelope.keys():
        return NOT_COUNTED
    headers = envelope.get("headers") or {}
    content_type = envelope.get("content-type") or _JSON
    return read_message(headers, _body(envelope), str(content_type))


def is_task_queue(name: str) -> bool:
    """Whether a queue of this name holds tasks, and not remote control, events or results."""
    return not (
        ".celery.pidbox" in name
        or name.startswith(("celeryev.", "amq.gen", "ackproof-marker-"))
        # The queue of the rpc result backend, which is named by the client's oid.
        or (len(name) == _UUID_LENGTH and _UUID.fullmatch(name) is not None)
    )


def transport_options(live: Settings) -> Mapping[str, object]:
    """Get ``broker_transport_options`` of a worker's effective settings."""
    options = live.get("broker_transport_options")
    return options if isinstance(options, Mapping) else {}


def worker_transport(live: Settings) -> Mapping[str, object]:
    """Get what the worker told of its own kombu, which need not be ours; empty if it has not.

    Written by ``ackproof_probe.settings``.
    """
    told = live.get("ackproof_transport")
    return told if isinstance(told, Mapping) and "kombu" in told else {}


def number(value: object, default: float) -> float:
    """Read a setting that should be a number; the default where it is absent or none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return default
    try:
        return float(value)
    except ValueError:
        return default


def _reading(fields: Mapping[str, object]) -> Reading:
    if fields["task"] == MARKER_TASK:
        return NOT_COUNTED
    return Reading(
        counts=True, message=MessageId(str(fields["id"]), int(number(fields.get("retries"), 0)))
    )


def _body(envelope: Mapping[str, object]) -> bytes:
    body = str(envelope["body"])
    properties = envelope["properties"]
    encoding = properties.get("body_encoding") if isinstance(properties, Mapping) else None
    if encoding != "base64":
        return body.encode()
    try:
        return base64.b64decode(body)
    except (binascii.Error, ValueError):
        return b""
