"""What an adapter can do: one small Protocol per ability, all async, all with a deadline by the caller.

An adapter is one object per device. It declares its abilities as data (`shared.capabilities`) and
implements the matching Protocols; the contract suite asserts declared = implemented. Reads return
readings or raise from the `DeviceError` tree, never a default. Writes return once the device *accepted*
the request, or raise; whether it took effect is for a later read to say, so no method here returns
`True`.
"""

from typing import Protocol, runtime_checkable

import msgspec

from shared.capabilities import Ability, DeviceFacts
from shared.telemetry import DeviceKind, MinerState, Reading
from shared.units import Algorithm


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What one read of a device brought; the poller adds device, time and sequence to make a `Sample`."""

    readings: dict[str, Reading]
    state: MinerState | None = None
    preset: str | None = None
    """The preset that really runs, where the read tells it."""
    algorithm: Algorithm | None = None


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
class PointControl(Protocol):
    """Has writable points, such as a drive's speed; values in the point's own unit."""

    async def write_point(self, point: str, value: float) -> None:
        """Write one point. Raises `Unsupported` for a point that the profile does not make writable."""
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
    Ability.PRESET: PresetControl,
    Ability.MINING: MiningControl,
    Ability.SETPOINT: PointControl,
    Ability.OUTLETS: OutletControl,
    Ability.WATCHDOG: WatchdogControl,
}
"""Which Protocol stands behind which ability; the others are read through `facts()`."""


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A secret as an adapter needs it: only the guardian makes these, from its encrypted store."""

    user: str | None
    secret: str

    def __repr__(self) -> str:
        return f"Credential(user={self.user!r}, secret=*****)"
