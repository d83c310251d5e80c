"""What Celery's messages and settings mean, without a broker."""

from __future__ import annotations

import base64
import json

import pytest

from harness.celery_terms import (
    NOT_COUNTED,
    UNREADABLE,
    Reading,
    is_task_queue,
    number,
    read_envelope,
    read_message,
    transport_options,
)
from harness.model import MARKER_TASK, MessageId

JSON = "application/json"


def named(task_id: str, retries: int) -> Reading:
    return Reading(counts=True, message=MessageId(task_id, retries))


def envelope(body: bytes, **headers: object) -> bytes:
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "headers": headers,
            "content-type": JSON,
            "properties": {"body_encoding": "base64"},
        }
    ).encode()


def test_protocol_2_is_in_the_headers() -> None:
    """The body need not be read, so pickled and compressed ones have names too."""
    headers: dict[str, object] = {"id": "a", "task": "t", "retries": 2, "compression": "gzip"}
    assert read_message(headers, b"\x80", "application/x-python-serialize") == named("a", 2)


def test_protocol_1_is_in_the_body() -> None:
    """A JSON body that is a dict with task and id is a task."""
    body = json.dumps({"task": "t", "id": "a", "args": [], "retries": 1}).encode()
    assert read_message({}, body, JSON) == named("a", 1)
    assert read_envelope(envelope(body)) == named("a", 1)


def test_missing_retries_are_none_yet() -> None:
    """A message from a hand-written producer, without retries, is at its first try."""
    assert read_message({"id": "a", "task": "t"}, b"", JSON) == named("a", 0)
    assert read_message({"id": "a", "task": "t", "retries": None}, b"", JSON) == named("a", 0)


@pytest.mark.parametrize(
    ("headers", "body", "content_type"),
    [
        ({}, b"\x80\x02}", "application/x-python-serialize"),
        ({"compression": "application/x-gzip"}, b"\x1f\x8b", JSON),
        ({}, b"{not json", JSON),
    ],
)
def test_what_cannot_be_read_counts_without_a_name(
    headers: dict[str, object], body: bytes, content_type: str
) -> None:
    """It is held by the broker: to leave it out would be a guess that it is no task."""
    assert read_message(headers, body, content_type) == UNREADABLE


@pytest.mark.parametrize(
    "raw",
    [
        envelope(b'{"method": "ping"}'),
        envelope(b"", id="a", task=MARKER_TASK),
        b"a list of the user's own",
        b'["not", "an", "envelope"]',
        b"\xff\xfe",
    ],
)
def test_what_is_no_task_is_not_counted(raw: bytes) -> None:
    """Remote control, the marker, and whatever else lives in the same Redis database."""
    assert read_envelope(raw) == NOT_COUNTED


def test_queues_without_tasks_are_known_by_name() -> None:
    """Remote control, events, replies and the rpc backend; everything else holds tasks."""
    uuid = "0b1d2f3a-1111-2222-3333-444455556666"
    others = [
        "celery@host.celery.pidbox",
        f"{uuid}.reply.celery.pidbox",
        f"celeryev.{uuid}",
        "amq.gen-x",
        uuid,
    ]
    assert not any(is_task_queue(name) for name in others)
    assert all(is_task_queue(name) for name in ["celery", "celery_delayed_3", "mail", f"q-{uuid}"])


def test_settings_that_are_not_there() -> None:
    """None, rubbish and booleans are no numbers; the default stands in."""
    assert transport_options({}) == {}
    assert transport_options({"broker_transport_options": None}) == {}
    assert number("2.5", 1.0) == 2.5
    rubbish: list[object] = [None, "soon", True, []]
    assert [number(value, 1.0) for value in rubbish] == [1.0] * 4
