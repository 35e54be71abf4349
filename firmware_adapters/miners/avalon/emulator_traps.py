"""What an emulated Avalon can be made to do wrong, beyond what any wire can."""

from firmware_adapters.miners.emulator_wire import WireTraps


class Traps(WireTraps, frozen=True, kw_only=True):
    """Misbehaviour of one machine. Replace `emulator.traps` to switch."""

    writes_ignored: bool = False
    """`ascset` is heard and not done."""
    says_something: bool = False
    """`ascset` is answered, as some versions do, instead of a close without a word."""
    refuses: bool = False
    """`ascset` is answered with STATUS `E`."""
    no_estats: bool = False
    """Only `stats` is known."""
    clock_ahead_s: float = 0.0
    """The machine's clock is wrong by this much."""
    errors: tuple[tuple[str, str], ...] = ()
    """Brackets to print otherwise: ("ECHU", "16")."""
