"""What an Avalon can do, out of `profiles.toml`: the same for all, and the work modes of the models known."""

import tomllib
from functools import lru_cache
from importlib import resources

import msgspec

from shared.capabilities import Ability, Capability, Preset

_OF_MODES = (Ability.PRESET, Ability.PRESET_LIST)
"""What only a model with known modes can do."""


class Mode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One work mode of one model: the number on the wire, and what it draws and makes."""

    model: str
    number: int
    name: str
    power_w: float
    hashrate_ths: float


class Profiles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file."""

    capability: tuple[Capability, ...]
    mode: tuple[Mode, ...]
    survives_reboot_unknown: tuple[Ability, ...]


@lru_cache(maxsize=1)
def _profiles() -> Profiles:
    text = resources.files(__package__).joinpath("profiles.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Profiles, strict=True)


def modes_of(model: str) -> tuple[Mode, ...]:
    """The model's modes, least power first; empty for a model that has none here."""
    found = (mode for mode in _profiles().mode if mode.model.lower() == model.lower())
    return tuple(sorted(found, key=lambda mode: mode.power_w))


def capabilities_of(model: str) -> tuple[Capability, ...]:
    """What is declared for a machine of this model."""
    declared = _profiles().capability
    if modes_of(model):
        return declared
    return tuple(found for found in declared if found.ability not in _OF_MODES)


def ladder_of(model: str) -> tuple[Preset, ...]:
    """The modes as the guardian counts with them; they come tuned."""
    return tuple(
        Preset(name=mode.name, power_w=mode.power_w, hashrate_ths=mode.hashrate_ths, tuned=True)
        for mode in modes_of(model)
    )
