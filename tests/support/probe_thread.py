"""The emulated fleet on a thread of its own, for commands that run an event loop themselves."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from support.mixed_site import FIRMWARES
from support.probe_fleet import Emulated, fleet

_WAIT_S = 20.0


@contextmanager
def fleet_on_thread(net: str, *, adapters: tuple[str, ...] = FIRMWARES) -> Iterator[dict[str, Emulated]]:
    """See `support.probe_fleet.fleet`."""
    ready, stop = threading.Event(), threading.Event()
    made: dict[str, Emulated] = {}

    async def serve() -> None:
        async with fleet(net, adapters=adapters) as machines:
            made.update(machines)
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    try:
        assert ready.wait(_WAIT_S), "the emulated machines do not listen"
        yield made
    finally:
        stop.set()
        thread.join(_WAIT_S)
