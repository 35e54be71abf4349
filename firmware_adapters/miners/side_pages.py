"""Pages without which a read still tells something: one that fails costs what it tells, and nothing else.

A machine has one page that says whether it mines and what it draws, and a handful of others that releases
lack, close in some states, or hang on. What such a page would tell is unknown then; a zero or an older value
never stands in for it. A page that hangs may take half of the time that is left: the next one has a chance.
"""

import asyncio
import logging
from collections.abc import Awaitable
from typing import TypeVar

from shared.errors import Busy, DeviceTimeout, MalformedReply, Unreachable, Unsupported

NOT_TOLD = (Busy, DeviceTimeout, MalformedReply, Unreachable, Unsupported)
"""Ways in which a page is not read. A refused password is none: it must not be tried again at once."""

T = TypeVar("T")
_log = logging.getLogger(__name__)


class SidePages:
    """The side pages of one read that has to end at `ends_s` (the loop's clock, s); `name` stands in logs."""

    def __init__(self, name: str, ends_s: float) -> None:
        self._name = name
        self._ends_s = ends_s

    async def ask(self, page: str, asking: Awaitable[T]) -> T | None:
        """What the page tells, or None where it did not come. Raises `AuthFailed`."""
        now_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(now_s + (self._ends_s - now_s) / 2):
                return await asking
        except TimeoutError:
            _log.debug("%s: %s not read: no whole answer in its time", self._name, page)
        except NOT_TOLD as error:
            _log.debug("%s: %s not read: %s", self._name, page, error)
        return None
