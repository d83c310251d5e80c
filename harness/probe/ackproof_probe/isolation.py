"""Keeps the app on the servers of the run: it is led there, whatever it names; and where it would
go elsewhere all the same, it is ended before it connects.

    app: broker, results ── led ──▶ the run's own
                         ── led nowhere of ours ──▶ ``foreign_server``, exit 78, no connection

The addresses come in two variables of our own, because the app, or its command line (``-b``), may
set those that Celery reads: ``ACKPROOF_BROKER``, and ``ACKPROOF_RESULTS`` (JSON, by kind).
"""

from __future__ import annotations

import json
import os
import sys
from functools import wraps
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from ackproof_probe.record import record

if TYPE_CHECKING:
    from celery import Celery
    from kombu.connection import Connection

BROKER_NAMES = ("broker_read_url", "broker_write_url", "broker_url")
FOREIGN_EXIT = 78
"""``EX_CONFIG``: the process went to a server that is not the run's."""
PORTS = {"redis": 6379, "rediss": 6379, "amqp": 5672, "pyamqp": 5672, "amqps": 5671}

_ours = os.environ.get("ACKPROOF_BROKER", "")
_results: dict[str, str] = json.loads(os.environ.get("ACKPROOF_RESULTS") or "{}")
_REDIS = ("redis", "rediss", "sentinel")
_REACH_NOBODY = ("", "disabled", "rpc", "cache+memory", "django-cache", "django-db")
"""Result backends that have no address of their own: ``rpc`` is the broker's."""


def watch(base: ModuleType) -> None:
    """Hook on ``celery.app.base``: every connection to a broker is made in one place, and so is
    the result backend."""
    connect, get = base.Celery._connection, base.Celery._get_backend  # noqa: SLF001

    @wraps(connect)
    def _connection(self: Celery, *args: Any, **kwargs: Any) -> Any:
        connection = connect(self, *args, **kwargs)
        if _ours:
            for url in _leads_to(connection):
                if _address(url) != _address(_ours):
                    _refuse(_without_secrets(url), _named_by(self, url))
        return connection

    @wraps(get)
    def _get_backend(self: Celery) -> Any:
        if _ours:
            _lead_results(self)
        return get(self)

    base.Celery._connection = _connection  # noqa: SLF001
    base.Celery._get_backend = _get_backend  # noqa: SLF001


def _leads_to(connection: Connection) -> list[str]:
    """Every URL that it may connect to: its own, those it fails over to, and the queues that an
    SQS transport is told the addresses of."""
    found = [url for url in (connection.alt or ()) if isinstance(url, str)]
    if not found:
        host, port = connection.hostname or "localhost", connection.port or ""
        found = [f"{connection.transport_cls}://{host}:{port}"]
    queues = (connection.transport_options or {}).get("predefined_queues") or {}
    return found + [str(queue["url"]) for queue in queues.values() if queue.get("url")]


def _address(url: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(url)
        host = parts.hostname or "localhost"
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:  # no port is called so
        return url, None
    return "127.0.0.1" if host in {"localhost", "::1"} else host, port


def _named_by(app: Celery, url: str) -> str:
    """The setting, option or variable by which the app came to it."""
    for name in BROKER_NAMES:
        variable = f"CELERY_{name.upper()}"
        if _names(os.environ.get(variable), url):
            return f"the variable {variable}"
        if _names(app.conf.get(name), url):
            return name
    if "predefined_queues" in (app.conf.get("broker_transport_options") or {}):
        return "predefined_queues in broker_transport_options"
    return "an address in its code"


def _names(value: object, url: str) -> bool:
    urls = value if isinstance(value, (list, tuple)) else str(value or "").split(";")
    return any(one and _address(str(one)) == _address(url) for one in urls)


def _lead_results(app: Celery) -> None:
    """Decided when the backend is made, because an app may name it at any time before."""
    from ackproof_probe.settings import asked

    named = app.backend_cls or app.conf.result_backend
    kind = _kind(named)
    if kind is None:
        return
    by_trial = named == asked().get("result_backend")
    if by_trial and kind in {"file", "db"} and not urlsplit(str(named)).hostname:
        return
    ours = _results.get(kind, "")
    if not ours:
        _refuse(_without_secrets(named), "result_backend")
    if named != ours:
        record("results_led", named=_without_secrets(named), to=kind)
    # Celery asks the variable before any setting.
    os.environ["CELERY_RESULT_BACKEND"] = ours
    app.conf["result_backend"] = ours
    app.conf["redis_backend_use_ssl"] = None
    app.backend_cls = None


def _kind(named: object) -> str | None:
    """``redis``, ``file`` or ``db``, of which the run has its own; None: it reaches nobody; any
    other: its scheme, of which the run has none."""
    if not isinstance(named, str):
        return None  # none, or a class of the app's own
    scheme, slashes, _ = named.partition("://")
    scheme = scheme.rstrip(":/")
    if scheme in _REACH_NOBODY or (not slashes and ("." in scheme or ":" in scheme)):
        return None  # a class by its path is the app's own as well
    if scheme in _REDIS:
        return "redis"
    if scheme in {"file", "filesystem"}:
        return "file"
    if scheme in {"db", "database"} or scheme.startswith("db+"):
        return "db"
    return scheme


def _without_secrets(named: object) -> str:
    """Scheme and host alone."""
    scheme, slashes, rest = str(named).partition("://")
    return scheme + slashes + rest.partition("/")[0].rpartition("@")[2]


def _refuse(url: str, by: str) -> NoReturn:
    """At once, and nothing else of the app is run: its own way of ending may connect as well."""
    record("foreign_server", url=url, by=by)
    sys.stderr.write(f"ackproof: ended: {by} leads to {url}, which is no server of this run\n")
    sys.stderr.flush()
    os._exit(FOREIGN_EXIT)
