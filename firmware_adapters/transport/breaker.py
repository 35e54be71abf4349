"""A circuit breaker: stop asking what does not answer, and ask again at growing intervals.

Closed → (a run of failures) → open → (the wait is over) → one probe → closed or open for twice as long. The
jitter is derived from the key and the attempt, so a run can be repeated and many devices still spread out.
"""

import zlib

from shared.clock import Clock


class CircuitBreaker:
    """One breaker guards one thing that may stay silent: a Modbus unit, a TCP endpoint, an SNMP agent.

    `threshold` failures in a row open it; it then refuses for `base_s`, doubling up to `max_s`, ±20 %.
    """

    def __init__(
        self, key: str, clock: Clock, *, threshold: int = 3, base_s: float = 1.0, max_s: float = 30.0
    ) -> None:
        self._key = key
        self._clock = clock
        self._threshold = threshold
        self._base_s = base_s
        self._max_s = max_s
        self._failures = 0
        self._openings = 0
        self._open_until: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether requests are refused, or allowed only as a probe."""
        return self._open_until is not None

    @property
    def is_failing(self) -> bool:
        """Whether the last answer that was waited for did not come."""
        return self._failures > 0

    @property
    def wait_s(self) -> float:
        """Seconds until the next probe is due; 0 when a request may go now."""
        return max(0.0, self._open_until - self._clock.monotonic()) if self._open_until is not None else 0.0

    def admit(self) -> bool:
        """Whether one request may go now. While open, only the first caller after the wait: the probe."""
        if self._open_until is None:
            return True
        if self._probing or self.wait_s > 0:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """A good answer came: close."""
        self._failures = 0
        self._openings = 0
        self._open_until = None
        self._probing = False

    def failed(self, *, at_once: bool = False) -> None:
        """No good answer came; opens at the threshold or `at_once`, and for longer after a failed probe."""
        self._failures += 1
        if at_once or self._failures >= self._threshold:
            self._open_until = self._clock.monotonic() + self._delay_s()
            self._openings += 1
        self._probing = False

    def abandoned(self) -> None:
        """The request was cancelled before it could tell anything; let the next one probe."""
        self._probing = False

    def _delay_s(self) -> float:
        exponent = min(self._openings, 16)
        spread = zlib.crc32(f"{self._key}:{self._openings}".encode()) / 2**32
        return float(min(self._base_s * 2**exponent, self._max_s)) * (0.8 + 0.4 * spread)
