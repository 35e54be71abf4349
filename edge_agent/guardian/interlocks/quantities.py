"""What the limits of a zone are called by people, and in which unit."""

from types import MappingProxyType

import msgspec

from edge_agent.config import HighLimits
from edge_agent.guardian.interlocks.levels import Limits


class Quantity(msgspec.Struct, frozen=True):
    """Words and unit of one of a zone's quantities."""

    words: str
    unit: str

    def shown(self, value: float | None) -> str:
        return "unknown" if value is None else f"{value:.4g} {self.unit}"


QUANTITIES: MappingProxyType[str, Quantity] = MappingProxyType(
    {
        "inlet_air_c": Quantity("inlet air", "°C"),
        "water_c": Quantity("water temperature", "°C"),
        "water_min_c": Quantity("water temperature", "°C"),
        "flow_m3h": Quantity("water flow", "m³/h"),
        "pressure_pa": Quantity("water pressure", "Pa"),
        "dew_margin_c": Quantity("margin to the dew point", "K"),
    }
)
"""By the name of the limits in the site file."""


def beyond(limits: Limits) -> str:
    """Which side of these limits is the dangerous one."""
    return "above" if isinstance(limits, HighLimits) else "below"
