"""Which faults run on a site, and how each of them bends the plant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import numpy as np

from shared.plant.faults import HAZARDS, PART_FAULTS, ZONE_FAULTS, Fault, FaultKey, FaultName
from shared.plant.miner import MinerFleet
from shared.plant.zones import Zones


class FaultBoard:
    """Running faults of one site; `apply` writes their present level into fleet and zones."""

    def __init__(self, fleet: MinerFleet, zones: Zones) -> None:
        self._fleet, self._air, self._hydro = fleet, zones.air, zones.hydro
        self._air_index, self._hydro_index = zones.air_index, zones.hydro_index
        self._running: dict[FaultKey, Fault] = {}
        self._heals_s: dict[FaultKey, float] = {}

    @property
    def active(self) -> Sequence[Fault]:
        """Running faults in order of their beginning."""
        return tuple(self._running.values())

    def inject(
        self, name: FaultName, target: int, severity: float, *, ramp_s: float, part: int | None, time_s: float
    ) -> Fault:
        """Begin a fault. Raises ValueError for a target, part, severity or ramp that makes no sense."""
        if not 0.0 < severity <= 1.0 or not ramp_s >= 0.0:
            raise ValueError("severity is in (0, 1] and a ramp is not negative")
        self._check_target(name, target, part)
        if name not in PART_FAULTS:
            part = None
        fault = Fault(name=name, target=target, part=part, severity=severity, ramp_s=ramp_s, began_s=time_s)
        if name is FaultName.SENSOR_STUCK:
            boards = slice(None) if part is None else slice(part, part + 1)
            self._fleet.condition.stuck_c[target, boards] = self._fleet.pcb_out_c[target, boards]
        self._running[fault.key] = fault
        self._heals_s.pop(fault.key, None)
        self._write(time_s)
        return fault

    def begin_drawn(self, begun: Sequence[tuple[FaultName, int, int]], time_s: float) -> None:
        """Begin what the hazards drew; a part that a machine does not have cannot fail."""
        for name, miner, part in begun:
            hazard = HAZARDS[name]
            key = (name, miner, part if name in PART_FAULTS else None)
            if not self._has_part(name, miner, part) or key in self._running:
                continue
            fault = self.inject(name, miner, 1.0, ramp_s=hazard.ramp_h * 3600.0, part=part, time_s=time_s)
            self._heals_s[fault.key] = time_s + hazard.lasts_h * 3600.0

    def clear(self, name: FaultName, target: int, part: int | None, *, time_s: float) -> None:
        """End a fault on one part, or (None) wherever it runs; a fault that does not run is none."""
        for key in [k for k in self._running if k[:2] == (name, target) and part in (None, k[2])]:
            del self._running[key]
            self._heals_s.pop(key, None)
        self._write(time_s)

    def apply(self, time_s: float) -> None:
        """Write present levels; heal what only lasts a while."""
        for key in [k for k, heals in self._heals_s.items() if heals <= time_s]:
            self.clear(*key, time_s=time_s)
        if self._running:
            self._write(time_s)

    def _write(self, time_s: float) -> None:
        self._restore()
        for fault in self._running.values():
            self._raise(fault, fault.level(time_s))

    def _has_part(self, name: FaultName, miner: int, part: int | None) -> bool:
        if part is None:
            return name is not FaultName.FAN_WEAR or bool(self._fleet.has_fans[miner])
        if name not in PART_FAULTS:
            return part == 0
        exist = self._fleet.fans_exist if name is FaultName.FAN_WEAR else self._fleet.boards_exist
        return 0 <= part < exist.shape[1] and bool(exist[miner, part])

    def _check_target(self, name: FaultName, target: int, part: int | None) -> None:
        if name in ZONE_FAULTS:
            index = self._hydro_index if name is FaultName.COOLANT_FLOW_LOST else self._air_index
            if target not in index or part not in (0, None):
                raise ValueError(f"{name} does not apply to zone {target}")
        elif not 0 <= target < self._fleet.n or not self._has_part(name, target, part):
            raise ValueError(f"{name} does not apply to miner {target}, part {part}")

    def _restore(self) -> None:
        condition = self._fleet.condition
        for levels in (condition.fan_wear, condition.board_decay, condition.dust, condition.psu_decay):
            levels[:] = 0.0
        condition.net_drop[:] = 0.0
        condition.stuck[:] = False
        for lost in (self._air.pump_lost, self._air.wall.lost, self._hydro.pump.lost):
            lost[:] = 0.0

    def _raise(self, fault: Fault, level: float) -> None:
        condition, target = self._fleet.condition, fault.target
        part = slice(None) if fault.part is None else slice(fault.part, fault.part + 1)
        match fault.name:
            case FaultName.FAN_WEAR:
                condition.fan_wear[target, part] = np.maximum(condition.fan_wear[target, part], level)
            case FaultName.BOARD_DYING:
                condition.board_decay[target, part] = np.maximum(condition.board_decay[target, part], level)
            case FaultName.SENSOR_STUCK:
                condition.stuck[target, part] = True
            case FaultName.DUST:
                condition.dust[target] = level
            case FaultName.PSU:
                condition.psu_decay[target] = level
            case FaultName.NETWORK_DROP:
                condition.net_drop[target] = level
            case FaultName.PAD_PUMP_STOPPED:
                self._air.pump_lost[self._air_index[target]] = level
            case FaultName.EXHAUST_FAN_STOPPED:
                self._air.wall.lost[self._air_index[target]] = level
            case FaultName.COOLANT_FLOW_LOST:
                self._hydro.pump.lost[self._hydro_index[target]] = level
            case _:
                assert_never(fault.name)
