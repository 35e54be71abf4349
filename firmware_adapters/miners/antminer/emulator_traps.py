"""How an emulated stock Antminer misbehaves, beside what any machine does on the wire."""

from firmware_adapters.miners.emulator_wire import WireTraps


class Traps(WireTraps, frozen=True, kw_only=True):
    """How one emulated machine misbehaves. Replace `emulator.traps` to switch. The socket knows none.

    What needs no switch because it always holds: every page asks for a login, no page tells watts, a mode is
    taken only inside a whole configuration, temperatures without a sensor are 0, a change of mode restarts
    the mining process.
    """

    settings_ignored: bool = False
    """A configuration is accepted and not stored."""
    settings_refused: bool = False
    """A configuration is answered with 200 and `"stats":"error"`."""
    forget_nonce_every: int = 0
    """The nonce is forgotten at each n-th good login, so that a 401 comes in mid-run; 0 = never."""
    login_refused: bool = False
    """No password is good."""
    silent_in_sleep: bool = False
    """In sleep the mining process is gone, and `stats.cgi` says so in place of numbers."""
    no_modes: bool = False
    """A build without modes: the configuration does not name one."""
    mode_as_number: bool = False
    """The mode is a number in the configuration, and text otherwise."""
