"""Toxiproxy: the real server, one a trial, and the proxied link of its workers.

    worker ──▶ 127.0.0.1:link ──[ toxics, upstream ]──▶ broker
           ◀──                ◀─[ toxics, downstream ]─

Facts of version 2.12.0 that its users must know (each is a test in
``tests/contracts/test_link.py``):

- ``latency`` stalls a link and lets go of it on the same connection: what was held back is
  delivered in order when the toxic is removed. A close waits too, but only behind data: one
  with nothing held back before it passes the stall.
- ``reset_peer`` reaches a connection that is already open with the next byte that flows, in
  either direction; that piece of data is dropped, and both sides see an orderly close (FIN).
  Only connections made *after* the toxic was added get a reset (RST).
- Removing a ``latency`` toxic waits some 15 s for each connection of which a side has gone
  meanwhile, and after 25 s gives up (503). So a stall freezes the whole server instead
  (SIGSTOP): the kernel goes on acknowledging, nothing passes, and on SIGCONT everything
  held back is delivered on the same connections. That is why each trial has its own server.
- Its own byte counters are of connections that have **ended**; an open one adds nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness import parts, tcp_info
from harness.model import Endpoint, HarnessError
from harness.protocols import Process, Runtime
from harness.waiting import NotYetError, free_port, wait_for_server, wait_until

if TYPE_CHECKING:
    import requests

START_S = 15.0
STOPS_WITHIN_S = 5.0
_ANSWER_S = 30.0
"""Longer than Toxiproxy's own limit of 25 s: removing a toxic waits for what it held to go."""
_STREAMS = ("upstream", "downstream")
_METRIC = re.compile(r"toxiproxy_proxy_(received|sent)_bytes_total\{(.*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class _Proxy(Protocol):
    """What is used of ``toxiproxy.Proxy``, which has no types."""

    listen: str

    def add_toxic(self, **toxic: object) -> None: ...
    def toxics(self) -> Mapping[str, object]: ...
    def destroy_toxic(self, toxic_name: str) -> bool: ...
    def disable(self) -> None: ...
    def enable(self) -> None: ...
    def destroy(self) -> bool: ...


class LinkError(HarnessError):
    """Toxiproxy refused, or does not answer."""


def start(runtime: Runtime, folder: Path) -> tuple[Process, Endpoint]:
    """Start a Toxiproxy server on loopback; returns when it answers.

    Raises MissingPartError or StartError. The client library knows one server a process.
    """
    server = parts.find("toxiproxy-server")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    process = runtime.start(
        "toxiproxy",
        [server.path, "-host", "127.0.0.1", "-port", str(port), "-proxy-metrics"],
        env={"PATH": os.environ.get("PATH", os.defpath), "LOG_LEVEL": "info"},
        cwd=folder,
        log=folder / "toxiproxy.log",
    )
    endpoint = Endpoint(host="127.0.0.1", port=port, pid=process.pid, version=server.version)
    wait_for_server(process, port, lambda: _answer(endpoint), START_S)
    return process, endpoint


def create(endpoint: Endpoint, name: str, upstream_host: str, upstream_port: int) -> ProxyLink:
    """Open a link to ``upstream``, on a free port. ``name`` is unique on the server.

    Raises LinkError.
    """
    _use(endpoint)
    from toxiproxy import Toxiproxy
    from toxiproxy.exceptions import ProxyExists

    try:
        proxy: _Proxy = Toxiproxy().create(upstream=f"{upstream_host}:{upstream_port}", name=name)
    except ProxyExists:
        raise LinkError(f"Toxiproxy has a link {name!r} already") from None
    return ProxyLink(endpoint, name, int(proxy.listen.rsplit(":", 1)[1]))


class ProxyLink:
    """One proxy of the server: satisfies ``harness.protocols.Link``."""

    def __init__(self, endpoint: Endpoint, name: str, port: int) -> None:
        self.host = endpoint.host
        self.port = port
        self._server = endpoint
        self._name = name
        self._most: dict[str, int] = {}

    def add(self, toxic: str, stream: str, **attributes: float) -> None:
        """Add a toxic to one stream, ``upstream`` (to the broker) or ``downstream``.

        Its attributes are Toxiproxy's, whole milliseconds or bytes. Raises LinkError.
        """
        if stream not in _STREAMS:
            raise LinkError(f"there is no stream {stream!r}", f"It is {' or '.join(_STREAMS)}")
        # Its server is written in Go, which does not read 1000.0 as a whole number.
        whole = {name: int(value) for name, value in attributes.items()}
        self._proxy().add_toxic(type=toxic, stream=stream, attributes=whole)

    def clear(self) -> None:
        from toxiproxy.exceptions import NotFound

        proxy = self._proxy()
        try:
            toxics = list(proxy.toxics())
        except NotFound:
            return  # the link was destroyed, and its toxics with it
        for toxic in toxics:
            with contextlib.suppress(NotFound):
                proxy.destroy_toxic(toxic)

    def close_connections(self) -> None:
        """Close every open connection of the link now, even an idle one; both sides see a FIN.

        The link itself stays, on the same port. Raises LinkError.
        """
        proxy = self._proxy()
        proxy.disable()
        proxy.enable()

    def freeze(self) -> None:
        """Let nothing pass any more, in either direction, and close nothing. Idempotent."""
        os.kill(self._server.pid, signal.SIGSTOP)
        # The signal is taken by one thread, and the others stop a moment later.
        wait_until(lambda: self.frozen() or None, STOPS_WITHIN_S, "Toxiproxy to stop")

    def thaw(self) -> None:
        """Let go what was held back. Idempotent."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._server.pid, signal.SIGCONT)
            wait_until(lambda: not self.frozen() or None, STOPS_WITHIN_S, "Toxiproxy to go on")

    def frozen(self) -> bool:
        """Whether the operating system says that the proxy is stopped."""
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess):
            return bool(psutil.Process(self._server.pid).status() == psutil.STATUS_STOPPED)
        return False

    def counters(self) -> Mapping[str, int]:
        """Bytes so far. Never less than before.

        ``received_upstream`` (from the workers) and ``sent_downstream`` (to the workers) are
        up to the moment: ended connections by Toxiproxy, open ones by the kernel; they are
        absent where the kernel does not tell (macOS). Those ending in ``_ended`` are
        Toxiproxy's own four, of ended connections alone: the kernel does not tell which of
        the connections to a broker belongs to which link. They stand still while the link is
        frozen, for Toxiproxy does not answer then.
        """
        now = self._ended()
        with contextlib.suppress(OSError):
            open_now = tcp_info.connections(self.port)
            now["received_upstream"] = now["received_upstream_ended"] + sum(
                connection.received_bytes for connection in open_now
            )
            now["sent_downstream"] = now["sent_downstream_ended"] + sum(
                connection.sent_bytes for connection in open_now
            )
        # A connection that is just ending is open no more, and perhaps not yet added up.
        self._most = {name: max(count, self._most.get(name, 0)) for name, count in now.items()}
        return dict(self._most)

    def connections(self) -> frozenset[tuple[int, int]]:
        try:
            found = tcp_info.connections(self.port)
        except OSError:
            return self._connections_by_psutil()
        return frozenset((connection.peer_port, connection.local_port) for connection in found)

    def destroy(self) -> None:
        """Close the link and all its connections. Idempotent; silent when the server is gone."""
        from toxiproxy.exceptions import NotFound

        self.thaw()  # a frozen server would not answer
        with contextlib.suppress(NotFound, LinkError):
            self._proxy().destroy()

    def _proxy(self) -> _Proxy:
        _use(self._server)
        from toxiproxy import Proxy

        # Made here: looking it up would list every proxy of the server, and all their toxics.
        proxy: _Proxy = Proxy(
            name=self._name, upstream="", enabled=True, listen=f"{self.host}:{self.port}"
        )
        return proxy

    def _ended(self) -> dict[str, int]:
        from toxiproxy.api import APIConsumer

        names = [f"{what}_{stream}_ended" for what in ("received", "sent") for stream in _STREAMS]
        if self.frozen():
            return {name: self._most.get(name, 0) for name in names}
        _use(self._server)
        counts = dict.fromkeys(names, 0)
        for line in APIConsumer.get("/metrics").text.splitlines():
            if metric := _METRIC.match(line):
                labels = dict(_LABEL.findall(metric[2]))
                if labels.get("proxy") == self._name:
                    counts[f"{metric[1]}_{labels['direction']}_ended"] += int(float(metric[3]))
        return counts

    def _connections_by_psutil(self) -> frozenset[tuple[int, int]]:
        import psutil

        return frozenset(
            (connection.raddr.port, connection.laddr.port)
            for connection in psutil.Process(self._server.pid).net_connections("tcp4")
            if connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == self.port
        )


def _answer(endpoint: Endpoint) -> bool:
    _use(endpoint)
    from toxiproxy.api import APIConsumer

    try:
        APIConsumer.get("/version")
    except LinkError as error:
        raise NotYetError(str(error)) from None
    return True


def _use(endpoint: Endpoint) -> None:
    """Point the client library at this server, and mend what it lacks.

    It keeps the server's address in its class, knows no time limit, obeys ``HTTP_PROXY``
    for loopback, and takes a 5xx for success (a port in use is a 500).
    """
    from toxiproxy.api import APIConsumer

    APIConsumer.host = endpoint.host
    APIConsumer.port = endpoint.port
    APIConsumer.get = staticmethod(lambda url, **kw: _call("GET", url, **kw))
    APIConsumer.post = staticmethod(lambda url, **kw: _call("POST", url, **kw))
    APIConsumer.delete = staticmethod(lambda url, **kw: _call("DELETE", url, **kw))


def _call(method: str, path: str, **content: object) -> requests.Response:
    import requests
    from toxiproxy.api import APIConsumer, validate_response

    json = content.get("json")
    try:
        with requests.Session() as session:
            session.trust_env = False
            response = session.request(
                method,
                f"http://{APIConsumer.host}:{APIConsumer.port}{path}",
                json=json,
                timeout=_ANSWER_S,
            )
    except requests.RequestException as error:
        raise LinkError(f"Toxiproxy does not answer {method} {path}: {error}") from error
    if response.status_code == requests.codes.not_found:
        validate_response(response)  # raises the library's own NotFound
    if not response.ok:
        raise LinkError(
            f"Toxiproxy answered {response.status_code} to {method} {path}: {response.text.strip()}"
        )
    return response
