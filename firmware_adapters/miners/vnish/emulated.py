"""The face between the VNish emulator and whatever plays the machine behind it.

The emulator owns the wire: pages, sessions, stored settings, the preset switcher, misbehaviour. The machine
(a plant in the simulator, a few fields in a test) owns physics and mining state. The machine hands out one
`MinerView` per request and takes commands; it never sees HTTP. Values are in Minewarden's own units; the
emulator converts to the vendor's (GH/s, MH/s, mV, text uptime).
"""

from typing import Literal, Protocol

import msgspec

from shared.telemetry import MinerState
from shared.units import Algorithm


class BoardView(msgspec.Struct, frozen=True, kw_only=True):
    """One hash board. Temperatures in °C; None is no data, which the firmware prints as 0."""

    working: bool = True
    """False is a dead board: state `failure`, no hashrate, no temperatures."""
    hashrate_ths: float = 0.0
    hashrate_nominal_ths: float = 0.0
    power_w: float = 0.0
    freq_mhz: float = 0.0
    volt_v: float = 0.0
    """Chip chain voltage, V (13.0)."""
    hw_errors: int = 0
    chip_temp_min_c: float | None = None
    chip_temp_max_c: float | None = None
    board_temp_min_c: float | None = None
    board_temp_max_c: float | None = None
    water_in_c: float | None = None
    water_out_c: float | None = None


class FanView(msgspec.Struct, frozen=True, kw_only=True):
    """One fan."""

    rpm: float
    ok: bool = True
    """False is the firmware's `lost`."""
    max_rpm: float = 6500.0


class PresetView(msgspec.Struct, frozen=True, kw_only=True):
    """One rung of the machine's ladder; `name` is what the firmware calls it ("2800")."""

    name: str
    power_w: float
    hashrate_ths: float
    tuned: bool
    freq_mhz: float = 0.0
    volt_v: float = 0.0
    needs_modded_psu: bool = False
    needs_liquid: bool = False


class PsuView(msgspec.Struct, frozen=True, kw_only=True):
    """Power supply temperatures in °C."""

    pfc_c: float
    llc1_c: float
    llc2_c: float


class MinerView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the API shows of one machine at one moment."""

    state: MinerState
    state_time_s: float
    hashrate_ths: float
    """Now, without dev fee splits: equals the sum over the boards."""
    hashrate_average_ths: float
    hashrate_nominal_ths: float
    """Expected at the present clocks."""
    hashrate_stock_ths: float
    """Factory rating."""
    power_w: float
    boards: tuple[BoardView, ...]
    fans: tuple[FanView, ...]
    fan_duty_pct: float
    hw_errors: int
    shares_accepted: int
    shares_rejected: int
    uptime_s: float
    preset: str | None
    """The rung that really runs; None where the machine runs free."""
    presets: tuple[PresetView, ...]
    model: str
    """As sold: "Antminer S21 Pro"."""
    algorithm: Algorithm
    mac: str
    serial: str

    reachable: bool = True
    """False (no power, rebooting, cable out): the emulator cuts the connection without a word."""
    power_metered: bool = False
    """The supply measures watts; otherwise they are the firmware's estimate."""
    failure_code: int | None = None
    description: str | None = None
    cooling: Literal["auto", "manual", "immersion"] = "auto"
    target_temp_c: float = 65.0
    throttle_pct: float = 100.0
    """Throttle in force, 20..100."""
    locating: bool = False
    hostname: str = "Antminer"
    psu: PsuView | None = None
    chips_per_board: int = 65
    pool_url: str = "stratum+tcp://pool.invalid:3333"
    pool_user: str = "site.worker"


class EmulatedMiner(Protocol):
    """What the emulator needs from a machine. Commands take effect by later views and never raise for state:
    the emulator has already refused what does not fit the state."""

    def view(self) -> MinerView:
        """The machine now. Called once per request, so it should be cheap."""
        ...

    def set_preset(self, name: str) -> None:
        """Run this rung: a mining machine restarts its backend, an idle one only remembers. An untuned rung
        starts tuning at full power. `name` is always one of `view().presets`."""
        ...

    def stop(self) -> None:
        """Stop hashing. Only called while it runs."""
        ...

    def start(self) -> None:
        """Start hashing from stopped or failed."""
        ...

    def pause(self) -> None:
        """As far as known the same as `stop` (miners.md §7)."""
        ...

    def resume(self) -> None:
        """As far as known the same as `start`."""
        ...

    def restart(self) -> None:
        """Restart the mining backend on the present rung."""
        ...

    def reboot(self, after_s: float) -> None:
        """Restart the control board after `after_s` seconds; it mines again by itself."""
        ...

    def throttle(self, percent: float) -> None:
        """Ask for 20..100 % of the rung."""
        ...

    def locate(self, *, on: bool) -> None:
        """Blink, or stop blinking."""
        ...


class Traps(msgspec.Struct, frozen=True, kw_only=True):
    """How one emulated machine misbehaves (miners.md §1.7). Replace `emulator.traps` to switch.

    What needs no switch because it always holds: text uptime, state conflicts as HTTP 500, 0/0 temperatures
    and empty boards and fans in failure, `/chains` gone from 1.3, mining again after a reboot (which is the
    machine's part).
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
    slow_s: float = 0.0
    """Every reply waits this long."""
    half_reply: bool = False
    """Headers promise a whole body; half of it comes, then the connection closes."""
    hang: bool = False
    """Connections are accepted and never answered."""
    garbage: bool = False
    """A body that is not JSON, with status 200."""
