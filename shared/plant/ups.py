"""A UPS for the gateway and the network: how long the controls live without a grid. All sizes are
[default]."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class UpsParams:
    """`load_w` is what hangs on it (gateway, switches); `charge_w` what it takes to refill."""

    load_w: float = 300.0
    capacity_wh: float = 600.0
    charge_w: float = 120.0
    efficiency: float = 0.9


class Ups:
    """Battery state of one UPS. `charge_wh` 0..capacity; `alive` while it feeds its load."""

    def __init__(self, params: UpsParams) -> None:
        self.params = params
        self.charge_wh = params.capacity_wh
        self.on_battery = False
        self.battery_s = 0.0

    @property
    def charge_pct(self) -> float:
        """Charge in per cent."""
        return 100.0 * self.charge_wh / self.params.capacity_wh

    @property
    def alive(self) -> bool:
        """Whether the load is fed."""
        return not self.on_battery or self.charge_wh > 0.0

    @property
    def minutes_left(self) -> float:
        """Minutes at the present load."""
        return 60.0 * self.charge_wh * self.params.efficiency / self.params.load_w

    def advance(self, dt_s: float, *, grid: bool) -> float:
        """Step by `dt_s`; returns the W taken from the grid."""
        p = self.params
        self.on_battery = not grid
        if grid:
            self.battery_s = 0.0
            refill_w = p.charge_w if self.charge_wh < p.capacity_wh else 0.0
            self.charge_wh = min(p.capacity_wh, self.charge_wh + refill_w * p.efficiency * dt_s / 3600.0)
            return p.load_w / p.efficiency + refill_w
        self.battery_s += dt_s
        self.charge_wh = max(0.0, self.charge_wh - p.load_w / p.efficiency * dt_s / 3600.0)
        return 0.0
