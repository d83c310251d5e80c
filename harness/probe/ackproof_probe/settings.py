"""Lays the trial's settings over the app's own, and reports what the worker really runs with."""

from __future__ import annotations

import json
import os
from collections.abc import MutableMapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery
    from celery.worker.consumer import Consumer

_SHOWN = (
    "broker_connection_retry_on_startup",
    "broker_heartbeat",
    "broker_heartbeat_checkrate",
    "broker_pool_limit",
    "broker_transport_options",
    "result_backend",
    "task_acks_late",
    "task_acks_on_failure_or_timeout",
    "task_default_delivery_mode",
    "task_default_queue",
    "task_default_queue_type",
    "task_publish_retry",
    "task_publish_retry_policy",
    "task_reject_on_worker_lost",
    "task_track_started",
    "worker_cancel_long_running_tasks_on_connection_loss",
    "worker_concurrency",
    "worker_deduplicate_successful_tasks",
    "worker_enable_remote_control",
    "worker_max_tasks_per_child",
    "worker_pool",
    "worker_prefetch_multiplier",
    "worker_soft_shutdown_timeout",
)

TRANSPORT = "ackproof_transport"
"""Among the live settings, though no setting: how the worker's own kombu behaves."""
_KOMBU_NUMBERS = (
    "visibility_timeout",
    "unacked_restore_interval",
    "unacked_restore_throttle",
    "unacked_mutex_expire",
)


def asked() -> dict[str, Any]:
    """The trial's settings, by lower-case name."""
    found: dict[str, Any] = json.loads(os.environ.get("ACKPROOF_SETTINGS") or "{}")
    return found


def apply(conf: MutableMapping[str, Any]) -> None:
    """Lay the trial's settings over ``conf``; dictionaries are merged one level deep."""
    for name, value in asked().items():
        if isinstance(value, dict):
            conf[name] = {**(conf.get(name) or {}), **value}
        else:
            conf[name] = value


def lay_over(base: ModuleType) -> None:
    """Hook on ``celery.app.base``: as soon as an app has read its own configuration."""
    load = base.Celery._load_config  # noqa: SLF001 - there is no public one

    def _load_config(self: Celery) -> MutableMapping[str, Any]:
        conf: MutableMapping[str, Any] = load(self)
        apply(conf)
        return conf

    base.Celery._load_config = _load_config  # noqa: SLF001


def live(worker: Consumer) -> dict[str, Any]:
    """The settings in force that decide what is lost, as JSON values."""
    conf = worker.app.conf
    shown = {name: conf.get(name) for name in _SHOWN}
    shown.update({name: conf.get(name) for name in asked()})
    shown[TRANSPORT] = _transport(worker)
    return {name: _as_json(_without_password(value)) for name, value in shown.items()}


def _without_password(value: object) -> object:
    """What goes into the history is read by others than the servers."""
    if isinstance(value, str) and "://" in value and "@" in value:
        from kombu.utils.url import maybe_sanitize_url

        return maybe_sanitize_url(value)
    return value


def _transport(worker: Consumer) -> dict[str, object]:
    """What no setting says, and other versions of kombu do otherwise: the numbers that hold
    where ``broker_transport_options`` has none (what this kombu has not is left out, and its
    options are ignored), and whether an event loop keeps its timers."""
    try:
        import kombu

        channel = getattr(worker.connection.transport, "Channel", None)
        facts: dict[str, object] = {
            "kombu": kombu.__version__,
            "event_loop": worker.hub is not None,
        }
        for name in _KOMBU_NUMBERS:
            value = getattr(channel, name, None)
            if isinstance(value, (int, float)):
                facts[name] = value
        return facts
    except Exception as error:
        return {"error": repr(error)}


def _as_json(value: object) -> object:
    """Another process can compare it; what JSON does not know is given as its repr."""
    try:
        return json.loads(json.dumps(value, default=repr))
    except (TypeError, ValueError):  # keys that are no strings, a circle
        return repr(value)


_NOT_A_BACKENDS = (
    "beat_",
    "broker_",
    "control_",
    "event_",
    "imports",
    "include",
    "security_",
    "task_",
    "worker_",
)


def tell_reader(app: Celery) -> None:
    """Where the harness will read results: what a result backend is built from, in a file of
    this user's own, for there may be passwords in it. Never raises."""
    folder = os.environ.get("ACKPROOF_TELL_RESULTS")
    if not folder:
        return
    try:
        told = json.dumps(_backend(app)).encode()
        path = os.path.join(folder, "backend.json")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, told)
        finally:
            os.close(descriptor)
    except Exception:  # then nothing can be read, and the harness says so
        pass


def _backend(app: Celery) -> dict[str, Any]:
    from celery.app.defaults import DEFAULTS, SETTING_KEYS

    kind, conf = type(app.backend), app.conf  # in this order: its making leads it to the run's own
    known = {name for name in SETTING_KEYS if not name.startswith(_NOT_A_BACKENDS)}
    # Some that are looked up are in no list: `redis_backend_health_check_interval`.
    families = tuple({f"{name.partition('_')[0]}_" for name in known})
    known.update(name for name in conf.without_defaults() if name.startswith(families))
    told: dict[str, Any] = {}
    left_out: list[str] = []
    for name in sorted(known):
        value = conf.get(name)
        if value == DEFAULTS.get(name):
            continue
        value = value.total_seconds() if hasattr(value, "total_seconds") else value
        try:
            told[name] = json.loads(json.dumps(value))
        except (TypeError, ValueError):  # an object of the app's own
            left_out.append(name)
    return {
        "settings": told,
        "left_out": left_out,
        "backend": f"{kind.__module__}:{kind.__qualname__}",
    }


def tasks(app: Celery) -> dict[str, dict[str, object]]:
    """What each of the app's own tasks decides for itself, over the settings."""
    return {
        name: {"acks_late": task.acks_late, "reject_on_worker_lost": task.reject_on_worker_lost}
        for name, task in app.tasks.items()
        if not name.startswith(("celery.", "ackproof."))
    }
