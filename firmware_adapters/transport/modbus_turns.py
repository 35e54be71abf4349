"""Whose turn it is on a connection that takes one request at a time: writes go before reads."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_Queue = deque[asyncio.Future[None]]


class Turns:
    """A lock with two queues. Behind a gateway thirty reads may wait; a fan's command must not wait for them.

    Writes cannot starve reads: the executor bounds how many there are.
    """

    def __init__(self) -> None:
        self._busy = False
        self._urgent: _Queue = deque()
        self._patient: _Queue = deque()

    @asynccontextmanager
    async def take(self, *, urgent: bool) -> AsyncIterator[None]:
        """Wait for the turn, and hand it on afterwards."""
        if self._busy:
            await self._wait(self._urgent if urgent else self._patient)
        self._busy = True
        try:
            yield
        finally:
            self._hand_on()

    async def _wait(self, queue: _Queue) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._hand_on()  # it came in the same moment as the cancellation
            raise

    def _hand_on(self) -> None:
        for queue in (self._urgent, self._patient):
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._busy = False
