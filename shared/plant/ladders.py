"""Miner models and their preset ladders, read from `ladders.toml`.

A ladder is what a firmware offers: rungs with a label in watts at the wall and a hashrate. SHA-256d and
scrypt hashrates are different quantities, so every model carries its `algorithm` and nothing here or
elsewhere in the plant adds them up. Sources per model stand in the data file (plant.md §1.1-1.2, miners.md
§5.3); the L9 is a [default].
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np

Algorithm = Literal["sha256d", "scrypt"]
Cooling = Literal["air", "hydro"]

ALGORITHMS: Final[tuple[Algorithm, ...]] = ("sha256d", "scrypt")
HASHES_PER_UNIT: Final[Mapping[str, float]] = MappingProxyType({"TH/s": 1e12, "GH/s": 1e9})
UNIT_OF_ALGORITHM: Final[Mapping[Algorithm, str]] = MappingProxyType({"sha256d": "TH/s", "scrypt": "GH/s"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """One rung: label power in W at the wall, hashrate in the model's own unit, chip clock and board
    voltage."""

    power_w: float
    hashrate: float
    freq_mhz: float
    volt_v: float
    modded_psu: bool

    @property
    def name(self) -> str:
        """The firmware's name of the rung, e.g. `"2700"`."""
        return f"{self.power_w:.0f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class MinerModel:
    """A miner model. `hashes_per_clock` is per chip, `flow_max_m3s` air at 6000 rpm, `psu_rated_w` at the
    wall."""

    name: str
    algorithm: Algorithm
    hashrate_unit: str
    source: str
    boards: int
    chips_per_board: int
    hashes_per_clock: float
    fans: int
    cooling: Cooling
    leak_share: float
    psu_rated_w: float
    psu_metering: bool
    flow_max_m3s: float
    stock_preset: int
    presets: tuple[Preset, ...]

    @property
    def hashes_per_unit(self) -> float:
        """Hashes per second in one `hashrate_unit` (1e12 for TH/s, 1e9 for GH/s)."""
        return HASHES_PER_UNIT[self.hashrate_unit]

    def preset_index(self, name: str) -> int:
        """Index of the rung called `name`.

        Raises:
            KeyError: the ladder has no such rung (the firmware answers HTTP 400).
        """
        for index, preset in enumerate(self.presets):
            if preset.name == name:
                return index
        raise KeyError(f"{self.name} has no preset {name!r}")


def _fill(hashrates: list[float], rows: list[list[float]], column: int) -> list[float]:
    known = [(row[1], row[column]) for row in rows if len(row) > column]
    if not known:
        raise ValueError("a ladder needs at least one rung with MHz and V")
    xs, ys = zip(*known, strict=True)
    return [float(value) for value in np.interp(hashrates, xs, ys)]


def _model(name: str, raw: Mapping[str, Any]) -> MinerModel:
    fields = dict(raw)
    rows: list[list[float]] = fields.pop("presets")
    hashrates = [float(row[1]) for row in rows]
    if sorted(hashrates) != hashrates:
        raise ValueError(f"{name}: rungs must rise in hashrate")
    if fields["hashrate_unit"] != UNIT_OF_ALGORITHM[fields["algorithm"]]:
        raise ValueError(f"{name}: {fields['algorithm']} is not counted in {fields['hashrate_unit']}")
    if not 0 <= fields["stock_preset"] < len(rows):
        raise ValueError(f"{name}: stock_preset is not a rung")
    freqs, volts = _fill(hashrates, rows, 2), _fill(hashrates, rows, 3)
    presets = tuple(
        Preset(
            power_w=float(row[0]),
            hashrate=float(row[1]),
            freq_mhz=freq,
            volt_v=volt,
            modded_psu=row[0] > fields["psu_rated_w"],
        )
        for row, freq, volt in zip(rows, freqs, volts, strict=True)
    )
    return MinerModel(name=name, presets=presets, **fields)


@lru_cache(maxsize=1)
def load_ladders() -> Mapping[str, MinerModel]:
    """All models shipped with the plant, by name (read-only).

    Raises:
        ValueError: the data file contradicts itself (unit against algorithm, unsorted rungs).
    """
    text = resources.files(__package__).joinpath("ladders.toml").read_text(encoding="utf-8")
    return MappingProxyType({name: _model(name, raw) for name, raw in tomllib.loads(text).items()})
