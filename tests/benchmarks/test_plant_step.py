"""How long one second of a 5,000-miner site takes to compute."""

from collections.abc import Callable

import numpy as np

from shared.plant import SitePlant, SiteSpec, constant_weather, mixed_container
from support.benchmark import Line, in_turns, seconds

CONTAINERS, PER_CONTAINER = 50, 100
BUDGET_MS = 5.0
STEPS = 20


def _site() -> SitePlant:
    zones = [
        mixed_container(f"c{number}", s19j_pro=PER_CONTAINER // 2, s21_pro=PER_CONTAINER // 2, l9=0)
        for number in range(CONTAINERS)
    ]
    return SitePlant(SiteSpec(zones=zones, weather=constant_weather(18.0, 50.0)), seed=1)


def test_plant_step(report: Callable[[Line], None]) -> None:
    plant = _site()
    plant.settle(60)
    assert plant.fleet.n == 5_000
    # One transcendental over 100 numbers per miner: something that every numpy user can feel.
    numbers = np.linspace(-1.0, 1.0, 100 * plant.fleet.n)
    out = np.empty_like(numbers)

    def advance() -> None:
        for _ in range(STEPS):
            plant.step(1.0)

    def ours() -> float:
        return seconds(advance) * 1000 / STEPS

    def peer() -> float:
        return seconds(lambda: [np.exp(numbers, out=out) for _ in range(STEPS)]) * 1000 / STEPS

    began_s = plant.time_s
    turns = in_turns(ours, peer)
    assert plant.time_s - began_s == STEPS * (len(turns.ours) + 1), "every step must have advanced the site"
    assert np.ptp(plant.fleet.chip_c) > 1.0, "machines must differ, or nothing was simulated"
    line = turns.line(
        "plant step",
        unit="ms",
        peer="numpy exp over 100 float64 per miner",
        n=plant.fleet.n,
        more={"budget_ms": BUDGET_MS},
    )
    report(line)
