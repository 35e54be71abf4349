"""How an emulated VNish machine misbehaves, beside what any machine does on the wire."""

from firmware_adapters.miners.emulator_wire import WireTraps


class Traps(WireTraps, frozen=True, kw_only=True):
    """How one emulated machine misbehaves (miners.md §1.7). Replace `emulator.traps` to switch.

    What needs no switch because it always holds: text uptime, state conflicts as HTTP 500, 0/0 temperatures
    and empty boards and fans in failure, `/chains` gone from 1.3, what 1.2.0 lacks, sessions that end with a
    reboot, mining again after it (which is the machine's part).
    """

    command_body: str = ""
    """Body of a successful `/mining/*`: empty, `null`, `{}` and `{"success":true}` are all reported."""
    settings_ignored: bool = False
    """POST /settings says 200 and changes nothing."""
    settings_broken: bool = False
    """GET /settings is a 500 because the stored file does not parse."""
    drop_session_every: int = 0
    """Forget all sessions at each n-th authenticated request, so that a 401 comes in mid-run; 0 = never."""
    lockout_s: int | None = None
    """Every unlock is a 429 with this `unlock_timeout`."""
    miner_null: bool = False
    """`/summary` is `{"miner": null}`."""
    sensor_error: bool = False
    """One board sensor is in `error` and reads 13 °C among good ones; shown as ≤1.2.0 does."""
    all_sensors_error: bool = False
    power_usage_only: bool = False
    """No `power_consumption` field, as in 1.2.0-beta10."""
    hash_split: float = 1.0
    """Total hashrate as a fraction of the sum over boards (0.7 in both 1.2.0 recordings)."""
    throttle_delay_s: float = 0.0
    """How long a throttle command waits before it reaches the machine (about 80 s seen live)."""
    find_toggles: bool = False
    """`/find-miner` ignores its body and turns the light over at each call."""
    find_ignored: bool = False
    """`/find-miner` says 200 and the light stays as it is."""
    clock_skew_s: float = 0.0
    """How far the machine's own clock is ahead, for history, logs and the socket."""
    long_log: bool = False
    """Logs are far longer than anybody wants to read."""
    empty_settings_reply: bool = False
    """POST /settings says 200 with an empty body."""
