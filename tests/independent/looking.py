"""An own look at each broker, with a client of the test's own, before the trial gives it back.

Nothing is acknowledged, deleted or counted by the broker here: every message is read, and names
itself by the headers that Celery gave it.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import boto3
import pika
import pika.exceptions
import redis
from botocore.config import Config

from tests.independent.books import Message

QUEUE = "celery"
TASK = "witness.work"
NOT_FOUND = 404
HIDDEN_S = 100
RETURNS_WITHIN_S = 30.0
"""The witness's trials have visibility timeouts of a few seconds."""

Settings = Mapping[str, object]


def look(broker: str, url: str, settings: Settings) -> set[Message]:
    """The messages of the witness that the broker at ``url`` holds."""
    look_into: dict[str, Callable[[str, Settings], set[Message]]] = {
        "redis": _redis,
        "rabbitmq": _rabbitmq,
        "sqs": _sqs,
    }
    return look_into[broker](url, settings)


def _named(headers: Mapping[str, object]) -> set[Message]:
    if headers.get("task") != TASK:
        return set()
    return {(str(headers["id"]), int(str(headers["retries"])))}


def _redis(url: str, _: Settings) -> set[Message]:
    """The list that is the queue, and kombu's hash of what was taken from it."""
    found: set[Message] = set()
    with redis.Redis.from_url(url) as client:
        for raw in client.lrange(QUEUE, 0, -1):
            found |= _named(json.loads(raw)["headers"])
        for raw in client.hgetall("unacked").values():
            found |= _named(json.loads(raw)[0]["headers"])
    return found


def _rabbitmq(url: str, _: Settings) -> set[Message]:
    """Take everything, and go away: it is all put back."""
    found: set[Message] = set()
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        while True:
            try:
                method, properties, _body = channel.basic_get(QUEUE)
            except pika.exceptions.ChannelClosedByBroker as error:
                if error.reply_code != NOT_FOUND:
                    raise
                return found  # no worker came so far as to declare it
            if method is None or properties is None:
                return found
            found |= _named(properties.headers or {})


def _sqs(url: str, settings: Settings) -> set[Message]:
    """Receive until all that was in flight has come back, and was received too."""
    at = urlsplit(url)
    options = settings["broker_transport_options"]
    assert isinstance(options, Mapping)
    client = boto3.session.Session(
        aws_access_key_id="witness", aws_secret_access_key="witness", region_name="us-east-1"
    ).client(
        "sqs",
        endpoint_url=f"http://{at.hostname}:{at.port}",
        config=Config(proxies={}, retries={"total_max_attempts": 1}),
    )
    name = f"{options['queue_name_prefix']}{QUEUE}"
    try:
        queue = client.get_queue_url(QueueName=name)["QueueUrl"]
    except client.exceptions.QueueDoesNotExist:  # no worker came so far as to declare it
        return set()
    taken = 0
    found: set[Message] = set()
    deadline_s = time.monotonic() + RETURNS_WITHIN_S
    while True:
        answer = client.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=HIDDEN_S
        )
        for message in answer.get("Messages", []):
            taken += 1
            body = json.loads(base64.b64decode(message["Body"]))
            found |= _named(body["headers"])
        told = client.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        left = int(told["ApproximateNumberOfMessages"])
        if not left and int(told["ApproximateNumberOfMessagesNotVisible"]) == taken:
            return found
        assert time.monotonic() < deadline_s, f"SQS still holds messages that nobody sees: {told}"
        time.sleep(0.1)
