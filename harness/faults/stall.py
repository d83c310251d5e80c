"""A stalled link: for a while nothing passes, in either direction, and nothing is closed.

    worker ──▶ Toxiproxy ══╳══ broker    toxic latency, longer than any trial, both ways

``latency`` and not ``timeout``, because Toxiproxy closes a connection when it removes a
``timeout`` toxic; removing ``latency`` lets go what had been held back. Toxiproxy ends TCP
itself, so each side goes on getting its acknowledgements: this is a stall, not a partition.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from harness.model import Event, Evidence, Trigger
from harness.protocols import Firing, Stack

FOR_EVER_MS = 3_600_000
SETTLES_S = 0.05


class Stall(Struct, frozen=True):
    """Holds everything back for ``for_s`` seconds."""

    kind: ClassVar[str] = "stall"
    kills: ClassVar[bool] = False
    needs_link: ClassVar[bool] = True
    target: ClassVar[str] = "link"
    for_s: float
    when: Trigger

    def fire(self, stack: Stack, at: Event) -> Firing:
        link = stack.need_link()
        before = link.connections()
        for stream in ("upstream", "downstream"):
            link.add("latency", stream, latency=FOR_EVER_MS)
        yield SETTLES_S  # what was inside the proxy already may still pass
        passed_before = link.counters()
        yield self.for_s
        passed_after = link.counters()
        link.clear()
        passed = {name: passed_after[name] - passed_before.get(name, 0) for name in passed_after}
        leaked = sum(count for name, count in passed.items() if name.startswith("sent"))
        return Evidence(
            landed=bool(before) and not leaked,
            facts={"for_s": self.for_s, "connections": len(before), "bytes_during": passed},
            why_not=f"{leaked} bytes passed during it" if leaked else "no connection to stall",
        )

    def heal(self, stack: Stack) -> None:
        stack.need_link().clear()


def stall(*, for_s: float, when: Trigger) -> Stall:
    """Stall the link at ``when`` for ``for_s`` seconds."""
    return Stall(for_s=for_s, when=when)
