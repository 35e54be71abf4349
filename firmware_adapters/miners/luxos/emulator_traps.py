"""How an emulated LuxOS machine misbehaves, beside what any machine does on the wire."""

from firmware_adapters.miners.emulator_wire import WireTraps


class Traps(WireTraps, frozen=True, kw_only=True):
    """How one emulated machine misbehaves. Replace `emulator.traps` to switch.

    What needs no switch because it always holds: one session at a time that dies after 60 s without use, no
    change of profile while thermal management is on, sleep that lasts over a reboot, board sensors repeated
    under the name of the chips, a `total rate` that is an average of the boards.
    """

    settings_ignored: bool = False
    """Commands are accepted and do nothing."""
    foreign_session: bool = False
    """Somebody else holds the session."""
    forget_session_every: int = 0
    """The session is forgotten before each n-th command that needs it; 0 = never."""
    no_curtail_word: bool = False
    """An older release: `config` does not say whether the machine sleeps."""
    glued: bool = False
    """Replies come with a second object behind, a doubled comma and two NULs."""
