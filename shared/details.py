"""What a miner tells of itself beyond a sample: boards, chips, pools, faults, its own history.

Read rarely and shown to people, or kept for models; interlocks do not look here. None is unknown everywhere,
an empty tuple means that the device said it has none. Units are Minewarden's own.
"""

from enum import StrEnum

import msgspec


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """One hash board, `index` as the firmware counts."""

    index: int
    working: bool | None = None
    hashrate_ths: float | None = None
    hashrate_nominal_ths: float | None = None
    power_w: float | None = None
    chip_temp_max_c: float | None = None
    chip_temp_min_c: float | None = None
    board_temp_max_c: float | None = None
    board_temp_min_c: float | None = None
    water_in_c: float | None = None
    water_out_c: float | None = None
    frequency_mhz: float | None = None
    voltage_v: float | None = None
    """Voltage of the chip chain, V (13.0)."""
    hw_errors: float | None = None
    chips: int | None = None
    """How many chips answer."""
    serial: str = ""
    fault: str = ""
    """What the firmware says is wrong with it; empty where it says nothing."""


class Chip(msgspec.Struct, frozen=True, kw_only=True):
    """One chip of a board, both counted as the firmware does."""

    board: int
    index: int
    hashrate_ths: float | None = None
    frequency_mhz: float | None = None
    voltage_v: float | None = None
    temp_c: float | None = None
    errors: float | None = None
    grade: str = ""
    """The firmware's own word for its health."""


class LogTail(msgspec.Struct, frozen=True, kw_only=True):
    """The newest part of one of a device's own logs, and why it was asked for; `at_ms` (UTC) of the read."""

    name: str
    at_ms: int
    why: str
    text: str


class PoolState(StrEnum):
    """What a miner says of one of its pools."""

    ACTIVE = "active"
    """It works for this one now."""
    STANDBY = "standby"
    """Alive, and not worked for."""
    DEAD = "dead"
    REJECTING = "rejecting"
    DISABLED = "disabled"
    UNKNOWN = "unknown"


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """One pool; `index` is what a switch of pools takes. Shares are counters since the miner's start."""

    index: int
    url: str
    user: str = ""
    state: PoolState = PoolState.UNKNOWN
    accepted: float | None = None
    rejected: float | None = None
    stale: float | None = None
    last_share_age_s: float | None = None
    ours: bool = True
    """False: the firmware maker's own share (dev fee)."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the firmware says is wrong, with its own code where it has one."""

    code: str
    words: str = ""


class HistoryPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The device's own record of one moment, UTC ms by the device's clock."""

    at_ms: int
    hashrate_ths: float | None = None
    power_w: float | None = None
    chip_temp_max_c: float | None = None
    board_temp_max_c: float | None = None
    fan_duty_pct: float | None = None


class HistoryMark(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the device noted in its history (start, stop, reboot, overheat, ...)."""

    at_ms: int
    what: str
    board: int | None = None


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest first."""

    points: tuple[HistoryPoint, ...]
    marks: tuple[HistoryMark, ...] = ()
