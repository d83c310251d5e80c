"""A stalled link: for a while nothing passes, in either direction, and nothing is closed.

    worker ──▶ Toxiproxy, frozen ──▶ broker
           ◀──                   ◀──

The trial's own Toxiproxy is stopped (SIGSTOP) and continued. Its toxics would not do:
removing ``timeout`` closes the connection, and removing ``latency`` takes 15 s for each
connection of which a side has gone meanwhile. The kernel ends TCP in its place, so each
side goes on getting its acknowledgements: this is a stall, not a partition.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from harness.model import Event, Evidence, Trigger, step
from harness.protocols import Firing, Stack


class Stall(Struct, frozen=True):
    """Holds everything back for ``for_s`` seconds."""

    kind: ClassVar[str] = "stall"
    kills: ClassVar[bool] = False
    holds: ClassVar[bool] = False
    stills: ClassVar[bool] = False
    needs_link: ClassVar[bool] = True
    target: ClassVar[str] = "link"
    for_s: float
    when: Trigger

    @property
    def lasts_s(self) -> float:
        return self.for_s

    def fire(self, stack: Stack, at: Event) -> Firing:
        del at  # the whole link, whoever's task it was
        link = stack.need_link()
        before = link.connections()
        link.freeze()
        yield self.for_s
        held_all_along = link.frozen()
        waiting = link.connections()
        link.thaw()
        used = bool(before | waiting)
        return Evidence(
            landed=held_all_along and used,
            facts={
                "for_s": self.for_s,
                "connections_before": len(before),
                "connections_at_the_end": len(waiting),
                "lived_through_it": len(before & waiting),
            },
            why_not="" if used else "nobody had a connection, and nobody tried",
        )

    def heal(self, stack: Stack) -> None:
        stack.need_link().thaw()


def stall(*, for_s: float, when: Trigger) -> Stall:
    """Stall the link at ``when`` for ``for_s`` seconds."""
    return Stall(for_s=for_s, when=when)


EXAMPLES = (stall(for_s=1.5, when=step("effect_begin")),)
