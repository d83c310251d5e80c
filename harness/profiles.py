"""Settings profiles: what an app is run with, below the scenario's own settings."""

from __future__ import annotations

from msgspec import Struct

from harness.model import Settings


class Profile(Struct, frozen=True):
    """A layer of settings; with ``hardened``, the broker's own share comes on top."""

    settings: Settings
    hardened: bool = False


_HARDENED: Settings = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "worker_prefetch_multiplier": 1,
}

PROFILES = {
    "default": Profile({}),
    "acks_late": Profile({"task_acks_late": True}),
    "hardened": Profile(_HARDENED, hardened=True),
    # Deduplication asks the result backend whether the message has succeeded before
    # (celery.app.trace): without one it does nothing.
    "deduplicated": Profile(
        {
            **_HARDENED,
            "worker_deduplicate_successful_tasks": True,
            "result_backend": "file://{trial_dir}/results",
        },
        hardened=True,
    ),
}
"""From the weakest to the strongest."""
STUDIED = ("default", "hardened")
"""What a study compares where nobody says."""
JUDGED = ("hardened",)
"""What a claim is about where nobody says."""
