"""What a firmware's `profiles.toml` declares, and the points that every miner's observation names."""

import tomllib
from functools import lru_cache
from importlib import resources

import msgspec

from shared.capabilities import Capability

CORE_POINTS = (
    "hashrate_ths",
    "hashrate_nominal_ths",
    "power_w",
    "chip_temp_max_c",
    "chip_temp_min_c",
    "board_temp_max_c",
    "board_temp_min_c",
)
"""Points that every observation names, MISSING where no reply said."""


@lru_cache(maxsize=32)
def declared(package: str) -> tuple[Capability, ...]:
    """The abilities in the `profiles.toml` of a firmware's package."""
    text = resources.files(package).joinpath("profiles.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text)["capability"], tuple[Capability, ...], strict=True)
