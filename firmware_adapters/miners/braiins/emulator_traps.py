"""How an emulated Braiins OS machine misbehaves, beside what any machine does on the wire."""

from firmware_adapters.miners.emulator_wire import WireTraps


class Traps(WireTraps, frozen=True, kw_only=True):
    """Replace `emulator.traps` to switch."""

    drop_session_every: int = 0
    """Forget all tokens at each n-th authenticated request, so that a 401 comes in mid-run; 0 = never."""
    too_many: bool = False
    """Every request is a 429."""
    closed_when_stopped: bool = False
    """Statistics, boards and tuner are a 503 while the mining process does not run."""
    conflict_is_500: bool = False
    """A command that does not fit the state is a 500 instead of "already so"."""
    settings_ignored: bool = False
    """Writes say 200 and change nothing."""
    no_constraints: bool = False
    """There is no page with the machine's ranges."""
    api_major: int = 1
    clock_skew_s: float = 0.0
    """How far its clock is ahead of ours."""
    quiet: bool = False
    """Temperatures, watts and statistics are null, as from a version that does not tell them."""
