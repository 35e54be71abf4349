"""Small running statistics in bounded memory: quantiles, latencies, correlation, and how sure a rate is."""

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

_KEEP: Final = 4_096
_WINDOW: Final = 100


def quantile(values: Sequence[float], q: float) -> float | None:
    """The nearest-rank quantile; None for no values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(math.ceil(q * len(ordered)), 1) - 1]


def binomial_tail(n: int, k: int, p: float) -> float:
    """P(at least `k` of `n`) where each happens with probability `p`: how well chance explains `k`."""
    if k <= 0:
        return 1.0
    if p <= 0.0:
        return 0.0
    if p >= 1.0:
        return 1.0
    logs = (
        math.lgamma(n + 1)
        - math.lgamma(i + 1)
        - math.lgamma(n - i + 1)
        + i * math.log(p)
        + (n - i) * math.log1p(-p)
        for i in range(k, n + 1)
    )
    return min(1.0, math.fsum(map(math.exp, logs)))


class Decimated:
    """Evenly spaced values of a long stream: when full, every other one goes and the spacing doubles."""

    def __init__(self, keep: int = _KEEP) -> None:
        self.values: list[float] = []
        self._keep = keep
        self._stride = 1
        self._seen = 0

    def add(self, value: float) -> None:
        if self._seen % self._stride == 0:
            self.values.append(value)
            if len(self.values) >= self._keep:
                del self.values[1::2]
                self._stride *= 2
        self._seen += 1


class Correlation:
    """Pearson's, of a stream of pairs; Welford's sums, which do not cancel."""

    def __init__(self) -> None:
        self.n = 0
        self._mean_x = self._mean_y = self._xx = self._yy = self._xy = 0.0

    def add(self, x: float, y: float) -> None:
        self.n += 1
        dx, dy = x - self._mean_x, y - self._mean_y
        self._mean_x += dx / self.n
        self._mean_y += dy / self.n
        self._xx += dx * (x - self._mean_x)
        self._yy += dy * (y - self._mean_y)
        self._xy += dx * (y - self._mean_y)

    @property
    def value(self) -> float | None:
        """-1..1; None while one of the two has not moved."""
        size = math.sqrt(self._xx * self._yy)
        return max(-1.0, min(1.0, self._xy / size)) if self.n > 2 and size > 1e-12 else None


class Latencies:
    """How long the last cycles took, in ms."""

    FEW: Final = 10
    MANY: Final = _WINDOW

    def __init__(self) -> None:
        self._took: deque[float] = deque(maxlen=_WINDOW)

    def add(self, took_ms: float) -> None:
        self._took.append(took_ms)

    @property
    def p99_ms(self) -> float | None:
        """Over the last hundred cycles; None before the first."""
        return quantile(tuple(self._took), 0.99)

    def over(self, budget_ms: float) -> str:
        """Why these latencies break the budget, or nothing.

        One slow cycle is a busy gateway. The median of the last ten says "too slow" early; the p99 of a
        whole window says "too slow now and then" without one outlier being enough.
        """
        took = tuple(self._took)
        median = quantile(took[-self.FEW :], 0.5)
        if len(took) >= self.FEW and median is not None and median > budget_ms:
            return (
                f"half of the last {self.FEW} cycles took over {median:.0f} ms, allowed are {budget_ms:g} ms"
            )
        p99 = quantile(took, 0.99)
        if len(took) == self.MANY and p99 is not None and p99 > budget_ms:
            return f"p99 of the last {self.MANY} cycles is {p99:.0f} ms, allowed are {budget_ms:g} ms"
        return ""
