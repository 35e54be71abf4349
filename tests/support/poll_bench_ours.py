"""Ours, as the first word says, and bare aiohttp.

`guardian`: our adapter with all that the guardian does with a sample. `adapter`: the adapter alone.
`adapter-aiohttp`: the same over the other transport. `aiohttp`: the two pages of the fast loop, not parsed.
"""

import sys
from collections.abc import Awaitable, Callable
from functools import partial

import aiohttp

from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.link import DeviceLink, Samples
from edge_agent.guardian.polling.ring import Ring
from edge_agent.guardian.polling.turns import Turns
from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.vnish.adapter import VnishAdapter, open_device
from shared.clock import SystemClock
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind
from support.aiohttp_transport import AiohttpTransport
from support.poll_bench_client import HASHRATE_THS, Poll, main

TIMEOUT_S = 10.0
OPENS = Credential(user=None, secret="admin")


async def of_adapter(adapter: VnishAdapter) -> Poll:
    """A read, as the poller asks for it."""
    await adapter.facts()

    async def poll() -> float:
        seen = await adapter.read()
        return seen.readings["hashrate_ths"].usable or 0.0

    return poll


async def adapter(address: str, port: int) -> Poll:
    """Our adapter as the registry opens it."""
    return await of_adapter(open_device(_entry(address, port), OPENS, timeout_s=TIMEOUT_S))


async def adapter_aiohttp(address: str, port: int) -> Poll:
    """Our adapter over aiohttp."""
    http = AiohttpTransport(address, port, timeout_s=TIMEOUT_S)
    return await of_adapter(VnishAdapter(http, OPENS, timeout_s=TIMEOUT_S))


async def guardian(samples: Samples, turns: Turns, address: str, port: int) -> Poll:
    """Read, judge, note for the interlocks, pack for agents."""
    entry = _entry(address, port)
    device = open_device(entry, OPENS, timeout_s=TIMEOUT_S)
    link = DeviceLink(entry, device, samples, SystemClock(), timeout_s=TIMEOUT_S, turns=turns)
    assert await link.read_facts()

    async def poll() -> float:
        return (await link.read()).usable("hashrate_ths") or 0.0

    return poll


class Bare:
    """One aiohttp session for all machines."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def opened(self, address: str, port: int) -> Poll:
        """The two pages, bodies read and forgotten."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
            self._session = aiohttp.ClientSession(connector=connector)
        session = self._session
        pages = [f"http://{address}:{port}/api/v1{page}" for page in ("/status", "/summary")]

        async def poll() -> float:
            for page in pages:
                async with session.get(page) as reply:
                    assert reply.status == 200
                    assert len(await reply.read()) > 20
            return HASHRATE_THS[0]

        return poll


def _entry(address: str, port: int) -> DeviceEntry:
    return DeviceEntry(
        id=DeviceId(address),
        kind=DeviceKind.MINER,
        adapter="vnish",
        host=address,
        port=port,
        zone=ZoneId("z"),
    )


CLIENTS: dict[str, Callable[[str, int], Awaitable[Poll]]] = {
    "guardian": partial(guardian, Samples("bench", Board(), Ring()), Turns()),
    "adapter": adapter,
    "adapter-aiohttp": adapter_aiohttp,
    "aiohttp": Bare().opened,
}

if __name__ == "__main__":
    main(CLIENTS[sys.argv[1]], sys.argv[2:])
