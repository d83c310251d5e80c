"""A second opinion on each check, asked of what :mod:`tests.reference` knows.

Each says ``broken`` when it is proved, ``unknown`` when something that nobody saw, or that is
still to come, could break it, and ``holds`` else.
"""

from __future__ import annotations

from tests.reference import Known

HOLDS, BROKEN, UNKNOWN = "holds", "broken", "unknown"


def says(*, broken: bool, open_yet: bool) -> str:
    return BROKEN if broken else UNKNOWN if open_yet else HOLDS


def no_lost_tasks(known: Known) -> str:
    return says(broken=bool(known.lost), open_yet=not known.sure or bool(known.unclear))


def no_stranded_tasks(known: Known) -> str:
    if known.world.missed or not known.world.drain_settled:
        return UNKNOWN
    return says(broken=bool(known.stranded), open_yet=not known.sure)


def no_unexpected_tasks(known: Known) -> str:
    if known.world.missed:
        return UNKNOWN
    return says(broken=bool(known.unexpected), open_yet=False)


def duplicate_executions_at_most(known: Known, limit: int) -> str:
    sooner_or_later = known.duplicates | known.again
    return says(
        broken=len(known.duplicates) > limit,
        open_yet=not known.sure or len(sooner_or_later) > limit,
    )


def no_duplicate_effects(known: Known) -> str:
    if not known.world.effects_read:
        return UNKNOWN
    return says(
        broken=bool(known.doubled),
        open_yet=not known.sure or bool(set(known.world.effects) & known.again),
    )


def recovers_within(known: Known, s: float) -> str:
    """Held messages of these histories have no time at which they come back."""
    fault, took = known.world.fault, known.recovery
    if fault is None or (took is not None and took <= s):
        return HOLDS
    if known.world.missed:
        return UNKNOWN
    if took is not None:
        return BROKEN
    waited = known.world.end - fault >= s or known.world.drain_settled
    return BROKEN if known.stranded and waited else UNKNOWN
