"""The plant as a data source: an offline site, polled like a real one, with the truth beside it.

No public ASIC telemetry with failure labels was found (models.md §0.10), so faults for evaluation come from
`shared.plant`. What is learned here is about the simulator; every table made from it says so.
"""

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.features.rollup import RollupAggregator
from shared.ids import DeviceId
from shared.plant import MinerState as PlantState
from shared.plant import SitePlant
from shared.telemetry import DeviceKind, MinerState, Quality, Reading, RollupRow, Sample
from shared.units import Algorithm

START_MS = 1_780_000_000_000
HASHES_PER_TERA = 1e12


class TruthPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What is true at the end of one poll: hottest firmware chip temperature per miner, deg C."""

    at_ms: int
    chip_c: tuple[float, ...]


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """Roll-up rows of a simulated site, its miners' models, and the truth per poll."""

    rows: list[RollupRow]
    models: dict[DeviceId, str]
    truth: list[TruthPoint]


def device_of(miner: int) -> DeviceId:
    """The id of the plant's miner number `miner`."""
    return DeviceId(f"m{miner:04d}")


def samples(plant: SitePlant, *, at_ms: int, seq: int) -> list[Sample]:
    """One poll of every miner; unreachable ones give a failed sample."""
    seen = plant.fleet.observe()
    found: list[Sample] = []
    for miner, model in enumerate(plant.fleet.models):
        rung = model.presets[int(seen.preset[miner])]
        reachable = bool(seen.reachable[miner])
        readings: dict[str, Reading] = {}
        if reachable:
            numbers = {
                "hashrate_ths": seen.hashrate_hs[miner] / HASHES_PER_TERA,
                "hashrate_nominal_ths": seen.nominal_hs[miner] / HASHES_PER_TERA,
                "fan_duty_pct": seen.fan_duty_pct[miner],
                "hw_errors": seen.hw_errors[miner].sum(),
                "shares_accepted": seen.accepted[miner],
                "shares_rejected": seen.rejected[miner],
                "preset_w": rung.power_w,
                "boards_working": seen.board_present[miner].sum(),
            }
            numbers |= {f"fan_rpm.{i + 1}": rpm for i, rpm in enumerate(seen.fan_rpm[miner, : model.fans])}
            readings = {name: Reading(float(value)) for name, value in numbers.items()}
            metering = Quality.GOOD if seen.power_metered[miner] else Quality.ESTIMATED
            readings["power_w"] = Reading(float(seen.power_w[miner]), metering)
            readings |= _temperatures(seen.pcb_out_c[miner], seen.chip_out_c[miner])
        found.append(
            Sample(
                device=device_of(miner),
                kind=DeviceKind.MINER,
                at_s=plant.time_s,
                at_ms=at_ms,
                boot="sim",
                seq=seq + miner,
                state=MinerState(PlantState(int(seen.state[miner])).label) if reachable else None,
                algorithm=Algorithm(model.algorithm),
                readings=readings,
                preset=rung.name if reachable else None,
                failure=None if reachable else "unreachable",
            )
        )
    return found


def _temperatures(board: NDArray[np.int64], chip: NDArray[np.int64]) -> dict[str, Reading]:
    """Hottest board and chip; zero means that the firmware has none (miners.md §1.5)."""
    if not board.any():
        return {}
    return {
        "board_temp_max_c": Reading(float(board.max())),
        "chip_temp_max_c": Reading(float(chip.max()), Quality.ESTIMATED),
    }


def record(
    plant: SitePlant,
    seconds: float,
    *,
    poll_s: float,
    step_s: int,
    start_ms: int = START_MS,
    each_poll: Callable[[float], None] | None = None,
) -> Recording:
    """Run `plant` for `seconds`, polling every `poll_s`; `each_poll(elapsed_s)` may inject faults."""
    aggregator = RollupAggregator(step_s)
    rows: list[RollupRow] = []
    truth: list[TruthPoint] = []
    at_ms = start_ms
    for poll in range(int(seconds / poll_s)):
        if each_poll is not None:
            each_poll(poll * poll_s)
        plant.step(poll_s)
        for sample in samples(plant, at_ms=at_ms, seq=poll * plant.fleet.n):
            aggregator.add(sample)
        chips = tuple(float(c) for c in plant.fleet.firmware_chip_max_c)
        truth.append(TruthPoint(at_ms=at_ms, chip_c=chips))
        at_ms += round(poll_s * 1000)
        rows += aggregator.close_before(at_ms)
    rows += aggregator.close_before(at_ms + 10 * step_s * 1000)
    models = {device_of(i): model.name for i, model in enumerate(plant.fleet.models)}
    return Recording(rows=rows, models=models, truth=truth)
