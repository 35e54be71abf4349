"""Which faults run on a site, and how each of them bends the plant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

from shared.plant.air import AirZones
from shared.plant.faults import HAZARDS, PART_FAULTS, ZONE_FAULTS, Fault, FaultName
from shared.plant.hydro import HydroLoops
from shared.plant.miner import MinerFleet


class FaultBoard:
    """Running faults of one site; `apply` writes their present level into fleet and zones."""

    def __init__(
        self,
        fleet: MinerFleet,
        air: AirZones,
        hydro: HydroLoops,
        air_index: Mapping[int, int],
        hydro_index: Mapping[int, int],
    ) -> None:
        self._fleet, self._air, self._hydro = fleet, air, hydro
        self._air_index, self._hydro_index = air_index, hydro_index
        self._running: dict[tuple[FaultName, int, int], Fault] = {}
        self._heals_s: dict[tuple[FaultName, int, int], float] = {}

    @property
    def active(self) -> Sequence[Fault]:
        """Running faults in order of their beginning."""
        return tuple(self._running.values())

    def inject(
        self, name: FaultName, target: int, severity: float, *, ramp_s: float, part: int, time_s: float
    ) -> Fault:
        """Begin a fault. Raises ValueError for a target, part or severity that makes no sense."""
        if not 0.0 < severity <= 1.0 or not ramp_s >= 0.0:
            raise ValueError("severity is in (0, 1] and a ramp is not negative")
        self._check_target(name, target, part)
        fault = Fault(name=name, target=target, part=part, severity=severity, ramp_s=ramp_s, began_s=time_s)
        if name is FaultName.SENSOR_STUCK:
            self._fleet.condition.stuck_c[target, part] = self._fleet.pcb_out_c[target, part]
        self._running[fault.key] = fault
        self._heals_s.pop(fault.key, None)
        self._set(fault, fault.level(time_s))
        return fault

    def begin_drawn(self, begun: Sequence[tuple[FaultName, int, int]], time_s: float) -> None:
        """Begin what the hazards drew; a part that a machine does not have cannot fail."""
        for name, miner, part in begun:
            if not self._has_part(name, miner, part) or (name, miner, part) in self._running:
                continue
            hazard = HAZARDS[name]
            fault = self.inject(name, miner, 1.0, ramp_s=hazard.ramp_h * 3600.0, part=part, time_s=time_s)
            self._heals_s[fault.key] = time_s + hazard.lasts_h * 3600.0

    def clear(self, name: FaultName, target: int, part: int | None) -> None:
        """End a fault on one part or on all; a fault that does not run is none."""
        for key in [k for k in self._running if k[:2] == (name, target) and part in (None, k[2])]:
            self._set(self._running.pop(key), 0.0)
            self._heals_s.pop(key, None)

    def apply(self, time_s: float) -> None:
        """Write present levels; heal what only lasts a while."""
        for key in [k for k, heals in self._heals_s.items() if heals <= time_s]:
            self.clear(*key)
        for fault in self._running.values():
            self._set(fault, fault.level(time_s))

    def _has_part(self, name: FaultName, miner: int, part: int) -> bool:
        if name is FaultName.FAN_WEAR:
            return 0 <= part < 4 and bool(self._fleet.fans_exist[miner, part])
        if name in PART_FAULTS:
            exist = self._fleet.boards_exist
            return 0 <= part < exist.shape[1] and bool(exist[miner, part])
        return part == 0

    def _check_target(self, name: FaultName, target: int, part: int) -> None:
        if name in ZONE_FAULTS:
            index = self._hydro_index if name is FaultName.COOLANT_FLOW_LOST else self._air_index
            if target not in index or part != 0:
                raise ValueError(f"{name} does not apply to zone {target}")
        elif not 0 <= target < self._fleet.n or not self._has_part(name, target, part):
            raise ValueError(f"{name} does not apply to miner {target}, part {part}")

    def _set(self, fault: Fault, level: float) -> None:
        condition, target, part = self._fleet.condition, fault.target, fault.part
        match fault.name:
            case FaultName.FAN_WEAR:
                condition.fan_wear[target, part] = level
            case FaultName.BOARD_DYING:
                condition.board_decay[target, part] = level
            case FaultName.DUST:
                condition.dust[target] = level
            case FaultName.PSU:
                condition.psu_decay[target] = level
            case FaultName.SENSOR_STUCK:
                condition.stuck[target, part] = level > 0.0
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
