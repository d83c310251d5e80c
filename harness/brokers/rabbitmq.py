"""RabbitMQ: a node of our own, one vhost a trial, counts from its HTTP API.

The broker itself knows which messages a consumer holds, and offers them again the moment
the consumer's connection ends. So the horizon is about noticing that: at once for a closed
connection, after two to three heartbeats for a silent one.

Its start is the dearest of all parts (seconds of CPU), and most of that is loading code of
plugins that nobody uses; ``_slim_home`` halves it.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from harness import parts
from harness.celery_terms import Reading, is_task_queue, number, read_message
from harness.model import (
    BrokerView,
    Endpoint,
    Event,
    HarnessError,
    Held,
    Horizon,
    Settings,
    StartError,
)
from harness.protocols import Runtime
from harness.waiting import (
    NoAnswerError,
    NotYetError,
    WaitedTooLongError,
    free_port,
    wait_for_server,
    wait_until,
)

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel

START_S = 60.0
USER = "ackproof"

_ANSWER_S = 10.0
_FREED_S = 15.0
"""How long the messages of a killed worker may take to return before they are counted."""
_POLL_S = 0.1
_CELERY_HEARTBEAT_S = 120.0
_SERVER_HEARTBEAT_S = 60.0
_CONSUMER_TIMEOUT_S = 1800.0
"""RabbitMQ's default since 3.8.17; our node keeps it."""
_NOT_FOUND = 404


class RabbitMQLease:
    """One vhost."""

    def __init__(self, endpoint: Endpoint, index: int) -> None:
        self.host = endpoint.host
        self.port = endpoint.port
        self._vhost = f"ackproof-{index}"
        self._password = endpoint.password
        self._api = _api(endpoint)
        self._api.call("DELETE", f"/vhosts/{self._vhost}", missing_ok=True)
        self._api.call("PUT", f"/vhosts/{self._vhost}", {})
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self._api.call("PUT", f"/permissions/{self._vhost}/{USER}", everything)

    def url(self, host: str, port: int) -> str:
        return f"amqp://{USER}:{self._password}@{host}:{port}/{self._vhost}"

    def settings(self) -> Settings:
        return {}  # the vhost is in the URL

    def view(self, live: Settings) -> BrokerView:
        """Counts only: AMQP does not say which messages a consumer holds.

        Exact at once for classic queues; a quorum queue reports once a second (its tick, see
        ``_config``), so what just moved may be counted where it was.
        """
        del live
        queues = self._queues()
        ready = sum(queue.ready for queue in queues)
        unacked = sum(queue.unacked for queue in queues)
        return BrokerView(time.time(), ready, unacked, named=ready + unacked == 0)

    def name_held(self, live: Settings, received: Sequence[Event]) -> BrokerView:
        """Take every message without acknowledging it, then let go of all of them.

        They return marked redelivered; on a quorum queue with a delivery limit that counts
        as one delivery.
        """
        del received
        view = self._settled(live)
        readings = list(self._readings())
        counted = [reading for reading in readings if reading.counts]
        held = tuple(
            Held(*reading.message, where="ready") for reading in counted if reading.message
        )
        return BrokerView(
            at_s=view.at_s,
            ready=len(counted),
            unacked=view.unacked,
            held=held,
            # Fewer taken than counted: a queue that cannot be read this way (a stream).
            named=len(held) == len(counted) and len(readings) >= view.ready and not view.unacked,
        )

    def horizon(self, live: Settings) -> Horizon:
        """How long until the messages of a dead or silent worker are offered again.

        The consumer timeout is told, but not added: it ends the wait for a worker that is
        alive, answers heartbeats and is stuck. Its message is held by a live worker, which
        is a different finding from a late redelivery, and half an hour of horizon would
        keep every other trial waiting for nothing.
        """
        heartbeat_s, agreed = _heartbeat(live)
        closed = "connection closed: redelivered at once (AMQP 0-9-1, requeue on channel close)"
        stuck = (
            f"consumer timeout {_CONSUMER_TIMEOUT_S:g} s (server default since 3.8.17), for a "
            "worker that answers heartbeats but never acknowledges"
        )
        if not heartbeat_s:
            silent = f"no heartbeat ({agreed}): a silent peer is noticed by the consumer timeout"
            return Horizon(_CONSUMER_TIMEOUT_S, (closed, silent, stuck))
        silent = (
            f"silent peer: the server closes after two checks without traffic, one every "
            f"{heartbeat_s:g} s, so at most 3 x {heartbeat_s:g} s ({agreed})"
        )
        return Horizon(3 * heartbeat_s, (closed, silent, f"not added: {stuck}"))

    def release(self) -> None:
        # When its server is gone, its data folder goes with the run.
        with contextlib.suppress(NoAnswerError):
            self._api.call("DELETE", f"/vhosts/{self._vhost}", missing_ok=True)

    def _queues(self) -> list[_Queue]:
        # With metrics collection off, totals are read from the queues themselves: exact,
        # about 3 ms, and the node does not spend CPU on statistics that nobody reads.
        answer = self._api.call(
            "GET", f"/queues/{self._vhost}?disable_stats=true&enable_queue_totals=true"
        )
        if not isinstance(answer, list):
            raise HarnessError(f"RabbitMQ's HTTP API does not list its queues: {answer}")
        return [
            _Queue(
                name=queue["name"],
                type=queue.get("type", "classic"),
                ready=queue.get("messages_ready", 0),
                unacked=queue.get("messages_unacknowledged", 0),
            )
            for queue in answer
            if is_task_queue(queue["name"])
        ]

    def _settled(self, live: Settings) -> BrokerView:
        """The view once the connections of the workers, which are gone, have been noticed."""

        def settled() -> BrokerView | None:
            view = self.view(live)
            return None if view.unacked else view

        try:
            return wait_until(settled, _FREED_S, "unacknowledged messages to return", _POLL_S)
        except WaitedTooLongError:
            return self.view(live)

    def _readings(self) -> Iterator[Reading]:
        import pika
        import pika.exceptions

        parameters = pika.URLParameters(self.url(self.host, self.port))
        parameters.socket_timeout = _ANSWER_S
        try:
            # When the connection ends, everything taken is back in its queue.
            with pika.BlockingConnection(parameters) as connection:
                channel = connection.channel()
                for queue in self._queues():
                    if queue.type != "stream":
                        yield from _take_all(channel, queue.name)
        except pika.exceptions.AMQPError as error:
            raise NoAnswerError(f"rabbitmq does not answer: {error!r}") from error


class _Queue(NamedTuple):
    name: str
    type: str
    ready: int
    unacked: int


class RabbitMQ:
    """Starts a node with its own name, ports, data folder and cookie."""

    name = "rabbitmq"

    def start(self, runtime: Runtime, folder: Path) -> Endpoint:
        server = parts.find("rabbitmq-server")
        erl = parts.find("erlang")
        folder.mkdir(parents=True, exist_ok=True)
        ports = _Ports(amqp=free_port(), management=free_port(), distribution=free_port())
        password = secrets.token_hex(16)
        scripts = _slim_home(Path(server.path).parent.parent, folder) / "sbin"
        process = runtime.start(
            self.name,
            [str(scripts / "rabbitmq-server")],
            env=_environment(folder, ports, password, scripts, Path(erl.path).parent),
            cwd=folder,
            log=folder / "rabbitmq.log",
        )
        endpoint = Endpoint(
            host="127.0.0.1",
            port=ports.amqp,
            pid=process.pid,
            version=server.version,
            extra={"management_port": str(ports.management)},
            password=password,
        )
        wait_for_server(process, ports.amqp, lambda: _answer(endpoint), START_S, every_s=_POLL_S)
        return endpoint

    def lease(self, endpoint: Endpoint, index: int) -> RabbitMQLease:
        return RabbitMQLease(endpoint, index)

    def hardened(self, longest_task_s: float) -> Settings:
        """Publisher confirms. The broker redelivers by itself, whatever a task's length is."""
        del longest_task_s
        return {"broker_transport_options": {"confirm_publish": True}}


class _Ports(NamedTuple):
    amqp: int
    management: int
    distribution: int


def _api(endpoint: Endpoint) -> _Api:
    return _Api(endpoint.host, int(endpoint.extra["management_port"]), endpoint.password)


class _Api:
    """RabbitMQ's HTTP API. The standard library's client: it reads no proxy variables."""

    def __init__(self, host: str, port: int, password: str) -> None:
        self._host = host
        self._port = port
        token = base64.b64encode(f"{USER}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        missing_ok: bool = False,
    ) -> object:
        """Make one request below ``/api``. Raises NoAnswerError, or HarnessError (refused)."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_ANSWER_S)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, f"/api{path}", content, self._headers)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswerError(f"rabbitmq does not answer: {error!r}") from error
        finally:
            connection.close()
        if response.status == _NOT_FOUND and missing_ok:
            return None
        if response.status >= http.client.BAD_REQUEST:
            raise HarnessError(
                f"RabbitMQ's HTTP API answered {response.status} to {method} {path}: "
                f"{answer.decode(errors='replace')[:200]}"
            )
        return json.loads(answer) if answer else None


def _answer(endpoint: Endpoint) -> bool:
    api = _api(endpoint)
    try:
        api.call("GET", f"/queues/{quote('/', safe='')}")  # the API, the user and the vhost /
    except HarnessError as error:
        raise NotYetError(str(error)) from None
    return True


def _take_all(channel: BlockingChannel, queue: str) -> Iterator[Reading]:
    while True:
        method, properties, content = channel.basic_get(queue)
        body: object = content  # the stubs call it a str; it is bytes
        if method is None or properties is None or not isinstance(body, bytes):
            return
        yield read_message(properties.headers or {}, body, properties.content_type or "")


def _heartbeat(live: Settings) -> tuple[float, str]:
    """The interval that worker and server agree on, and how.

    Source: ``amqp.Connection._on_tune``; the worker asks for none without an event loop
    (``celery.worker.consumer.Consumer.__init__``).
    """
    if live.get("worker_pool") in {"gevent", "eventlet"}:
        return 0.0, "a worker without event loop asks for none"
    asked_s = number(live.get("broker_heartbeat"), _CELERY_HEARTBEAT_S)
    if not asked_s:
        return 0.0, "broker_heartbeat is 0"
    agreed_s = min(asked_s, _SERVER_HEARTBEAT_S)
    return agreed_s, (
        f"the smaller of broker_heartbeat {asked_s:g} s and the server's {_SERVER_HEARTBEAT_S:g} s"
    )


def _environment(
    folder: Path, ports: _Ports, password: str, scripts: Path, erlang: Path
) -> dict[str, str]:
    """Everything that would else point at the system's RabbitMQ, pointed at ``folder``."""
    node = f"ackproof-{os.getpid()}-{ports.amqp}@localhost"
    # Erlang terms, for they are read without the parsing of every plugin's schema that
    # rabbitmq.conf costs.
    config = folder / "advanced.config"
    config.touch(mode=0o600)
    config.write_text(_config(ports, password))
    (folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
    return {
        "PATH": os.pathsep.join([str(erlang), os.environ.get("PATH", os.defpath)]),
        "LANG": "C.UTF-8",
        "HOME": str(folder),  # its cookie is made here
        "RABBITMQ_SCRIPTS_DIR": str(scripts),
        "RABBITMQ_NODENAME": node,
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_LOG": "warning",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_PID_FILE": str(folder / "rabbitmq.pid"),
        "RABBITMQ_DIST_PORT": str(ports.distribution),
        "ERL_CRASH_DUMP": str(folder / "erl_crash.dump"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _erlang_arguments(node, ports.distribution),
    }


def _erlang_arguments(node: str, distribution: int) -> str:
    return " ".join(
        [
            # One scheduler that never spins: dozens of workers share these cores.
            "+S 1:1 +SDcpu 1:1 +SDio 2 +sbwt none +sbwtdcpu none +sbwtdio none",
            # Named from the start, and without epmd: nothing is left behind as a daemon,
            # and the boot does not launch a second virtual machine to start one.
            f"-sname {node} -start_epmd false -erl_epmd_port {distribution}",
            f"-kernel inet_dist_listen_min {distribution} inet_dist_listen_max {distribution}",
            "-kernel inet_dist_use_interface {127,0,0,1}",
        ]
    )


def _config(ports: _Ports, password: str) -> str:
    return f"""[
  {{rabbit, [
    {{default_user, <<"{USER}">>}},
    {{default_pass, <<"{password}">>}},
    {{tcp_listeners, [{{"127.0.0.1", {ports.amqp}}}]}},
    {{num_tcp_acceptors, 2}},
    {{quorum_tick_interval, 1000}}
  ]}},
  {{rabbitmq_management, [{{tcp_config, [{{ip, "127.0.0.1"}}, {{port, {ports.management}}}]}}]}},
  {{rabbitmq_management_agent, [{{disable_metrics_collector, true}}]}}
].
"""


def _slim_home(home: Path, folder: Path) -> Path:
    """Build a RabbitMQ home of links that has only the plugins we enable.

    At its boot the node looks into every module of every plugin on its path, enabled or not:
    half of 8 s of CPU (measured on 3.10.8). Returns ``home`` itself where its plugins are not
    the plain folders that this understands, or where ``folder`` has a space in its path:
    RabbitMQ's scripts do not quote where they are.
    """
    applications = _applications(home / "plugins")
    needed = _needed(applications, {"rabbit", "rabbitmq_management"})
    understood = needed and (home / "sbin" / "rabbitmq-server").is_file()
    if not understood or re.search(r"\s", str(folder)):
        return home
    slim = folder / "home"
    try:
        for name in ("sbin", "plugins"):
            (slim / name).mkdir(parents=True)
        for script in (home / "sbin").iterdir():
            (slim / "sbin" / script.name).symlink_to(script.resolve())
        for name in needed:
            plugin = applications[name].folder
            (slim / "plugins" / plugin.name).symlink_to(plugin.resolve())
        (slim / "escript").symlink_to((home / "escript").resolve())
    except OSError as error:
        raise StartError(f"cannot prepare RabbitMQ's folder {slim}: {error.strerror}") from error
    return slim


class _Application(NamedTuple):
    folder: Path
    uses: frozenset[str]


def _applications(plugins: Path) -> dict[str, _Application]:
    """Every Erlang application under ``plugins``, with those it names in its ``.app`` file."""
    applications = {}
    for app in plugins.glob("*/ebin/*.app"):
        lists = re.findall(
            r"\{(?:optional_|included_)?applications\s*,\s*\[(.*?)\]",
            app.read_text(errors="replace"),
            re.DOTALL,
        )
        uses = frozenset(re.findall(r"\w+", " ".join(lists)))
        applications[app.stem] = _Application(app.parent.parent, uses)
    return applications


def _needed(applications: Mapping[str, _Application], roots: set[str]) -> set[str]:
    """``roots`` and all they depend on; empty when one of them is not there."""
    if not roots <= applications.keys():
        return set()
    needed: set[str] = set()
    waiting = set(roots)
    while waiting:
        name = waiting.pop()
        needed.add(name)
        # What is not under plugins/ comes with Erlang itself.
        waiting |= (applications[name].uses & applications.keys()) - needed
    return needed


BROKER = RabbitMQ()
