"""What an emulated Whatsminer can be made to do wrong, beyond what any wire can."""

from firmware_adapters.miners.emulator_wire import WireTraps


class Traps(WireTraps, frozen=True, kw_only=True):
    """Misbehaviour of one machine. Replace `emulator.traps` to switch."""

    writes_closed: bool = False
    """The owner has not enabled the write API."""
    no_tokens: bool = False
    """Others hold all tokens: `over max connect`."""
    tokens_die: bool = False
    """Each token is good for one command."""
    writes_ignored: bool = False
    """Commands are accepted and not done."""
    errors: tuple[tuple[int, str], ...] = ()
    """Codes with the time of each."""
    broken_error_list: bool = False
    """The codes are printed as a list with keys, which is no JSON."""
    early: bool = False
    """A version without `status`, `edevs` and `get_miner_info`."""
    silent_when_off: bool = False
    """Switched off, it refuses `summary` and `devs`."""
