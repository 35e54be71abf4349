"""What an emulated Whatsminer v3 can be made to do wrong, beyond what any wire can."""

from firmware_adapters.miners.emulator_wire import WireTraps


class Traps(WireTraps, frozen=True, kw_only=True):
    """Misbehaviour of one machine. Replace `emulator.traps` to switch."""

    writes_closed: bool = False
    """The owner has not enabled writing."""
    writes_ignored: bool = False
    """Commands are accepted and not done."""
    errors: tuple[tuple[int, str], ...] = ()
    """Codes with the time of each."""
    silent_when_off: bool = False
    """Switched off, it refuses `summary` and `edevs`."""
    clock_ahead_s: float = 0.0
    """The machine's clock is wrong by this much."""
