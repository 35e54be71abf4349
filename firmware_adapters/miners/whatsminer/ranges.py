"""A wanted number held against the range that is declared for it; for both APIs."""

import math
from collections.abc import Iterable

from shared.capabilities import Ability, Capability
from shared.errors import Unsupported


def whole_within(capabilities: Iterable[Capability], ability: Ability, value: float, unit: str) -> int:
    """`value` rounded down, because every such number here is a ceiling. Raises `Unsupported` outside."""
    declared = next(found for found in capabilities if found.ability is ability)
    low, high = declared.low, declared.high
    if low is None or high is None or not math.isfinite(value) or not low <= value <= high:
        raise Unsupported(f"{ability}: {value:g} {unit} is not within {low} to {high} {unit}")
    return math.floor(value)
