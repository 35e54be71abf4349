"""HTTP requests that were refused: counted by status, and told in the log, at most once a minute each.

Somebody who tries tokens, or a client that sends nonsense, is seen in `/health/ready` and in the log; but
cannot fill the disk with it. No body, header or query is logged.
"""

import logging
from collections import Counter
from typing import Final

from starlette.types import Message, Scope, Send

from shared.clock import Clock

TELL_S: Final = 60.0
_PATH: Final = 120
_log = logging.getLogger(__name__)


class Refusals:
    """One process's, since its start."""

    def __init__(self, clock: Clock) -> None:
        self.by_status: Counter[int] = Counter()
        """Replies of 400 to 499 by their status."""
        self._clock = clock
        self._told: dict[int, tuple[float, int]] = {}
        """Status → when it was last told (s), and how many there were by then."""

    def heeding(self, scope: Scope, send: Send) -> Send:
        """`send`, and a look at what is sent."""

        async def sender(message: Message) -> None:
            if message["type"] == "http.response.start" and 400 <= message["status"] < 500:
                self._note(scope, message["status"])
            await send(message)

        return sender

    def _note(self, scope: Scope, status: int) -> None:
        self.by_status[status] += 1
        now_s, count = self._clock.monotonic(), self.by_status[status]
        last_s, told = self._told.get(status, (now_s - TELL_S, 0))
        if now_s - last_s < TELL_S:
            return
        self._told[status] = now_s, count
        host = (scope.get("client") or ("somebody",))[0]
        path = ascii(scope["path"][:_PATH])
        text = "refused with %d: %s %s from %s; %d of this status since the last such line"
        _log.warning(text, status, scope["method"], path, host, count - told)
