"""A sample Celery app: each task applies one effect to a store outside the broker."""

from ledger.app import app

__all__ = ["app"]
