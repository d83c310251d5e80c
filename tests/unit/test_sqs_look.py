"""What an SQS queue holds, put together from what was received of it and how many it says."""

from __future__ import annotations

import time

import pytest

from harness.brokers.sqs import _look, _receipts, _Taken, _Totals
from harness.celery_terms import NOT_COUNTED, Reading
from harness.model import Event, Held, MessageId

A, B, C = (_Taken(name, name, Reading(counts=True, message=MessageId(name, 0))) for name in "abc")
MARKER = _Taken("m", "m", NOT_COUNTED)


def totals(*, visible: int = 0, in_flight: int = 0, delayed: int = 0) -> _Totals:
    """What the queue says when all that could be received has been: that is in flight now."""
    return _Totals(visible, in_flight, delayed, timeout_s=1.0)


@pytest.mark.parametrize(
    ("visible", "in_flight", "said", "ready", "unacked", "names"),
    [
        ((A,), (B,), totals(in_flight=2), 1, 1, "ab"),
        ((A, B), (), totals(in_flight=2), 2, 0, "ab"),
        ((A,), (), totals(in_flight=2), 1, 1, "a"),  # handed out, and nobody's handle frees it
        ((A,), (), totals(visible=1, in_flight=1), 1, 1, "a"),  # it has come back just now
        ((A,), (), totals(in_flight=1, delayed=1), 2, 0, "a"),
        ((A, MARKER), (B,), totals(in_flight=3), 1, 1, "ab"),
        ((A, B), (C,), totals(in_flight=2), 2, 1, "abc"),  # one was deleted by a late request
    ],
)
def test_each_message_counts_once(
    visible: tuple[_Taken, ...],
    in_flight: tuple[_Taken, ...],
    said: _Totals,
    ready: int,
    unacked: int,
    names: str,
) -> None:
    """Also one whose visibility timeout ended while the queue was read: it was in flight when the
    queue was asked, and visible when it was received. Counted twice, there was a message that
    nobody could name, and the one that was acknowledged but not seen to be was taken for it."""
    look = _look(said, visible, in_flight, {})
    assert (look.ready, look.unacked) == (ready, unacked)
    assert "".join(sorted(held.task_id for held in look.held)) == names


def received(task_id: str, handle: str, at_s: float) -> Event:
    """As the probe of a worker tells it."""
    message = {"MessageId": f"sqs-{task_id}", "ReceiptHandle": handle}
    info = {"sqs_queue": "http://127.0.0.1:1/0/celery", "sqs_message": message}
    return Event("received", at_s, at_s, 1, "worker-1", task_id, data={"delivery_info": info})


def given_back(task_id: str, at_s: float, in_s: float) -> Event:
    return Event("given_back", at_s, at_s, 1, "worker-1", task_id, data={"back_in_s": in_s})


def back(*events: Event) -> Held:
    """What is told of the one message that is in flight, by what the probe saw of it."""
    latest = {one.sqs_id: one for one in _receipts(events)["celery"]}
    taken = _Taken("sqs-a", "new", Reading(counts=True, message=MessageId("a", 0)))
    (held,) = _look(totals(in_flight=1), (), (taken,), latest).held
    return held


def test_a_message_in_flight_comes_back_when_it_was_said_to() -> None:
    """After its visibility timeout from when it was last received; or, where its worker has given
    it back since, after the time that it gave."""
    now_s = time.time()
    long = now_s + 1000.0
    assert back(received("a", "h", long)).back_at_s == long + 1.0
    soon = back(received("a", "h", long), given_back("a", now_s, 10.0))
    assert soon.back_at_s == soon.earliest_at_s == now_s + 10.0
    assert soon.why.startswith("given back by its worker")
    again = back(received("a", "h", 1.0), given_back("a", 2.0, 10.0), received("a", "i", long))
    assert again.back_at_s == long + 1.0


def test_a_message_given_back_that_nobody_saw_received() -> None:
    """Of a queue that nobody knows: it says nothing."""
    assert _receipts([given_back("a", 1.0, 10.0)]) == {}
