"""Redis or Valkey: lists of messages, and kombu's own record of what is unacknowledged.

One database a trial. A fetched message stands in the hash ``unacked`` and, with the time of
its fetch, in the sorted set ``unacked_index``. Nobody gives it back by itself: some worker's
restore pass does, once the visibility timeout is over.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness import parts
from harness.celery_terms import (
    Reading,
    number,
    read_envelope,
    transport_options,
    worker_transport,
)
from harness.model import BrokerView, Endpoint, Event, Held, Horizon, MessageId, Settings
from harness.protocols import Runtime
from harness.waiting import NoAnswerError, NotYetError, free_port, wait_for_server

if TYPE_CHECKING:
    import redis as client

DATABASES = 4096
"""Leases of one server. A database costs nothing until it is used (measured: 6 MB in all)."""
START_S = 15.0
_ANSWER_S = 5.0
_RESTORE_INTERVAL_S = 10.0
_RESTORE_THROTTLE = 10
"""kombu's constants before 5.7, which has them as class attributes and transport options."""
_VISIBILITY_TIMEOUT_S = 3600.0
_MUTEX_EXPIRE_S = 300.0
_MUTEX_EXPIRES_SOON_S = 10
"""As long as a restore pass may take on a busy machine, and a thousand times as long as one
takes on a quiet one; what is not given back before the lock has gone waits as long."""
_PASS_TAKES_S = 5.0
"""A restore lock that is older has nobody who will release it: a pass takes milliseconds."""
_POLL_S = 2.0
"""How long Celery's loop for pools without an event loop waits for something to come in."""

# Atomic, because a message moves from a list to `unacked` and back: a look at one after the
# other could miss it in both, and call it lost.
_EVERYTHING = """
local lists = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  if redis.call('TYPE', key).ok == 'list' then
    table.insert(lists, redis.call('LRANGE', key, 0, -1))
  end
end
local index = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
return {lists, redis.call('HGETALL', KEYS[1]), index, redis.call('PTTL', KEYS[3])}
"""


class _Redelivery(NamedTuple):
    """kombu's numbers for giving messages back, and where each comes from."""

    visibility_timeout_s: float
    restore_interval_s: float
    restore_throttle: float
    mutex_expire_s: float
    sources: tuple[str, str, str, str]
    event_loop: bool
    """Without one (gevent, eventlet) a pass hangs on polls at which nothing comes in. While a
    worker is idle there are none: its own BRPOP is answered every second."""

    @property
    def pass_s(self) -> float:
        """Longest time between two restore passes of a worker, if it makes them at all."""
        return (self.restore_interval_s if self.event_loop else _POLL_S) * self.restore_throttle

    @property
    def derivation(self) -> tuple[str, str, str]:
        timeout_from, interval_from, throttle_from, mutex_from = self.sources
        timeout = f"visibility timeout {self.visibility_timeout_s:g} s ({timeout_from})"
        restore = (
            f"restore pass every {self.restore_interval_s:g} s ({interval_from}), "
            f"of which one in {self.restore_throttle:g} scans ({throttle_from}): "
            f"{self.pass_s:g} s; and one scan at each worker's start"
        )
        if not self.event_loop:
            restore = (
                "no event loop, so an idle worker makes no restore pass: one makes it when nothing "
                f"comes for {self.restore_throttle:g} polls ({throttle_from}) of {_POLL_S:g} s, "
                f"{self.pass_s:g} s, as while its prefetch is used up, or perhaps at its start"
            )
        lock = (
            "not added: a worker killed inside a restore pass leaves its lock unacked_mutex "
            f"behind, and nobody restores anything until that expires, {self.mutex_expire_s:g} s "
            f"after it was taken ({mutex_from}); the broker's view tells when it is there"
        )
        return timeout, restore, lock


class _Lock(NamedTuple):
    """kombu's ``unacked_mutex``, at one moment. While it is there, no pass restores anything.

    Source: ``kombu.transport.redis.Mutex``, a lock that only expires
    (``unacked_mutex_expire``), and ``QoS.restore_visible``, which gives up where it is held.
    """

    left_s: float
    """Until it expires; 0: it is not there."""
    abandoned: bool
    """Whether it is too old for anybody to be in the middle of a pass."""


class RedisLease:
    """One database."""

    def __init__(self, endpoint: Endpoint, index: int) -> None:
        self.host = endpoint.host
        self.port = endpoint.port
        self._database = index
        self._password = endpoint.password
        self._client: client.Redis | None = None
        with _answering():
            self._connect().flushdb()

    def url(self, host: str, port: int) -> str:
        return f"redis://:{self._password}@{host}:{port}/{self._database}"

    def settings(self) -> Settings:
        return {}  # the database is in the URL

    def view(self, live: Settings) -> BrokerView:
        options = transport_options(live)
        prefix = str(options.get("global_keyprefix") or "")
        keys = [
            prefix + str(options.get("unacked_key") or "unacked"),
            prefix + str(options.get("unacked_index_key") or "unacked_index"),
            prefix + str(options.get("unacked_mutex_key") or "unacked_mutex"),
        ]
        with _answering():
            answer = self._connect().eval(_EVERYTHING, len(keys), *keys)
        lists, unacked, index, lock_left_ms = answer
        now_s = time.time()
        ready = _counted(raw for messages in lists for raw in messages)
        fetched_at_s = {tag: float(score) for tag, score in _pairs(index)}
        taken = [
            (reading, fetched_at_s.get(tag))
            for tag, raw in _pairs(unacked)
            for reading in _counted([_envelope(raw)])
        ]
        numbers = _redelivery(live)
        lock = _lock(numbers, lock_left_ms / 1000)
        held = [Held(*reading.message, where="ready") for reading in ready if reading.message]
        held += [
            _held_back(reading.message, fetched_s, numbers, lock, now_s)
            for reading, fetched_s in taken
            if reading.message
        ]
        return BrokerView(
            at_s=now_s,
            ready=len(ready),
            unacked=len(taken),
            held=tuple(held),
            named=len(held) == len(ready) + len(taken),
        )

    def name_held(self, live: Settings, received: Sequence[Event]) -> BrokerView:
        del received  # `view` names everything: Redis shows all that it holds
        return self.view(live)

    def horizon(self, live: Settings) -> Horizon:
        if transport_options(live).get("ack_emulation") is False:
            return Horizon(0.0, ("ack_emulation is off: what was fetched never comes back",))
        numbers = _redelivery(live)
        timeout_s = numbers.visibility_timeout_s
        return Horizon(timeout_s + numbers.pass_s, numbers.derivation, timeout_s)

    def release(self) -> None:
        if self._client is None:
            return
        # When its server is gone, what it held is gone too: it persists nothing.
        with contextlib.suppress(NoAnswerError), _answering():
            self._client.flushdb()
        self._client.close()
        self._client = None

    def _connect(self) -> client.Redis:
        if self._client is None:
            self._client = _client(self.host, self.port, self._password, self._database)
        return self._client


class Redis:
    """Starts ``redis-server`` or ``valkey-server``, without persistence."""

    name = "redis"

    def start(self, runtime: Runtime, folder: Path) -> Endpoint:
        server = parts.find("redis-server")
        folder.mkdir(parents=True, exist_ok=True)
        port, password = free_port(), secrets.token_hex(16)
        process = runtime.start(
            self.name,
            [server.path, str(_configuration(port, password, folder))],
            env={"PATH": os.environ.get("PATH", os.defpath)},
            cwd=folder,
            log=folder / "redis.log",
        )
        endpoint = Endpoint(
            host="127.0.0.1",
            port=port,
            pid=process.pid,
            version=server.version,
            password=password,
        )
        wait_for_server(process, port, lambda: _answer(endpoint), START_S)
        return endpoint

    def lease(self, endpoint: Endpoint, index: int) -> RedisLease:
        return RedisLease(endpoint, index)

    def hardened(self, longest_task_s: float) -> Settings:
        """Redeliver soon after a worker died, and not while a task may still run.

        Three times the longest task, because a prefetched message waits for one before its
        own turn.
        """
        return {"broker_transport_options": restored_after(math.ceil(3 * longest_task_s + 1))}


def restored_after(visibility_timeout_s: float, every_s: float = 1) -> dict[str, object]:
    """``broker_transport_options`` with which what a dead worker held comes back soon: a restore
    pass every so many seconds, which a kombu before 5.7 does not heed. And a worker that was killed
    in the middle of one keeps the others from theirs for seconds, not for kombu's five minutes.
    """
    return {
        "visibility_timeout": visibility_timeout_s,
        "unacked_restore_interval": every_s,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": _MUTEX_EXPIRES_SOON_S,
    }


def _configuration(port: int, password: str, folder: Path) -> Path:
    """In a file of this user's own: everybody may read the words of a command."""
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "requirepass": password,
        "databases": str(DATABASES),
        "dir": f'"{folder}"',
        "save": '""',
        "appendonly": "no",
        "daemonize": "no",
        "loglevel": "notice",
    }
    path = folder / "redis.conf"
    path.touch(mode=0o600)
    path.write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    return path


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    import redis as client

    try:
        yield
    except (client.ConnectionError, client.TimeoutError) as error:
        raise NoAnswerError(f"redis does not answer: {error}") from error


def _client(host: str, port: int, password: str, database: int) -> client.Redis:
    import redis as client
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return client.Redis(
        host=host,
        port=port,
        password=password,
        db=database,
        socket_timeout=_ANSWER_S,
        socket_connect_timeout=_ANSWER_S,
        # By default it tries for seconds to reach a server that is gone.
        retry=Retry(NoBackoff(), 0),
    )


def _answer(endpoint: Endpoint) -> bool:
    try:
        with (
            _client(endpoint.host, endpoint.port, endpoint.password, 0) as connection,
            _answering(),
        ):
            return bool(connection.ping())
    except NoAnswerError as error:
        raise NotYetError(str(error)) from None


def _counted(messages: Iterable[bytes]) -> list[Reading]:
    return [reading for raw in messages if (reading := read_envelope(raw)).counts]


def _envelope(raw: bytes) -> bytes:
    """The message in a value of ``unacked``, which is ``[message, exchange, routing key]``."""
    try:
        return json.dumps(json.loads(raw)[0]).encode()
    except (ValueError, LookupError, TypeError):
        return b""


def _lock(numbers: _Redelivery, left_s: float) -> _Lock:
    """From its time to live, which Redis gives as negative where there is no lock."""
    held_for_s = numbers.mutex_expire_s - left_s
    return _Lock(max(left_s, 0.0), abandoned=left_s > 0 and held_for_s > _PASS_TAKES_S)


def _held_back(
    message: MessageId, fetched_at_s: float | None, numbers: _Redelivery, lock: _Lock, now_s: float
) -> Held:
    """When a fetched message is restored: not before its time and not while the lock is there,
    and then with the next pass of a worker. No time that has passed is given."""
    if fetched_at_s is None:
        why = "it is not in unacked_index, so no restore pass will find it"
        return Held(*message, where="unacked", why=why)
    visible_at_s = fetched_at_s + numbers.visibility_timeout_s
    free_at_s = now_s + lock.left_s if lock.left_s else -math.inf
    earliest_s = max(visible_at_s, free_at_s) if lock.abandoned else visible_at_s
    latest_s = max(visible_at_s, free_at_s) + numbers.pass_s
    if lock.abandoned and free_at_s > visible_at_s:
        why = (
            "a worker died inside its restore pass and left its lock unacked_mutex, "
            f"which keeps everybody from restoring for another {lock.left_s:.0f} s"
        )
    elif not numbers.event_loop:
        why = "without an event loop an idle worker restores nothing: nobody says when it is back"
    elif latest_s < now_s:
        why = (
            f"its visibility timeout of {numbers.visibility_timeout_s:g} s is over, "
            "and no restore pass of a worker has found it yet"
        )
    else:
        why = (
            f"visibility timeout {numbers.visibility_timeout_s:g} s after its fetch, "
            f"then the next restore pass of a worker, within {numbers.pass_s:g} s"
        )
    return Held(
        *message,
        where="unacked",
        back_at_s=latest_s if latest_s >= now_s and numbers.event_loop else None,
        why=why,
        earliest_at_s=earliest_s if earliest_s >= now_s else None,
    )


def _pairs(flat: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _redelivery(live: Settings) -> _Redelivery:
    """Derive kombu's numbers from the live options, else from the kombu that runs.

    Source: ``kombu.transport.redis``: ``QoS.restore_visible``,
    ``Transport.register_with_event_loop``, ``MultiChannelPoller.get``.
    """
    options, kombu = transport_options(live), _kombu(live)

    def term(name: str, in_the_code: float, least: float) -> tuple[float, str]:
        if kombu.get(name) is None:
            return in_the_code, f"a constant in the code of kombu {kombu.get('kombu')}"
        default = number(kombu[name], in_the_code)
        if options.get(name) is None:
            return default, f"Channel.{name} of kombu {kombu.get('kombu')}"
        chosen = number(options[name], default)
        return chosen if chosen > 0 else least, f"broker_transport_options[{name!r}]"

    timeout_s, timeout_from = term("visibility_timeout", _VISIBILITY_TIMEOUT_S, 0.0)
    interval_s, interval_from = term(
        "unacked_restore_interval", _RESTORE_INTERVAL_S, _RESTORE_INTERVAL_S
    )
    throttle, throttle_from = term("unacked_restore_throttle", _RESTORE_THROTTLE, 1.0)
    mutex_s, mutex_from = term("unacked_mutex_expire", _MUTEX_EXPIRE_S, _MUTEX_EXPIRE_S)
    return _Redelivery(
        timeout_s,
        interval_s,
        throttle,
        mutex_s,
        (timeout_from, interval_from, throttle_from, mutex_from),
        event_loop=kombu.get("event_loop") is not False,
    )


def _kombu(live: Settings) -> Mapping[str, object]:
    """The kombu that restores: the worker's own; ours, where no worker has told of its."""
    if told := worker_transport(live):
        return told
    from kombu import __version__
    from kombu.transport.redis import Channel

    names = ("visibility_timeout", "unacked_restore_interval", "unacked_restore_throttle")
    return {"kombu": f"{__version__}, the harness's own"} | {
        name: getattr(Channel, name)
        for name in (*names, "unacked_mutex_expire")
        if hasattr(Channel, name)
    }


BROKER = Redis()
