"""What Toxiproxy really does to a connection: the facts that the network faults stand on."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from harness.model import Endpoint
from harness.runtimes import toxiproxy
from harness.runtimes.toxiproxy import LinkError, ProxyLink
from harness.waiting import NotYetError, wait_until
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.slow

SILENCE_S = 0.2
"""Time for something to come by that must not; no test waits for anything by it."""
TCP_ESTABLISHED = 1
HOUR_MS = 3_600_000


class Ends(NamedTuple):
    """One connection through the link: the worker's end and the broker's."""

    worker: socket.socket
    broker: socket.socket


class Upstream:
    """A listening socket in the broker's place, and a link that leads to it."""

    def __init__(self, server: Endpoint, name: str) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE_S)
        self.link = toxiproxy.create(server, name, *self.listener.getsockname())
        self.open: list[socket.socket] = []

    def connect(self) -> Ends:
        worker = socket.create_connection((self.link.host, self.link.port), timeout=PATIENCE_S)
        broker, _ = self.listener.accept()
        broker.settimeout(PATIENCE_S)
        self.open += [worker, broker]
        return Ends(worker, broker)

    def connect_through(self) -> Ends:
        """A connection on which bytes went both ways. Only then have both of Toxiproxy's links
        started: a toxic that is there before prepares the connection for an RST."""
        ends = self.connect()
        for speaker, hearer in ((ends.worker, ends.broker), (ends.broker, ends.worker)):
            speaker.sendall(b"hello")
            assert read(hearer, 5) == b"hello"
        return ends

    def close(self) -> None:
        for end in (*self.open, self.listener):
            end.close()
        self.link.destroy()


@pytest.fixture
def upstream(toxiproxy_server: Endpoint, request: pytest.FixtureRequest) -> Iterator[Upstream]:
    upstream = Upstream(toxiproxy_server, request.node.name)
    try:
        yield upstream
    finally:
        upstream.close()


def read(end: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        chunk = end.recv(count - len(got))
        if not chunk:
            break
        got += chunk
    return got


def fate(end: socket.socket) -> str:
    """What the next read sees: ``data``, ``closed`` (FIN) or ``reset`` (RST)."""
    try:
        return "data" if end.recv(1) else "closed"
    except ConnectionResetError:
        return "reset"


def hears_nothing(end: socket.socket) -> bool:
    """Whether the kernel has neither a byte nor the end of the connection for it."""
    time.sleep(SILENCE_S)
    (waiting,) = struct.unpack("i", fcntl.ioctl(end, termios.FIONREAD, b"\0" * 4))
    return waiting == 0 and end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO) == TCP_ESTABLISHED


def comes_to(link: ProxyLink, counter: str, count: int) -> None:
    """The counter comes to this number. Who sends is told of it by an acknowledgement, which
    the kernel may delay."""

    def there() -> bool | None:
        seen = link.counters()[counter]
        if seen != count:
            raise NotYetError(f"{seen} of {count}")
        return True

    wait_until(there, PATIENCE_S, counter)


def stall(link: ProxyLink) -> None:
    for stream in ("upstream", "downstream"):
        link.add("latency", stream, latency=float(HOUR_MS))


def reset(link: ProxyLink) -> None:
    for stream in ("upstream", "downstream"):
        link.add("reset_peer", stream, timeout=0)


def test_a_stall_lets_go_on_the_same_connection(upstream: Upstream) -> None:
    """What a latency toxic held back arrives in order when it is removed: nothing is lost."""
    ends = upstream.connect_through()
    stall(upstream.link)
    ends.worker.sendall(b"one ")
    ends.worker.sendall(b"two")
    ends.broker.sendall(b"answer")
    comes_to(upstream.link, "received_upstream", len(b"helloone two"))
    assert hears_nothing(ends.broker)
    assert hears_nothing(ends.worker)

    upstream.link.clear()

    assert read(ends.broker, 7) == b"one two"
    assert read(ends.worker, 6) == b"answer"
    ends.worker.sendall(b"still here")
    assert read(ends.broker, 10) == b"still here"


def test_counters_stand_still_in_a_stall(upstream: Upstream) -> None:
    """The proof that a stall landed: the proxy takes bytes in, and lets none out."""
    ends = upstream.connect_through()
    comes_to(upstream.link, "sent_downstream", 5)
    stall(upstream.link)
    ends.worker.sendall(b"x" * 1000)
    ends.broker.sendall(b"y" * 1000)
    comes_to(upstream.link, "received_upstream", 1005)
    assert hears_nothing(ends.worker)
    assert upstream.link.counters()["sent_downstream"] == 5
    upstream.link.clear()
    read(ends.worker, 1000)
    comes_to(upstream.link, "sent_downstream", 1005)


def test_its_own_counters_are_of_ended_connections(upstream: Upstream) -> None:
    """Toxiproxy adds a connection up when it ends; while it is open, only the kernel knows."""
    ends = upstream.connect_through()
    comes_to(upstream.link, "received_upstream", 5)
    assert upstream.link.counters()["received_upstream_ended"] == 0
    ends.worker.close()
    assert fate(ends.broker) == "closed"
    ends.broker.close()
    comes_to(upstream.link, "sent_upstream_ended", 5)
    assert upstream.link.counters()["received_upstream"] == 5


def test_a_close_behind_held_bytes_is_seen_after_the_stall(upstream: Upstream) -> None:
    """The broker does not learn of a dead worker that had sent something into the stall."""
    ends = upstream.connect_through()
    stall(upstream.link)
    ends.worker.sendall(b"x")
    ends.worker.close()
    assert hears_nothing(ends.broker)
    upstream.link.clear()
    assert fate(ends.broker) == "data"
    assert fate(ends.broker) == "closed"


def test_a_close_with_nothing_before_it_passes_a_stall(upstream: Upstream) -> None:
    """Latency is of data: a stall is no silent partition for a worker that sends nothing."""
    ends = upstream.connect_through()
    stall(upstream.link)
    ends.worker.close()
    assert fate(ends.broker) == "closed"


def test_connections_made_in_a_stall_stall_too(upstream: Upstream) -> None:
    """A worker that reconnects does not slip past the stall."""
    stall(upstream.link)
    ends = upstream.connect()
    ends.worker.sendall(b"hello")
    comes_to(upstream.link, "received_upstream", 5)
    assert hears_nothing(ends.broker)
    upstream.link.clear()
    assert fate(ends.broker) == "data"


def test_reset_peer_leaves_an_idle_connection_alone(upstream: Upstream) -> None:
    """Nothing happens to an open connection until the next byte flows."""
    ends = upstream.connect_through()
    reset(upstream.link)
    assert hears_nothing(ends.worker)
    assert hears_nothing(ends.broker)


@pytest.mark.parametrize("speaker", ["worker", "broker"])
def test_reset_peer_closes_an_open_connection_and_drops_what_flowed(
    upstream: Upstream, speaker: str
) -> None:
    """The bytes that trigger it are gone, and both ends see a FIN, not an RST."""
    ends = upstream.connect_through()
    reset(upstream.link)
    getattr(ends, speaker).sendall(b"lost")
    assert fate(ends.worker) == "closed"
    assert fate(ends.broker) == "closed"


def test_reset_peer_resets_new_connections(upstream: Upstream) -> None:
    """Toxiproxy prepares for an RST when a connection starts, and at no other time."""
    reset(upstream.link)
    ends = upstream.connect()
    ends.worker.sendall(b"lost")
    assert fate(ends.worker) == "reset"
    assert fate(ends.broker) == "reset"


def test_close_connections_reaches_idle_ones_and_keeps_the_port(upstream: Upstream) -> None:
    """The surest cut: at once, whatever flows, and the way back is open."""
    ends = upstream.connect_through()
    upstream.link.close_connections()
    assert fate(ends.worker) == "closed"
    assert fate(ends.broker) == "closed"
    again = upstream.connect()
    again.worker.sendall(b"back")
    assert read(again.broker, 4) == b"back"


def test_connections_are_those_of_the_link(upstream: Upstream) -> None:
    """Evidence that a cut landed: the client ports that are there before, and not after."""
    assert upstream.link.connections() == frozenset()
    first, second = upstream.connect(), upstream.connect()
    expected = {(ends.worker.getsockname()[1], upstream.link.port) for ends in (first, second)}
    assert upstream.link.connections() == expected
    upstream.link.close_connections()

    def none_left() -> bool | None:
        return not upstream.link.connections() or None

    wait_until(none_left, PATIENCE_S, "the connections to end")


def test_a_frozen_link_holds_everything_and_lets_go(upstream: Upstream) -> None:
    """A stopped server stalls closes too, and its counters can be read all the while."""
    ends = upstream.connect_through()
    leaving = upstream.connect_through()
    upstream.link.freeze()
    upstream.link.freeze()
    assert upstream.link.frozen()
    ends.worker.sendall(b"67890")
    leaving.worker.close()
    assert hears_nothing(ends.broker)
    assert hears_nothing(leaving.broker)

    def one_is_open() -> bool | None:
        return len(upstream.link.connections()) == 1 or None

    wait_until(one_is_open, PATIENCE_S, "the kernel to see the other one's end")
    # What the ended one had sent is not added up while the proxy is frozen.
    comes_to(upstream.link, "received_upstream", 10)

    upstream.link.thaw()
    upstream.link.thaw()

    assert not upstream.link.frozen()
    assert read(ends.broker, 5) == b"67890"
    assert fate(leaving.broker) == "closed"


def test_clear_and_destroy_may_be_repeated(upstream: Upstream) -> None:
    """Healing is idempotent, even after the link is gone."""
    stall(upstream.link)
    upstream.link.clear()
    upstream.link.clear()
    stall(upstream.link)
    upstream.link.destroy()
    upstream.link.destroy()
    upstream.link.clear()


def test_what_toxiproxy_refuses_is_an_error(
    upstream: Upstream, toxiproxy_server: Endpoint, request: pytest.FixtureRequest
) -> None:
    """The client library takes a 5xx for success; a fault that did not happen must not pass."""
    with pytest.raises(LinkError, match="400"):
        upstream.link.add("no_such_toxic", "upstream")
    with pytest.raises(LinkError, match="sideways"):
        upstream.link.add("latency", "sideways")
    with pytest.raises(LinkError, match="already"):
        toxiproxy.create(toxiproxy_server, request.node.name, "127.0.0.1", 9)


def test_a_proxy_variable_leads_nowhere(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP_PROXY is for the internet, not for a server on loopback."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert upstream.link.counters()["received_upstream_ended"] == 0
