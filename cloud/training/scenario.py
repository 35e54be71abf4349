"""Simulated sites with faults, for evaluation: what runs, what breaks when, and who is really ill.

Everything measured on these is a statement about the simulator (models.md §0.10).
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec
import numpy as np
from numpy.typing import NDArray

from cloud.training.datasets import Windows, windows
from cloud.training.simulated import START_MS, Recording, device_of, record
from shared.features.spec import FeatureSpec, miner_spec
from shared.ids import DeviceId
from shared.plant import FaultName, SitePlant, WeatherSeries, constant_weather, demo_site, synthetic_weather

CHIP_LIMIT_C = 90.0
"""VNish's own critical chip temperature: what a warning must come before (miners.md §5.3)."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One fault on one miner: begins at `at_s` of the test, grows to `severity` over `ramp_s`."""

    fault: FaultName
    miner: int
    at_s: float
    severity: float
    ramp_s: float
    part: int | None = None


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A site that is recorded healthy for `train_s` and then with `events` for `test_s`."""

    name: str
    step_s: int
    poll_s: float
    train_s: float
    test_s: float
    events: tuple[Event, ...]
    varying_weather: bool

    def weather(self, seed: int) -> WeatherSeries:
        """Constant 28 °C, or a summer with days and nights."""
        if not self.varying_weather:
            return constant_weather(28.0, 45.0)
        return synthetic_weather(seed=seed, days=4, start_day=190)


def spread(
    kinds: tuple[tuple[FaultName, int | None, float, float], ...], *, count: int, every_s: float
) -> tuple[Event, ...]:
    """`count` events of each (fault, part, severity, ramp_s), one every `every_s`, on miners far apart."""
    total = count * len(kinds)
    return tuple(
        Event(
            fault=kinds[i % len(kinds)][0],
            part=kinds[i % len(kinds)][1],
            severity=kinds[i % len(kinds)][2],
            ramp_s=kinds[i % len(kinds)][3],
            miner=(i * 47 // total) % 47,
            at_s=every_s * (i + 1),
        )
        for i in range(total)
    )


_FAST = 240.0
_SLOW = 4 * 3600.0

SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "demo": Scenario(
            name="demo",
            step_s=5,
            poll_s=2.0,
            train_s=60.0,
            test_s=600.0,
            varying_weather=False,
            events=spread(
                (
                    (FaultName.FAN_WEAR, None, 0.8, _FAST),
                    (FaultName.FAN_WEAR, 1, 0.8, _FAST),
                    (FaultName.BOARD_DYING, 0, 1.0, _FAST),
                    (FaultName.DUST, None, 1.0, _FAST),
                ),
                count=3,
                every_s=25.0,
            ),
        ),
        "day": Scenario(
            name="day",
            step_s=60,
            poll_s=15.0,
            train_s=24 * 3600.0,
            test_s=24 * 3600.0,
            varying_weather=True,
            events=spread(
                (
                    (FaultName.FAN_WEAR, None, 0.8, _SLOW),
                    (FaultName.FAN_WEAR, 1, 0.8, _SLOW),
                    (FaultName.BOARD_DYING, 0, 1.0, _SLOW),
                    (FaultName.DUST, None, 1.0, _SLOW),
                    (FaultName.PSU, None, 0.9, _SLOW),
                ),
                count=3,
                every_s=4800.0,
            ),
        ),
    }
)


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario that was run: windows before and during the faults, and when chips reached their limit."""

    scenario: Scenario
    spec: FeatureSpec
    train: Windows
    test: Windows
    healthy: Recording
    start_ms: int
    limit_ms: dict[DeviceId, int]
    """First poll at or above 90 °C per device; absent if never."""

    def event_of(self, device: DeviceId) -> Event | None:
        """The fault of a device, None if it stays well."""
        return next((event for event in self.scenario.events if device_of(event.miner) == device), None)

    def ill(self) -> NDArray[np.bool_]:
        """Truth per test window: it ends after its device's fault began. No adjustment of any kind."""
        begins = {device_of(e.miner): self.start_ms + round(e.at_s * 1000) for e in self.scenario.events}
        never = np.iinfo(np.int64).max
        onset = np.array([begins.get(device, never) for device in self.test.devices], dtype=np.int64)
        return self.test.end_ms >= onset


def play(scenario: Scenario, *, seed: int) -> Played:
    """Record the site healthy, then with its faults; SHA-256d machines only. Deterministic for a seed."""
    plant = SitePlant(demo_site(scenario.weather(seed)), seed=seed)
    plant.settle(300)
    healthy = record(plant, scenario.train_s, poll_s=scenario.poll_s, step_s=scenario.step_s)
    start_ms = START_MS + round(scenario.train_s * 1000)
    waiting = sorted(scenario.events, key=lambda event: event.at_s, reverse=True)

    def inject(elapsed_s: float) -> None:
        while waiting and waiting[-1].at_s <= elapsed_s:
            event = waiting.pop()
            plant.inject(event.fault, event.miner, event.severity, ramp_s=event.ramp_s, part=event.part)

    broken = record(
        plant,
        scenario.test_s,
        poll_s=scenario.poll_s,
        step_s=scenario.step_s,
        start_ms=start_ms,
        each_poll=inject,
    )
    limit: dict[DeviceId, int] = {}
    for point in broken.truth:
        for miner in np.flatnonzero(np.array(point.chip_c) >= CHIP_LIMIT_C):
            limit.setdefault(device_of(int(miner)), point.at_ms)
    spec = miner_spec(scenario.step_s)
    return Played(
        scenario=scenario,
        spec=spec,
        train=windows(spec, [row for row in healthy.rows if row.algorithm == "sha256d"]),
        test=windows(spec, [row for row in broken.rows if row.algorithm == "sha256d"]),
        healthy=healthy,
        start_ms=start_ms,
        limit_ms=limit,
    )
