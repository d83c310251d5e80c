"""What every broker owes the engine, shown on its real server.

The brokers are found by walking ``harness/brokers/``: a new one is tested as it stands.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import psutil
import pytest
from celery import Celery
from kombu.connection import Connection

from harness import brokers
from harness.model import MARKER_TASK, Endpoint, Event, MessageId, Settings, StartError, UsageError
from harness.protocols import Broker, Lease, Process, Runtime
from harness.runtimes import toxiproxy
from harness.runtimes.local import LocalProcess
from harness.waiting import NoAnswerError, NotYetError, wait_until
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.slow

LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}

# Takes messages as a worker does, writes down what it got, and never acknowledges.
CONSUMER = """
import json, sys, time
from celery import Celery

url, settings, count, out = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
app = Celery(broker=url)
app.conf.update(settings)
taken = []

def take(message):
    taken.append({
        "task_id": message.headers["id"],
        "at_s": time.time(),
        "delivery_info": json.loads(json.dumps(message.delivery_info, default=str)),
    })

with app.connection_for_read() as connection:
    channel = connection.channel()
    consumer = app.amqp.TaskConsumer(channel, on_message=take)
    consumer.qos(prefetch_count=count)
    consumer.consume()
    while len(taken) < count:
        connection.drain_events(timeout=60)
    with open(out + ".part", "w") as stream:
        json.dump(taken, stream)
    import os
    os.rename(out + ".part", out)
    time.sleep(60)
"""


class Recording(Runtime, Protocol):
    """The runtime of ``conftest.py``: it remembers what it started."""

    started: list[LocalProcess]


class Running(NamedTuple):
    """A broker and its server."""

    broker: Broker
    endpoint: Endpoint
    folder: Path


@pytest.fixture(scope="module", params=brokers.names())
def running(
    request: pytest.FixtureRequest,
    runtime: Runtime,
    server: Callable[[Callable[[], Endpoint]], Endpoint],
    tmp_path_factory: pytest.TempPathFactory,
) -> Running:
    broker = brokers.load(request.param)
    # A long folder with a space, as a user's own may be.
    folder = tmp_path_factory.mktemp(f"{broker.name} in a folder with a {'long ' * 12}name")
    return Running(broker, server(lambda: broker.start(runtime, folder)), folder)


@pytest.fixture
def lease(running: Running) -> Iterator[Lease]:
    lease = running.broker.lease(running.endpoint, 0)
    try:
        yield lease
    finally:
        lease.release()


class Client:
    """Publishes to a lease as a producer does, and lets another process take messages."""

    def __init__(self, lease: Lease, runtime: Runtime, folder: Path) -> None:
        self.lease = lease
        self.runtime = runtime
        self.folder = folder

    def publish(self, count: int, *, task: str = "work", **options: object) -> set[MessageId]:
        app = Celery(broker=self.lease.url(self.lease.host, self.lease.port), set_as_current=False)
        app.conf.update(self.lease.settings())
        app.conf.task_protocol = options.pop("protocol", 2)
        app.conf.broker_transport_options = {
            **app.conf.broker_transport_options,
            "confirm_publish": True,  # what was published is in its queue when we look
        }
        with app.connection_for_write() as connection:
            sent = [
                app.send_task(task, ("x" * 1000,), connection=connection, **options)
                for _ in range(count)
            ]
        retries = options.get("retries", 0)
        assert isinstance(retries, int)
        return {MessageId(result.id, retries) for result in sent}

    def take(self, count: int, *, url: str = "") -> tuple[Process, list[Event]]:
        """Start a consumer that holds ``count`` messages; returns it and what it received."""
        out = self.folder / "taken.json"
        process = self.runtime.start(
            "consumer",
            [
                sys.executable,
                "-c",
                CONSUMER,
                url or self.lease.url(self.lease.host, self.lease.port),
                json.dumps(dict(self.lease.settings())),
                str(count),
                str(out),
            ],
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
            cwd=self.folder,
            log=self.folder / "consumer.log",
        )
        wait_until(lambda: out.exists() or None, PATIENCE_S, "the consumer to hold its messages")
        taken = json.loads(out.read_text())
        return process, [
            Event(
                kind="received",
                at_s=message["at_s"],
                mono_s=time.monotonic(),
                pid=process.pid,
                role="worker-1",
                task_id=message["task_id"],
                data={"delivery_info": message["delivery_info"]},
            )
            for message in taken
        ]

    def live(self) -> Settings:
        return self.lease.settings()


@pytest.fixture
def client(lease: Lease, runtime: Runtime, tmp_path: Path) -> Client:
    return Client(lease, runtime, tmp_path)


def test_names_are_the_files() -> None:
    """A broker is one file: no list names them."""
    assert brokers.names() == ["rabbitmq", "redis", "sqs"]


def test_an_unknown_name_gets_the_near_ones() -> None:
    """A typing error costs the user one line."""
    with pytest.raises(UsageError, match="Did you mean rabbitmq"):
        brokers.load("rabitmq")


def test_listens_on_loopback_only(running: Running) -> None:
    """Nobody outside this machine reaches a server of ours, by any of its ports."""
    leader = psutil.Process(running.endpoint.pid)
    listening = {
        connection.laddr.ip
        for process in [leader, *leader.children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening
    assert listening <= LOOPBACK
    assert running.endpoint.host == "127.0.0.1"
    assert running.endpoint.version


def test_an_unused_lease_holds_nothing(lease: Lease) -> None:
    """The baseline of every count: zero, and all of it named."""
    view = lease.view({})
    assert (view.ready, view.unacked, view.named) == (0, 0, True)


def test_ready_messages_are_counted(client: Client) -> None:
    """Published messages are ready, and nobody holds them."""
    client.publish(3)
    view = client.lease.view(client.live())
    assert (view.ready, view.unacked) == (3, 0)


def test_leases_do_not_see_each_other(running: Running, client: Client) -> None:
    """A trial's messages are its own: one trial cannot be judged by another's."""
    neighbour = running.broker.lease(running.endpoint, 10)
    try:
        client.publish(2)
        assert neighbour.view({}).total == 0
        # The index 1 is the start of the index 10: a prefix must not match both.
        running.broker.lease(running.endpoint, 1).release()
        assert client.lease.view(client.live()).total == 2
    finally:
        neighbour.release()


def test_taken_messages_are_unacknowledged_until_named(client: Client) -> None:
    """Every message that a killed consumer held is still held, and gets its name."""
    sent = client.publish(3) | client.publish(2, retries=4)
    consumer, received = client.take(2)
    view = client.lease.view(client.live())
    assert (view.ready, view.unacked) == (3, 2)

    consumer.signal_group(signal.SIGKILL)
    wait_until(consumer.poll, PATIENCE_S, "the consumer to end")
    # By itself it waits for its broker to notice that the consumer is gone.
    view = client.lease.name_held(client.live(), received)

    assert view.named
    assert {MessageId(held.task_id, held.retries) for held in view.held} == sent
    assert view.total == 5
    unacked = {held.task_id for held in view.held if held.where == "unacked"}
    assert unacked in (set(), {event.task_id for event in received})
    assert all(
        held.back_at_s and held.back_at_s > time.time() and held.why
        for held in view.held
        if held.where == "unacked"
    )


def test_naming_takes_nothing_away(client: Client) -> None:
    """A look at the broker is no fault: what it held, it holds."""
    sent = client.publish(12)
    for _ in range(2):
        view = client.lease.name_held(client.live(), ())
        assert {MessageId(held.task_id, held.retries) for held in view.held} == sent
        assert view.named
    assert client.lease.view(client.live()).ready == 12


def test_protocol_1_has_names_too(client: Client) -> None:
    """Celery 3's messages carry their id in the body; some deployments still send them."""
    sent = client.publish(1, protocol=1)
    view = client.lease.name_held(client.live(), ())
    assert {MessageId(held.task_id, held.retries) for held in view.held} == sent
    assert view.named


def test_the_marker_is_not_counted(client: Client) -> None:
    """The baseline's own task is no message of the trial."""
    client.publish(1, task=MARKER_TASK)
    view = client.lease.name_held(client.live(), ())
    assert (view.total, view.held, view.named) == (0, (), True)


def test_release_leaves_nothing(running: Running, client: Client) -> None:
    """The next trial with this index starts from nothing, and releasing twice is harmless."""
    client.publish(2)
    client.lease.release()
    client.lease.release()
    again = running.broker.lease(running.endpoint, 0)
    assert again.view({}).total == 0
    again.release()


def test_the_horizon_says_where_it_comes_from(lease: Lease) -> None:
    """A verdict that waits must tell how long, and why."""
    horizon = lease.horizon({})
    assert horizon.seconds > 0
    assert len(horizon.derivation) >= 2
    assert all(line.strip() for line in horizon.derivation)


def test_hardened_settings_do_not_lengthen_the_horizon(running: Running, lease: Lease) -> None:
    """The hardened profile redelivers no later than the broker's defaults do."""
    hardened = running.broker.hardened(2.0)
    assert lease.horizon(hardened).seconds <= lease.horizon({}).seconds
    json.dumps(dict(hardened))


def test_everything_goes_through_the_link(
    client: Client, toxiproxy_server: Endpoint, running: Running
) -> None:
    """A worker that is given a link's address sends and receives over the link alone.

    Even one whose broker hands out addresses of its own, as SQS does with queue URLs.
    """
    lease = client.lease
    link = toxiproxy.create(toxiproxy_server, running.broker.name, lease.host, lease.port)
    try:
        client.publish(4)
        before = link.counters()
        consumer, received = client.take(4, url=lease.url(link.host, link.port))

        def came_through() -> bool | None:
            # What the consumer has got is counted when its kernel acknowledges it.
            now = link.counters()
            if now["sent_downstream"] - before["sent_downstream"] <= 4 * 1000:
                raise NotYetError(str(now))
            return now["received_upstream"] > before["received_upstream"]

        assert wait_until(came_through, PATIENCE_S, "four messages to be acknowledged")
        consumer.stop()
    finally:
        link.destroy()
    for event in received:
        info = event.data["delivery_info"]
        assert isinstance(info, dict)
        assert f":{lease.port}/" not in str(info.get("sqs_queue", ""))


def test_of_the_callers_environment_nothing_is_obeyed(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No variable leads an inspection elsewhere: to AWS, through a proxy, to a profile."""
    for name, value in {
        "AWS_PROFILE": "production",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    # By its other name the server is a new one to whatever keeps a client for each.
    endpoint = Endpoint(
        host="localhost",
        port=running.endpoint.port,
        pid=running.endpoint.pid,
        version="",
        extra=running.endpoint.extra,
        password=running.endpoint.password,
    )
    lease = running.broker.lease(endpoint, 3)
    assert lease.view({}).total == 0
    lease.release()


def test_who_has_not_the_runs_password_is_refused(running: Running, lease: Lease) -> None:
    """Another user of this machine can reach the port, and no more. moto asks for no password:
    SECURITY.md says so."""
    url = lease.url(lease.host, lease.port)
    password = running.endpoint.password
    if not password:
        assert running.broker.name == "sqs"
        return
    files = [path for path in running.folder.rglob("*") if path.is_file()]
    telling = [path for path in files if password in path.read_bytes().decode(errors="replace")]
    assert telling
    assert all(path.stat().st_mode & 0o077 == 0 for path in telling), telling
    for wrong in ("wrong", ""):
        with Connection(url.replace(password, wrong)) as connection:
            with pytest.raises(Exception, match=r"(?i)auth|access|invalid") as refused:
                connection.ensure_connection(max_retries=1, interval_start=0)
            assert password not in str(refused.value)


def test_a_port_taken_is_one_line(
    running: Running, runtime: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails with its reason, keeps nothing running, and takes no stranger for its own."""
    module = type(running.broker).__module__
    monkeypatch.setattr(f"{module}.free_port", lambda: running.endpoint.port)
    with pytest.raises(StartError) as failure:
        running.broker.start(runtime, tmp_path / "taken")
    assert "\n" not in str(failure.value)
    assert runtime.started[-1].poll() is not None


def test_a_dead_server_is_an_error_and_its_lease_is_released(
    running: Running, runtime: Recording
) -> None:
    """A trial whose broker died by itself can say so. Stands last: it ends the server."""
    lease = running.broker.lease(running.endpoint, 5)
    [server] = [process for process in runtime.started if process.pid == running.endpoint.pid]
    server.signal_group(signal.SIGKILL)
    wait_until(server.poll, PATIENCE_S, "the server to end")
    with pytest.raises(NoAnswerError, match=running.broker.name):
        lease.view({})
    with pytest.raises(NoAnswerError):
        lease.name_held({}, ())
    lease.release()
