"""A sample Celery app whose tasks write a line each to a log of their own."""

from journey.app import app

__all__ = ["app"]
