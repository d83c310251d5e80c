"""Lays the trial's settings over the app's own, and reports what the worker really runs with."""

import json
import os

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


def asked():
    """The trial's settings, by lower-case name."""
    return json.loads(os.environ.get("ACKPROOF_SETTINGS") or "{}")


def apply(conf):
    """Lay the trial's settings over ``conf``; dictionaries are merged one level deep."""
    for name, value in asked().items():
        if isinstance(value, dict):
            value = {**(conf.get(name) or {}), **value}
        conf[name] = value


def lay_over(base):
    """Hook on ``celery.app.base``: as soon as an app has read its own configuration."""
    load = base.Celery._load_config

    def _load_config(self):
        conf = load(self)
        apply(conf)
        return conf

    base.Celery._load_config = _load_config


def live(app):
    """The settings in force that decide what is lost, as JSON values."""
    conf = app.conf
    shown = {name: conf.get(name) for name in _SHOWN}
    shown.update({name: conf.get(name) for name in asked()})
    return json.loads(json.dumps(shown, default=repr))


def tasks(app):
    """What each of the app's own tasks decides for itself, over the settings."""
    return {
        name: {"acks_late": task.acks_late, "reject_on_worker_lost": task.reject_on_worker_lost}
        for name, task in app.tasks.items()
        if not name.startswith(("celery.", "ackproof."))
    }
