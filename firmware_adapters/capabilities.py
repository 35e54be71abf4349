"""What an adapter can do: one small Protocol per ability, all async, all with a deadline by the caller.

An adapter is one object per device. It declares its abilities as data (`shared.capabilities`) and
implements the matching Protocols; the contract suite asserts declared = implemented. Reads return
readings or raise from the `DeviceError` tree, never a default. Writes return once the device *accepted*
the request, or raise; whether it took effect is for a later read to say, so no method here returns
`True`.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from shared.capabilities import Ability, DeviceFacts
from shared.details import Board, Chip, Fault, History, Pool
from shared.telemetry import DeviceKind, MinerState, Reading
from shared.units import Algorithm


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What one read of a device brought; the poller adds device, time and sequence to make a `Sample`."""

    readings: dict[str, Reading]
    state: MinerState | None = None
    preset: str | None = None
    """The preset that really runs, where the read tells it."""
    preset_requested: str | None = None
    """The preset that somebody asked for, where the read tells it; often not the one that runs."""
    algorithm: Algorithm | None = None
    faults: tuple[Fault, ...] | None = None
    """What the firmware says is wrong; None: this read did not ask."""


@runtime_checkable
class Telemetry(Protocol):
    """Every adapter has this."""

    kind: DeviceKind

    async def read(self) -> Observation:
        """The fast loop: few requests, everything that control needs. Raises `DeviceError`."""
        ...

    async def facts(self) -> DeviceFacts:
        """The rare loop: identity, ladder, abilities. Raises `DeviceError`."""
        ...

    async def close(self) -> None:
        """Let go of connections; never raises."""
        ...


@runtime_checkable
class BoardTelemetry(Protocol):
    """Tells about each hash board, beyond what `read` sums up."""

    async def boards(self) -> tuple[Board, ...]:
        """All boards by index; those that are absent are left out. Raises `DeviceError`."""
        ...


@runtime_checkable
class ChipTelemetry(Protocol):
    """Tells about each chip; a long reply, for people and models."""

    async def chips(self) -> tuple[Chip, ...]:
        """All chips by board and index. Raises `DeviceError`."""
        ...


@runtime_checkable
class PoolTelemetry(Protocol):
    """Tells which pools it works for."""

    async def pools(self) -> tuple[Pool, ...]:
        """All configured pools in the firmware's order. Raises `DeviceError`."""
        ...


@runtime_checkable
class LogReader(Protocol):
    """Hands out its log texts."""

    async def log(self, name: str) -> str:
        """The newest part of log `name`, one of the choices, at most 256 kB. Raises `Unsupported`."""
        ...


@runtime_checkable
class HistoryReader(Protocol):
    """Remembers its last hours: fills gaps after an outage of the network."""

    async def history(self, span_s: float, step_s: float) -> History:
        """The last `span_s` seconds in steps of `step_s`, oldest first. Raises `DeviceError`."""
        ...


@runtime_checkable
class PresetControl(Protocol):
    """Can run a named step of its ladder; restarts mining."""

    async def set_preset(self, name: str) -> None:
        """Ask for the preset. Raises `Unsupported` for one that is not in the ladder or not tuned."""
        ...


@runtime_checkable
class MiningControl(Protocol):
    """Can stop and start hashing."""

    async def stop_mining(self) -> None:
        """Ask to stop. `Busy` means: refused in this state, read the state before deciding."""
        ...

    async def start_mining(self) -> None:
        """Ask to start."""
        ...


@runtime_checkable
class PauseControl(Protocol):
    """Can pause and resume hashing."""

    async def pause_mining(self) -> None:
        """Ask to pause; `Busy` as with `stop_mining`."""
        ...

    async def resume_mining(self) -> None:
        """Ask to resume."""
        ...


@runtime_checkable
class PowerLimitControl(Protocol):
    """Can hold its own power below a limit."""

    async def set_power_limit(self, watts: float) -> None:
        """Ask for at most `watts` (W). Raises `Unsupported` outside the declared range."""
        ...


@runtime_checkable
class ThrottleControl(Protocol):
    """Can run at a share of what it runs at."""

    async def set_throttle(self, percent: float) -> None:
        """Ask for `percent` (%) of the present step; 100 takes it back. Raises `Unsupported`."""
        ...


@runtime_checkable
class FanControl(Protocol):
    """Can choose how its own fans run."""

    async def set_fan_mode(self, mode: str, duty_pct: float | None = None) -> None:
        """Ask for a mode among the declared choices; `duty_pct` (%) for the manual one.

        Raises `Unsupported` for another mode, or a duty that is missing or outside 0..100.
        """
        ...


@runtime_checkable
class CoolingTargetControl(Protocol):
    """Can hold a temperature with its own fans."""

    async def set_cooling_target(self, celsius: float) -> None:
        """Ask to hold `celsius` (°C). Raises `Unsupported` outside the declared range."""
        ...


@runtime_checkable
class PoolSwitchControl(Protocol):
    """Can work for another of its configured pools."""

    async def switch_pool(self, index: int) -> None:
        """Ask for pool `index` of `pools()`. Raises `Unsupported` where there is none such."""
        ...


class PoolLogin(msgspec.Struct, frozen=True, kw_only=True):
    """A pool to work for; the password stands in no log."""

    url: str
    user: str
    password: str = "x"

    def __repr__(self) -> str:
        return f"PoolLogin(url={self.url!r}, user={self.user!r}, password=*****)"


@runtime_checkable
class PoolSettingControl(Protocol):
    """Can be given other pools."""

    async def set_pools(self, pools: Sequence[PoolLogin]) -> None:
        """Ask to work for these, in this order of preference, in place of all that it has.

        Raises `Unsupported` for no pool at all, and for one without a stratum address or a user.
        """
        ...


@runtime_checkable
class PresetSwitcherControl(Protocol):
    """Steps its preset by temperature on its own; the steps can be bounded."""

    async def set_switcher_bounds(self, *, floor: str | None = None, ceiling: str | None = None) -> None:
        """Ask to stay between these presets; None leaves that bound as it is.

        Raises `Unsupported` for one that is not in the ladder or not tuned, or a floor above the ceiling.
        """
        ...


@runtime_checkable
class RestartControl(Protocol):
    """Can restart mining and leave its control board up."""

    async def restart_mining(self) -> None:
        """Ask to restart. `Busy` means: it does not mine, and a restart might start it."""
        ...


@runtime_checkable
class RebootControl(Protocol):
    """Can restart its control board; it may mine by itself afterwards."""

    async def reboot(self) -> None:
        """Ask to restart."""
        ...


@runtime_checkable
class LocateControl(Protocol):
    """Can blink, so that a person finds it."""

    async def locate(self, *, on: bool) -> None:
        """Ask to blink, or to stop blinking."""
        ...


@runtime_checkable
class PointControl(Protocol):
    """Has writable points, such as a drive's speed; values in the point's own unit."""

    async def write_point(self, point: str, value: float) -> None:
        """Write one point. Raises `Unsupported` for a point that the profile does not make writable."""
        ...


@runtime_checkable
class ReleaseControl(Protocol):
    """Can take back what `PointControl` wrote, where the machine has a programme of its own below it."""

    async def release_point(self, point: str) -> None:
        """Give one point back. Raises `Unsupported` for a point that could not be written either."""
        ...


@runtime_checkable
class OutletControl(Protocol):
    """Has outlets that switch."""

    async def switch_outlet(self, outlet: int, *, on: bool) -> None:
        """Ask to switch outlet `outlet` (from 1)."""
        ...


@runtime_checkable
class WatchdogControl(Protocol):
    """Has a time-out of its own (S10): armed, it goes to its safe side by itself when nobody feeds it.

    Arm at start and after every reconnection (a drive that lost its supply may have forgotten), feed at
    least three times per time-out, and confirm with `armed_s`, as any write is confirmed by a read.
    """

    async def arm(self, timeout_s: float) -> None:
        """Set the time-out and what follows it, then feed once. Raises `Unsupported` outside the range."""
        ...

    async def feed(self) -> None:
        """Say that its master lives. Changes nothing else on a machine that runs as it was told."""
        ...

    async def disarm(self) -> None:
        """Nothing follows the time-out any more: for a trip that wants the fans to stand (smoke)."""
        ...

    async def armed_s(self) -> float | None:
        """The time-out in force, read from the device, in s; None: not armed, or armed to another action."""
        ...


PROTOCOL_OF: dict[Ability, type] = {
    Ability.TELEMETRY: Telemetry,
    Ability.BOARDS: BoardTelemetry,
    Ability.CHIPS: ChipTelemetry,
    Ability.POOLS: PoolTelemetry,
    Ability.LOGS: LogReader,
    Ability.HISTORY: HistoryReader,
    Ability.PRESET: PresetControl,
    Ability.POWER_LIMIT: PowerLimitControl,
    Ability.MINING: MiningControl,
    Ability.PAUSE: PauseControl,
    Ability.THROTTLE: ThrottleControl,
    Ability.FAN_MODE: FanControl,
    Ability.COOLING_TARGET: CoolingTargetControl,
    Ability.PRESET_SWITCHER: PresetSwitcherControl,
    Ability.POOL_SWITCH: PoolSwitchControl,
    Ability.POOL_SETTING: PoolSettingControl,
    Ability.RESTART: RestartControl,
    Ability.REBOOT: RebootControl,
    Ability.LOCATE: LocateControl,
    Ability.SETPOINT: PointControl,
    Ability.RELEASE: ReleaseControl,
    Ability.OUTLETS: OutletControl,
    Ability.WATCHDOG: WatchdogControl,
}
"""Which Protocol stands behind which ability; the others are read through `facts()`."""

WRITES = frozenset(PROTOCOL_OF) - {
    Ability.TELEMETRY,
    Ability.BOARDS,
    Ability.CHIPS,
    Ability.POOLS,
    Ability.LOGS,
    Ability.HISTORY,
}
"""The abilities that change something on the device."""


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A secret as an adapter needs it: only the guardian makes these, from its encrypted store."""

    user: str | None
    secret: str

    def __repr__(self) -> str:
        return f"Credential(user={self.user!r}, secret=*****)"
