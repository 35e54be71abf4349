"""The face between a miner's emulator and whatever plays the machine behind it; one for all firmwares.

The emulator owns the wire: pages, sessions, stored settings, the preset switcher, misbehaviour. The machine
(a plant in the simulator, a few fields in a test) owns physics and mining state. The machine hands out one
`MinerView` per request and takes commands; it never sees HTTP. Values are in Minewarden's own units; the
emulator converts to the vendor's (GH/s, MH/s, mV, text uptime).
"""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

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


class PoolView(msgspec.Struct, frozen=True, kw_only=True):
    """One configured pool beside the first; shares are counters since the machine's start."""

    url: str
    user: str = "site.worker"
    alive: bool = True
    """False: it does not answer."""
    shares_accepted: int = 0
    shares_rejected: int = 0
    shares_stale: int = 0


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
    """Of the first pool; `other_pools` count their own."""
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
    other_pools: tuple[PoolView, ...] = ()
    """Further configured pools, in the order of their numbers from 1."""
    pool: int = 0
    """Number of the pool that it works for; 0 is the first."""
    shares_stale: int = 0
    last_share_age_s: float | None = None
    """Since the last accepted share, s; None: none yet."""
    power_limit_w: float | None = None
    """Limit in force that the machine itself holds, W; None: none."""


class PastView(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine showed `age_s` seconds ago; temperatures in °C, None is no data."""

    age_s: float
    hashrate_ths: float
    power_w: float
    fan_duty_pct: float
    chip_temp_max_c: float | None = None
    board_temp_max_c: float | None = None

    @classmethod
    def of(cls, view: MinerView) -> "PastView":
        """A machine as it is now."""
        boards = [board for board in view.boards if board.working]
        chips = [board.chip_temp_max_c for board in boards if board.chip_temp_max_c is not None]
        pcbs = [board.board_temp_max_c for board in boards if board.board_temp_max_c is not None]
        return cls(
            age_s=0.0,
            hashrate_ths=view.hashrate_ths,
            power_w=view.power_w,
            fan_duty_pct=view.fan_duty_pct,
            chip_temp_max_c=max(chips, default=None),
            board_temp_max_c=max(pcbs, default=None),
        )


@runtime_checkable
class Remembers(Protocol):
    """A machine that keeps its own past, whoever asks or not; for firmwares with a history."""

    def past(self) -> Sequence[PastView]:
        """What it kept, oldest first."""
        ...


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

    def set_power_limit(self, watts: float | None) -> None:
        """Hold the power at or below `watts` by its own regulation; None takes the limit back."""
        ...

    def set_cooling(self, mode: Literal["auto", "manual", "immersion"], value: float) -> None:
        """Run its fans in `mode`: `value` is the target in °C (auto) or the duty in % (manual)."""
        ...

    def switch_pool(self, number: int) -> None:
        """Work for pool `number`: 0 is the first, then `view().other_pools`. Always one that exists."""
        ...
