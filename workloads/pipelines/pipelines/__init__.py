"""A sample Celery app of chains and chords."""

from pipelines.app import app

__all__ = ["app"]
