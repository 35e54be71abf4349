"""How far the password of one scan goes: a wrong one must not be tried on every machine of a site.

Each machine tries it once (`transport.read_only`), but a firmware counts refusals and a word that a thousand
machines refuse is a thousand entries in their logs. So after three refusals a firmware's other machines are
looked at without it. As long as nothing has gone well no more than three are under way at once, else all of
them would have it before the first refusal comes back.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from firmware_adapters.capabilities import Credential
from firmware_adapters.discovery.examine import Examined

MOST_REFUSALS = 3


class Logins:
    """The password of one run; None never logs in."""

    def __init__(self, credential: Credential | None) -> None:
        self._credential = credential
        self.refused: Counter[str] = Counter()
        """Firmware → how many of its machines refused the password."""
        self.left_out: Counter[str] = Counter()
        """Firmware → how many were looked at without it afterwards."""
        self._went_well: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()
        self._ended = asyncio.Event()

    async def look(self, adapter: str, look: Callable[[Credential | None], Awaitable[Examined]]) -> Examined:
        """Have a machine looked at with the password, or without it where its firmware refused too often."""
        if self._credential is None:
            return await look(None)
        while not self._stopped(adapter) and self._under_way[adapter] >= self._at_once(adapter):
            await self._ended.wait()
        if self._stopped(adapter):
            self.left_out[adapter] += 1
            return await look(None)
        self._under_way[adapter] += 1
        try:
            found = await look(self._credential)
            if found.password_refused:
                self.refused[adapter] += 1
            elif found.facts is not None:
                self._went_well[adapter] += 1
        finally:
            self._under_way[adapter] -= 1
            self._ended.set()
            self._ended = asyncio.Event()
        return found

    def _stopped(self, adapter: str) -> bool:
        return self.refused[adapter] >= MOST_REFUSALS

    def _at_once(self, adapter: str) -> int:
        """So many may be under way: more with each that went well, so a large site is soon at full speed."""
        return MOST_REFUSALS - self.refused[adapter] + self._went_well[adapter]


def refusals(refused: dict[str, int], left_out: dict[str, int]) -> list[str]:
    """A sentence for each firmware whose machines refused the password."""
    out = []
    for adapter, count in sorted(refused.items()):
        words = f"{adapter}: {count} machine{'s' if count != 1 else ''} refused the password"
        others = left_out.get(adapter, 0)
        out.append(f"{words}, so {others} more were not logged in to" if others else words)
    return out
