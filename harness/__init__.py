"""Ackproof: which tasks a Celery deployment loses, doubles or delays when things die."""

__version__ = "0.1.0"
