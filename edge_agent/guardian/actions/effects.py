"""What devices did over a window of samples: the numbers of an outcome's before and after. Pure.

Means over time first, then over devices; a device that told nothing counts in no mean. Energy per hash is the
ratio of the means of those that told both.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from statistics import fmean

from edge_agent.ipc import Effect
from shared.ids import DeviceId
from shared.telemetry import Sample
from shared.units import joule_per_terahash


def by_device(samples: Iterable[Sample]) -> dict[DeviceId, list[Sample]]:
    """The good samples of each device, oldest first."""
    found: dict[DeviceId, list[Sample]] = {}
    for sample in samples:
        if sample.failure is None:
            found.setdefault(sample.device, []).append(sample)
    return found


def effect(samples: Mapping[DeviceId, list[Sample]], devices: Iterable[DeviceId]) -> Effect:
    """What these devices did, per device (W, TH/s, °C, J/TH, % of shares); None is unknown."""
    rows = [samples[device] for device in devices if samples.get(device)]
    power_w = [_mean(row, "power_w") for row in rows]
    hashrate_ths = [_mean(row, "hashrate_ths") for row in rows]
    both = [
        (w, ths) for w, ths in zip(power_w, hashrate_ths, strict=True) if w is not None and ths is not None
    ]
    return Effect(
        hashrate_ths=_over(hashrate_ths),
        power_w=_over(power_w),
        chip_temp_c=_over([_mean(row, "chip_temp_max_c") for row in rows]),
        j_per_th=joule_per_terahash(sum(w for w, _ in both), sum(ths for _, ths in both)) if both else None,
        rejects_pct=_rejects(rows),
    )


def _mean(row: list[Sample], metric: str) -> float | None:
    """Mean over time of the highest value of each sample."""
    values = [max(values) for sample in row if (values := sample.values(metric))]
    return fmean(values) if values else None


def _over(means: list[float | None]) -> float | None:
    known = [mean for mean in means if mean is not None]
    return fmean(known) if known else None


def _rejects(rows: list[list[Sample]]) -> float | None:
    """Rejected of all shares inside the window; None without shares, or where a counter began anew."""
    rejected = accepted = 0.0
    for row in rows:
        gained = _gained(row, "shares_rejected"), _gained(row, "shares_accepted")
        if gained[0] is None or gained[1] is None:
            continue
        rejected, accepted = rejected + gained[0], accepted + gained[1]
    return 100.0 * rejected / (rejected + accepted) if rejected + accepted > 0 else None


def _gained(row: list[Sample], point: str) -> float | None:
    known = [value for sample in row if (value := sample.usable(point)) is not None]
    if len(known) < 2 or any(later < earlier for earlier, later in pairwise(known)):
        return None
    return known[-1] - known[0]
