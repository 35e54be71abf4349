"""What makes two machines of one model differ, and the model tables that a fleet looks up by index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.plant.chips import split_ladder
from shared.plant.ladders import MinerModel

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, slots=True)
class LotteryParams:
    """Spread between boards and machines, all [default] of plant.md §1.6 (board-level; chips are not
    resolved)."""

    machine_margin_sd_mv: float = 4.0
    board_margin_sd_mv: float = 5.0
    capacitance_sd: float = 0.02
    leakage_log_sd: float = 0.25
    metered_bias_sd: float = 0.005
    estimated_bias_sd: float = 0.025


@dataclass(frozen=True, kw_only=True, slots=True)
class Lottery:
    """One draw: `margin_mv`, `capacitance` and `leakage` are (n, boards), `power_bias` (n,) is the firmware's
    own error."""

    margin_mv: Floats
    capacitance: Floats
    leakage: Floats
    power_bias: Floats


def draw_lottery(
    rng: np.random.Generator, boards: int, metered: NDArray[np.bool_], params: LotteryParams
) -> Lottery:
    """Draw machines and boards; leakage has mean 1, so a fleet's mean power stays on its labels."""
    n = metered.shape[0]
    sigma = params.leakage_log_sd
    machine = rng.normal(0.0, params.machine_margin_sd_mv, (n, 1))
    return Lottery(
        margin_mv=machine + rng.normal(0.0, params.board_margin_sd_mv, (n, boards)),
        capacitance=np.clip(rng.normal(1.0, params.capacitance_sd, (n, boards)), 0.9, 1.1),
        leakage=np.clip(rng.lognormal(-sigma * sigma / 2.0, sigma, (n, boards)), 0.4, 2.5),
        power_bias=rng.normal(0.0, np.where(metered, params.metered_bias_sd, params.estimated_bias_sd)),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class RungTables:
    """Ladders of all models of a fleet, padded to (models, longest ladder); units in the names."""

    rungs: Ints
    label_w: Floats
    dynamic_w: Floats
    leak_w: Floats
    hashrate_hs: Floats
    freq_mhz: Floats
    volt_v: Floats


def rung_tables(models: Sequence[MinerModel]) -> RungTables:
    """Stack the ladders of `models`; padding is NaN and never looked up, because commands check the rung."""
    rungs = np.array([len(model.presets) for model in models], dtype=np.intp)

    def stack(rows: list[list[float]]) -> Floats:
        table = np.full((len(models), int(rungs.max())), np.nan)
        for row, values in enumerate(rows):
            table[row, : len(values)] = values
        return table

    splits = [split_ladder(model) for model in models]
    return RungTables(
        rungs=rungs,
        label_w=stack([[p.power_w for p in model.presets] for model in models]),
        dynamic_w=stack([list(dynamic) for dynamic, _ in splits]),
        leak_w=stack([list(leak) for _, leak in splits]),
        hashrate_hs=stack([[p.hashrate * model.hashes_per_unit for p in model.presets] for model in models]),
        freq_mhz=stack([[p.freq_mhz for p in model.presets] for model in models]),
        volt_v=stack([[p.volt_v for p in model.presets] for model in models]),
    )
