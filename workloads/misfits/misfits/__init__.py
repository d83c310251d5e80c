"""A sample Celery app with a poisoned message among its messages."""

from misfits.app import app

__all__ = ["app"]
