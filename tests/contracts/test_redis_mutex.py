"""Redis: a worker killed inside its restore pass keeps everybody from restoring.

kombu's pass takes the lock ``unacked_mutex``, which only expires, five minutes later by
default; whoever finds it taken gives up at once (``QoS.restore_visible``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis
from celery import Celery
from kombu.connection import Connection
from kombu.transport.redis import Mutex

from harness import brokers
from harness.model import Endpoint, Settings
from harness.protocols import Lease, Runtime
from harness.waiting import wait_until
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.slow

TIMEOUT_S = 1
EXPIRE_S = 60
LEFT_S = 40.0
"""What is left of the lock; it was taken for longer than a pass takes."""


@pytest.fixture(scope="module")
def endpoint(
    runtime: Runtime,
    server: Callable[[Callable[[], Endpoint]], Endpoint],
    tmp_path_factory: pytest.TempPathFactory,
) -> Endpoint:
    folder = tmp_path_factory.mktemp("redis")
    return server(lambda: brokers.load("redis").start(runtime, folder))


@pytest.fixture
def lease(endpoint: Endpoint) -> Iterator[Lease]:
    lease = brokers.load("redis").lease(endpoint, 0)
    yield lease
    lease.release()


LIVE: Settings = {
    "broker_transport_options": {
        "visibility_timeout": TIMEOUT_S,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": EXPIRE_S,
    }
}


def abandoned(lease: Lease) -> None:
    """One task message is taken by somebody who then goes away without a word."""
    app = Celery(broker=lease.url(lease.host, lease.port), set_as_current=False)
    with app.connection_for_write() as connection:
        app.send_task("work", task_id="a", connection=connection)
    taker = Connection(lease.url(lease.host, lease.port), transport_options=options())
    message = taker.default_channel.basic_get("celery")
    assert message.headers["id"] == "a"
    taker.default_channel.qos.restore_at_shutdown = False


def options() -> dict[str, object]:
    found = LIVE["broker_transport_options"]
    assert isinstance(found, dict)
    return dict(found)


def restore_pass(lease: Lease) -> None:
    """The real one, by another client."""
    with Connection(lease.url(lease.host, lease.port), transport_options=options()) as worker:
        worker.default_channel.qos.restore_visible(num=10, interval=1)


def overdue(lease: Lease) -> None:
    """The message may be given back from now on."""

    def visible() -> bool | None:
        (held,) = lease.view(LIVE).held
        return held.earliest_at_s is None or None

    wait_until(visible, PATIENCE_S, "the visibility timeout to pass")


@pytest.fixture
def client(endpoint: Endpoint) -> Iterator[redis.Redis]:
    with redis.Redis(endpoint.host, endpoint.port, 0, endpoint.password) as client:
        yield client


def test_a_mutex_left_behind_blocks_restoring(lease: Lease, client: redis.Redis) -> None:
    """R13: the real pass does nothing while the lock is there; the view says until when at the
    earliest and at the latest, and why; it is back with the first pass after that."""
    abandoned(lease)
    overdue(lease)
    client.set("unacked_mutex", "of a dead worker", px=int(LEFT_S * 1000))
    restore_pass(lease)
    view = lease.view(LIVE)
    left_s = client.pttl("unacked_mutex") / 1000
    (held,) = view.held
    assert (held.where, held.task_id) == ("unacked", "a")
    assert "left its lock unacked_mutex" in held.why
    assert held.earliest_at_s is not None
    assert held.back_at_s is not None
    # Summed as the view sums: the difference of two times of day is rounded otherwise.
    assert view.at_s + left_s <= held.earliest_at_s <= view.at_s + LEFT_S
    assert held.back_at_s == held.earliest_at_s + 1
    client.delete("unacked_mutex")
    restore_pass(lease)
    (held,) = lease.view(LIVE).held
    assert held.where == "ready"


def test_a_pass_that_is_going_on_blocks_nobody_for_long(lease: Lease, client: redis.Redis) -> None:
    """Its lock has just been taken: it may be let go in a moment, or, should its worker die now,
    only when it expires."""
    abandoned(lease)
    client.set("unacked_mutex", "of a living worker", ex=EXPIRE_S)
    view = lease.view(LIVE)
    (held,) = view.held
    assert "visibility timeout" in held.why
    assert held.earliest_at_s is None or held.earliest_at_s <= view.at_s + TIMEOUT_S
    assert held.back_at_s is not None
    left_s = client.pttl("unacked_mutex") / 1000
    assert view.at_s + left_s < held.back_at_s <= view.at_s + EXPIRE_S + 1


def test_a_lock_that_goes_before_the_timeout_is_no_matter(
    lease: Lease, client: redis.Redis
) -> None:
    """Half an hour to wait for the message, and seconds for the lock."""
    abandoned(lease)
    live = {"broker_transport_options": {**options(), "visibility_timeout": 1800}}
    client.set("unacked_mutex", "of a dead worker", px=5000)
    (held,) = lease.view(live).held
    assert "visibility timeout 1800 s" in held.why


def test_what_is_overdue_has_no_time_in_the_past(lease: Lease) -> None:
    """Nobody has restored it, for there is no worker; the view says so, and no negative time."""
    abandoned(lease)
    overdue(lease)

    def late() -> bool | None:
        (held,) = lease.view(LIVE).held
        return held.back_at_s is None or None

    wait_until(late, PATIENCE_S, "the time of the next pass to go by")
    (held,) = lease.view(LIVE).held
    assert (held.back_at_s, held.earliest_at_s) == (None, None)
    assert "no restore pass of a worker has found it yet" in held.why


def test_hardened_it_is_left_for_seconds(lease: Lease, client: redis.Redis) -> None:
    """The lock that kombu takes with the settings of that profile; its worker is gone."""
    live = brokers.load("redis").hardened(1.0)
    (line,) = [line for line in lease.horizon(live).derivation if "unacked_mutex" in line]
    assert "10 s after it was taken" in line
    asked = live["broker_transport_options"]
    with Connection(lease.url(lease.host, lease.port), transport_options=asked) as dying:
        channel = dying.default_channel
        lock = Mutex(channel.client, channel.unacked_mutex_key, channel.unacked_mutex_expire)
        lock.__enter__()
    assert client.pttl("unacked_mutex") <= 10_000


def test_the_horizon_names_it(lease: Lease) -> None:
    """With kombu's five minutes where the app says nothing else."""
    (line,) = [line for line in lease.horizon({}).derivation if "unacked_mutex" in line]
    assert "300 s after it was taken" in line
    (line,) = [line for line in lease.horizon(LIVE).derivation if "unacked_mutex" in line]
    assert f"{EXPIRE_S} s after it was taken" in line


def test_an_older_kombu_ignores_the_options(lease: Lease) -> None:
    """R14: before 5.7 the numbers of the restore pass are in the code, and the options for them
    do nothing. What counts is the kombu of the worker's own environment."""
    older = {"kombu": "5.3.7", "event_loop": True, "visibility_timeout": 3600}
    told: Settings = {**LIVE, "ackproof_transport": {**older, "unacked_mutex_expire": 300}}
    horizon = lease.horizon(told)
    assert horizon.seconds == TIMEOUT_S + 100
    assert "a constant in the code of kombu 5.3.7" in horizon.derivation[1]
    assert lease.horizon(LIVE).seconds == TIMEOUT_S + 1
