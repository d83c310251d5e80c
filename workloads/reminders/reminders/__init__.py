"""A sample Celery app whose tasks have an ETA."""

from reminders.app import app

__all__ = ["app"]
