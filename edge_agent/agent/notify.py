"""systemd: ready, status and watchdog over `$NOTIFY_SOCKET`, without a dependency (edge.md §8)."""

import os
import socket
from collections.abc import Sequence

from edge_agent.agent.service import Service
from shared.clock import Clock


def notify(text: str, *, environ: dict[str, str] | None = None) -> bool:
    """Send one message to systemd; False where nobody listens (not started by systemd)."""
    address = (os.environ if environ is None else environ).get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto(text.encode(), address)
        except OSError:
            return False
    return True


class Watchdog(Service):
    """Feeds systemd's watchdog, only while every part's loop turns."""

    name = "watchdog"

    def __init__(self, clock: Clock, services: Sequence[Service], *, every_s: float = 5.0) -> None:
        super().__init__(clock)
        self._services = services
        self._every_s = every_s

    async def run(self) -> None:
        while True:
            self.beat()
            await self.clock.sleep(self._every_s)

    def beat(self) -> bool:
        """Send one sign of life, or none; says which parts are stuck instead."""
        self.tick()
        stuck = [service.name for service in self._services if service.stalled]
        if stuck:
            notify(f"STATUS=stuck: {', '.join(stuck)}")
            return False
        return notify("WATCHDOG=1")
