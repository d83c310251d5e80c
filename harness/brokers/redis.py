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
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness import parts
from harness.celery_terms import Reading, number, read_envelope, transport_options
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

# Atomic, because a message moves from a list to `unacked` and back: a look at one after the
# other could miss it in both, and call it lost.
_EVERYTHING = """
local lists = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  if redis.call('TYPE', key).ok == 'list' then
    table.insert(lists, redis.call('LRANGE', key, 0, -1))
  end
end
return {lists, redis.call('HGETALL', KEYS[1]), redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')}
"""


class _Redelivery(NamedTuple):
    """kombu's numbers for giving messages back, and where each comes from."""

    visibility_timeout_s: float
    restore_interval_s: float
    restore_throttle: float
    sources: tuple[str, str, str]

    @property
    def pass_s(self) -> float:
        """Longest time between two restore passes of a worker."""
        return self.restore_interval_s * self.restore_throttle


class RedisLease:
    """One database."""

    def __init__(self, endpoint: Endpoint, index: int) -> None:
        self.host = endpoint.host
        self.port = endpoint.port
        self._database = index
        self._client: client.Redis | None = None
        with _answering():
            self._connect().flushdb()

    def url(self, host: str, port: int) -> str:
        return f"redis://{host}:{port}/{self._database}"

    def settings(self) -> Settings:
        return {}  # the database is in the URL

    def view(self, live: Settings) -> BrokerView:
        options = transport_options(live)
        prefix = str(options.get("global_keyprefix") or "")
        keys = [
            prefix + str(options.get("unacked_key") or "unacked"),
            prefix + str(options.get("unacked_index_key") or "unacked_index"),
        ]
        with _answering():
            lists, unacked, index = self._connect().eval(_EVERYTHING, len(keys), *keys)
        ready = _counted(raw for messages in lists for raw in messages)
        fetched_at_s = {tag: float(score) for tag, score in _pairs(index)}
        taken = [
            (reading, fetched_at_s.get(tag))
            for tag, raw in _pairs(unacked)
            for reading in _counted([_envelope(raw)])
        ]
        numbers = _redelivery(live)
        held = [Held(*reading.message, where="ready") for reading in ready if reading.message]
        held += [
            _held_back(reading.message, fetched_s, numbers)
            for reading, fetched_s in taken
            if reading.message
        ]
        return BrokerView(
            at_s=time.time(),
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
        timeout = f"visibility timeout {numbers.visibility_timeout_s:g} s ({numbers.sources[0]})"
        restore = (
            f"restore pass every {numbers.restore_interval_s:g} s ({numbers.sources[1]}), "
            f"of which one in {numbers.restore_throttle:g} scans ({numbers.sources[2]}): "
            f"{numbers.pass_s:g} s; and one scan at each worker's start"
        )
        return Horizon(numbers.visibility_timeout_s + numbers.pass_s, (timeout, restore))

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
            self._client = _client(self.host, self.port, self._database)
        return self._client


class Redis:
    """Starts ``redis-server`` or ``valkey-server``, without persistence."""

    name = "redis"

    def start(self, runtime: Runtime, folder: Path) -> Endpoint:
        server = parts.find("redis-server")
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        process = runtime.start(
            self.name,
            _command(server.path, port, folder),
            env={"PATH": os.environ.get("PATH", os.defpath)},
            cwd=folder,
            log=folder / "redis.log",
        )
        endpoint = Endpoint(host="127.0.0.1", port=port, pid=process.pid, version=server.version)
        wait_for_server(process, port, lambda: _answer(endpoint), START_S)
        return endpoint

    def lease(self, endpoint: Endpoint, index: int) -> RedisLease:
        return RedisLease(endpoint, index)

    def hardened(self, longest_task_s: float) -> Settings:
        """Redeliver soon after a worker died, and not while a task may still run.

        Three times the longest task, because a prefetched message waits for one before its
        own turn; the restore pass every second, where the installed kombu lets us.
        """
        options: dict[str, object] = {"visibility_timeout": math.ceil(3 * longest_task_s + 1)}
        if hasattr(_kombu_channel(), "unacked_restore_interval"):
            options |= {"unacked_restore_interval": 1, "unacked_restore_throttle": 1}
        return {"broker_transport_options": options}


def _command(binary: str, port: int, folder: Path) -> list[str]:
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "databases": str(DATABASES),
        "dir": str(folder),
        "save": "",
        "appendonly": "no",
        "daemonize": "no",
        "loglevel": "notice",
    }
    return [binary, *(word for name, value in options.items() for word in (f"--{name}", value))]


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    import redis as client

    try:
        yield
    except (client.ConnectionError, client.TimeoutError) as error:
        raise NoAnswerError(f"redis does not answer: {error}") from error


def _client(host: str, port: int, database: int) -> client.Redis:
    import redis as client
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return client.Redis(
        host=host,
        port=port,
        db=database,
        socket_timeout=_ANSWER_S,
        socket_connect_timeout=_ANSWER_S,
        # By default it tries for seconds to reach a server that is gone.
        retry=Retry(NoBackoff(), 0),
    )


def _answer(endpoint: Endpoint) -> bool:
    try:
        with _client(endpoint.host, endpoint.port, 0) as connection, _answering():
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


def _held_back(message: MessageId, fetched_at_s: float | None, numbers: _Redelivery) -> Held:
    if fetched_at_s is None:
        why = "it is not in unacked_index, so no restore pass will find it"
        return Held(*message, where="unacked", why=why)
    return Held(
        *message,
        where="unacked",
        back_at_s=fetched_at_s + numbers.visibility_timeout_s + numbers.pass_s,
        why=f"visibility timeout {numbers.visibility_timeout_s:g} s after its fetch, "
        f"then the next restore pass of a worker, within {numbers.pass_s:g} s",
    )


def _pairs(flat: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _redelivery(live: Settings) -> _Redelivery:
    """Derive kombu's numbers from the live options, else from the installed kombu.

    Source: ``kombu.transport.redis``: ``QoS.restore_visible``,
    ``Transport.register_with_event_loop``.
    """
    options = transport_options(live)
    channel = _kombu_channel()

    def term(name: str, before_5_7: float, in_place_of_0: float) -> tuple[float, str]:
        default = getattr(channel, name, None)
        if default is None:
            return before_5_7, "a constant in the code of this kombu"
        if options.get(name) is None:
            return float(default), f"kombu's Channel.{name}"
        chosen = number(options[name], float(default))
        return chosen or in_place_of_0, f"broker_transport_options[{name!r}]"

    timeout_s, timeout_from = term("visibility_timeout", 3600.0, 0.0)
    interval_s, interval_from = term(
        "unacked_restore_interval", _RESTORE_INTERVAL_S, _RESTORE_INTERVAL_S
    )
    throttle, throttle_from = term("unacked_restore_throttle", _RESTORE_THROTTLE, 1.0)
    return _Redelivery(
        timeout_s, interval_s, throttle, (timeout_from, interval_from, throttle_from)
    )


def _kombu_channel() -> type:
    from kombu.transport.redis import Channel

    return Channel


BROKER = Redis()
