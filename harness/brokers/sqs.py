"""SQS: moto's server, one queue prefix a trial.

A received message is invisible until its visibility timeout ends or it is deleted. The
service does not tell which messages are in flight; who holds the receipt handle can make one
visible again. So in-flight messages are named with the handles that the probe recorded.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import functools
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness import parts
from harness.celery_terms import Reading, is_task_queue, number, read_envelope, transport_options
from harness.model import BrokerView, Endpoint, Event, Held, Horizon, MessageId, Settings
from harness.protocols import Runtime
from harness.waiting import NoAnswerError, NotYetError, free_port, wait_for_server

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

START_S = 30.0
REGION = "us-east-1"
KEY = "ackproof"
SECRET = "ackproof"  # noqa: S105  the server is ours, on loopback, and checks none
"""Credentials that open nothing: whatever is signed with them, AWS refuses."""

_ANSWER_S = 10.0
_BATCH_MAX = 10
_HIDE_S = 60
"""While the held messages are read, one that was read must not be received again."""
_TRANSPORT_VISIBILITY_S = 1800.0
_TRANSPORT_WAIT_S = 10.0
_TRANSPORT_POLL_S = 1.0


class SQSLease:
    """The queues whose names begin with one prefix."""

    def __init__(self, endpoint: Endpoint, index: int) -> None:
        self.host = endpoint.host
        self.port = endpoint.port
        self._prefix = f"ackproof-{index}-"
        with _answering():
            self._delete_queues()

    def url(self, host: str, port: int) -> str:
        return f"sqs://{KEY}:{SECRET}@{host}:{port}"

    def settings(self) -> Settings:
        return {"broker_transport_options": {"queue_name_prefix": self._prefix, "region": REGION}}

    def view(self, live: Settings) -> BrokerView:
        """Counts only: SQS does not tell what is in flight. moto's numbers are exact."""
        with _answering():
            totals = [self._totals(url) for url in self._queues(live).values()]
        ready = sum(total.visible + total.delayed for total in totals)
        unacked = sum(total.in_flight for total in totals)
        return BrokerView(time.time(), ready, unacked, named=ready + unacked == 0)

    def name_held(self, live: Settings, received: Sequence[Event]) -> BrokerView:
        """Receive what is visible, then what the recorded receipt handles make visible.

        Deletes nothing. Messages in flight are visible afterwards, sooner than they would
        have been. One that a worker fetched and died before the probe could record stays in
        flight: it is counted and cannot be named.
        """
        receipts = _receipts(received)
        with _answering():
            looks = [
                self._look_into(url, receipts.get(name, ()))
                for name, url in self._queues(live).items()
            ]
        held = tuple(held for look in looks for held in look.held)
        ready = sum(look.ready for look in looks)
        unacked = sum(look.unacked for look in looks)
        return BrokerView(time.time(), ready, unacked, held, named=len(held) == ready + unacked)

    def horizon(self, live: Settings) -> Horizon:
        with _answering():
            timeout_s, source = self._visibility_timeout(live)
        options = transport_options(live)
        wait_s = number(options.get("wait_time_seconds"), _TRANSPORT_WAIT_S)
        poll_s = number(options.get("polling_interval"), _TRANSPORT_POLL_S)
        long_poll = (
            f"long poll {wait_s:g} s ({_chosen(options, 'wait_time_seconds')}): "
            "that of a dead worker may still be open"
        )
        polling = f"polling interval {poll_s:g} s ({_chosen(options, 'polling_interval')})"
        return Horizon(
            seconds=timeout_s + wait_s + poll_s,
            derivation=(f"visibility timeout {timeout_s:g} s ({source})", long_poll, polling),
            earliest_s=timeout_s,
        )

    def release(self) -> None:
        # When its server is gone, what it held is gone too: it is in memory.
        with contextlib.suppress(NoAnswerError), _answering():
            self._delete_queues()

    def _sqs(self) -> SQSClient:
        return _client(self.host, self.port)

    def _delete_queues(self) -> None:
        for url in self._queues({}).values():
            self._sqs().delete_queue(QueueUrl=url)

    def _queues(self, live: Settings) -> dict[str, str]:
        """Queue name to URL: those of our prefix, and the ``predefined_queues`` of the app."""
        found = self._sqs().list_queues(QueueNamePrefix=self._prefix).get("QueueUrls", [])
        urls = {_name(url): url for url in found}
        predefined = transport_options(live).get("predefined_queues")
        if isinstance(predefined, Mapping):
            for queue in predefined.values():
                name = _name(str(queue["url"]))
                # Never the URL as it stands: it may lead elsewhere. Only our own server's.
                for url in self._sqs().list_queues(QueueNamePrefix=name).get("QueueUrls", []):
                    if _name(url) == name:
                        urls[name] = url
        return {
            name: url
            for name, url in urls.items()
            if is_task_queue(name.removeprefix(self._prefix))
        }

    def _attributes(self, url: str) -> Mapping[str, str]:
        answer = self._sqs().get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        return {str(name): value for name, value in answer.get("Attributes", {}).items()}

    def _totals(self, url: str) -> _Totals:
        told = self._attributes(url)
        return _Totals(
            visible=int(told.get("ApproximateNumberOfMessages", 0)),
            in_flight=int(told.get("ApproximateNumberOfMessagesNotVisible", 0)),
            delayed=int(told.get("ApproximateNumberOfMessagesDelayed", 0)),
            timeout_s=float(told.get("VisibilityTimeout", _TRANSPORT_VISIBILITY_S)),
        )

    def _visibility_timeout(self, live: Settings) -> tuple[float, str]:
        """From the queues, for the option is ignored where a queue exists already."""
        told = {name: self._totals(url).timeout_s for name, url in self._queues(live).items()}
        if told:
            longest = max(told, key=lambda name: told[name])
            return told[longest], f"attribute of the queue {longest}"
        options = transport_options(live)
        timeout_s = number(options.get("visibility_timeout"), _TRANSPORT_VISIBILITY_S)
        return timeout_s, _chosen(options, "visibility_timeout")

    def _look_into(self, url: str, receipts: Sequence[_Receipt]) -> _Look:
        visible = list(self._receive_all(url))
        seen = {taken.sqs_id for taken in visible}
        try:
            for receipt in receipts:
                # A handle from before a redelivery would free a message that was visible.
                if receipt.sqs_id not in seen:
                    self._free(url, receipt.handle)
            in_flight = list(self._receive_all(url))
            totals = self._totals(url)
        finally:
            for taken in visible:
                self._free(url, taken.handle)
        for taken in in_flight:
            self._free(url, taken.handle)
        latest = {receipt.sqs_id: receipt for receipt in receipts}
        return _look(totals, visible, in_flight, latest)

    def _receive_all(self, url: str) -> Iterator[_Taken]:
        """Receive until nothing is visible. What is not counted is among them."""
        while True:
            answer = self._sqs().receive_message(
                QueueUrl=url, MaxNumberOfMessages=_BATCH_MAX, VisibilityTimeout=_HIDE_S
            )
            messages = answer.get("Messages", [])
            if not messages:
                return
            for message in messages:
                yield _taken(message)

    def _free(self, url: str, handle: str) -> None:
        from botocore.exceptions import ClientError

        # Refused for a message that was acknowledged since, or is visible already.
        with contextlib.suppress(ClientError):
            self._sqs().change_message_visibility(
                QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0
            )


class _Totals(NamedTuple):
    visible: int
    in_flight: int
    delayed: int
    timeout_s: float
    """Visibility timeout."""


class _Taken(NamedTuple):
    """A message we received while reading what is held."""

    sqs_id: str
    handle: str
    reading: Reading


class _Receipt(NamedTuple):
    """A message that a worker received, as the probe saw it."""

    sqs_id: str
    handle: str
    at_s: float
    back_in_s: float | None = None
    """It was given back at ``at_s``, to be out again so much later; None: it was not."""


class _Look(NamedTuple):
    ready: int
    unacked: int
    held: tuple[Held, ...]


class SQS:
    """Starts moto's server. Nothing here ever leads to AWS."""

    name = "sqs"

    def start(self, runtime: Runtime, folder: Path) -> Endpoint:
        server = parts.find("moto")
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        process = runtime.start(
            self.name,
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": str(folder),
                "AWS_EC2_METADATA_DISABLED": "true",
            },
            cwd=folder,
            log=folder / "sqs.log",
        )
        endpoint = Endpoint(
            host="127.0.0.1", port=port, pid=process.pid, version=f"moto {server.version}"
        )
        wait_for_server(process, port, lambda: _answer(endpoint), START_S, every_s=0.05)
        return endpoint

    def lease(self, endpoint: Endpoint, index: int) -> SQSLease:
        return SQSLease(endpoint, index)

    def hardened(self, longest_task_s: float) -> Settings:
        """Redeliver soon after a worker died, and not while a task may still run.

        Three times the longest task, because a prefetched message waits for one before its
        own turn.
        """
        return {
            "broker_transport_options": {"visibility_timeout": math.ceil(3 * longest_task_s + 1)}
        }


@functools.cache
def _client(host: str, port: int) -> SQSClient:
    """The process's one client of a server; making it costs about 0.5 s of CPU.

    Of the caller's AWS configuration nothing is read: no profile, no file, no proxy.
    """
    import boto3
    import botocore.session
    from botocore.config import Config

    nowhere = (None, None, os.devnull, None)
    session = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": nowhere,
            "credentials_file": nowhere,
        }
    )
    return boto3.Session(
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name=REGION,
        botocore_session=session,
    ).client(
        "sqs",
        endpoint_url=f"http://{host}:{port}",
        config=Config(
            proxies={},
            connect_timeout=_ANSWER_S,
            read_timeout=_ANSWER_S,
            retries={"total_max_attempts": 1},
        ),
    )


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except BotoCoreError as error:
        raise NoAnswerError(f"sqs does not answer: {error}") from error


def _answer(endpoint: Endpoint) -> bool:
    try:
        with _answering():
            _client(endpoint.host, endpoint.port).list_queues()
    except NoAnswerError as error:
        raise NotYetError(str(error)) from None
    return True


def _name(url: str) -> str:
    return url.rstrip("/").rsplit("/", 1)[-1]


def _chosen(options: Mapping[str, object], name: str) -> str:
    if options.get(name) is None:
        return "kombu's default"
    return f"broker_transport_options[{name!r}]"


def _taken(message: MessageTypeDef) -> _Taken:
    return _Taken(
        sqs_id=message.get("MessageId", ""),
        handle=message.get("ReceiptHandle", ""),
        reading=read_envelope(_plain(message.get("Body", ""))),
    )


def _plain(body: str) -> bytes:
    """Undo kombu's base64, which the transport option ``sqs_base64_encoding`` turns off."""
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        return body.encode()


def _receipts(received: Sequence[Event]) -> dict[str, list[_Receipt]]:
    """What the probe saw, by queue name; the latest receipt of a message stands last."""
    receipts: dict[str, list[_Receipt]] = {}
    latest: dict[MessageId, tuple[str, _Receipt]] = {}
    for event in received:
        if event.kind == "given_back":
            _note_given_back(receipts, latest.get(event.message), event)
            continue
        delivery = event.data.get("delivery_info")
        if not isinstance(delivery, Mapping):
            continue
        message = delivery.get("sqs_message")
        if isinstance(message, Mapping):
            # The URL that the worker used may lead through a proxy: only its name counts.
            queue = _name(str(delivery.get("sqs_queue", "")))
            receipt = _Receipt(str(message["MessageId"]), str(message["ReceiptHandle"]), event.at_s)
            receipts.setdefault(queue, []).append(receipt)
            latest[event.message] = queue, receipt
    return receipts


def _note_given_back(
    receipts: Mapping[str, list[_Receipt]], of: tuple[str, _Receipt] | None, event: Event
) -> None:
    back_in_s = event.data.get("back_in_s")
    if of is not None and isinstance(back_in_s, int | float):
        queue, receipt = of
        receipts[queue].append(receipt._replace(at_s=event.at_s, back_in_s=float(back_in_s)))


def _look(
    totals: _Totals,
    visible: Sequence[_Taken],
    in_flight: Sequence[_Taken],
    latest: Mapping[str, _Receipt],
) -> _Look:
    """Put together what one queue holds. What was found and does not count is taken off.

    ``totals`` are of after all that was received: only their sum is of use, for a message whose
    visibility timeout ends meanwhile is in flight at one moment and visible at the next. To count
    it as both would make one more of it, which nobody could name.
    """
    unseen = totals.visible + totals.in_flight - len(visible) - len(in_flight)
    uncounted = [sum(not taken.reading.counts for taken in found) for found in (visible, in_flight)]
    ready = [Held(*message, where="ready") for _, message in _named(visible)]
    unacked = [
        _in_flight(message, latest.get(sqs_id), totals.timeout_s)
        for sqs_id, message in _named(in_flight)
    ]
    return _Look(
        ready=len(visible) + totals.delayed - uncounted[0],
        unacked=len(in_flight) + max(0, unseen) - uncounted[1],
        held=(*ready, *unacked),
    )


def _in_flight(message: MessageId, latest: _Receipt | None, timeout_s: float) -> Held:
    if latest is None:
        return Held(*message, where="unacked", why="its visibility timeout ended just now")
    invisible_s = timeout_s if latest.back_in_s is None else latest.back_in_s
    back_at_s = latest.at_s + invisible_s
    if back_at_s < time.time():
        why = f"in flight for longer than its visibility timeout of {invisible_s:g} s: extended"
        return Held(*message, where="unacked", why=why)
    told = "visibility timeout {:g} s after it was received"
    if latest.back_in_s is not None:
        told = "given back by its worker, to be out again {:g} s later (wait_time_seconds)"
    return Held(
        *message,
        where="unacked",
        back_at_s=back_at_s,
        why=told.format(invisible_s),
        earliest_at_s=back_at_s,
    )


def _named(found: Sequence[_Taken]) -> Iterator[tuple[str, MessageId]]:
    for taken in found:
        if taken.reading.counts and taken.reading.message is not None:
            yield taken.sqs_id, taken.reading.message


BROKER = SQS()
