"""Readings, samples and roll-up rows: what devices said, with time and quality.

A *reading* is one value with its quality; a *sample* is one device's readings at one time; a *roll-up
row* summarises one device over `step_s` and is what goes to the cloud. Missing is `None` with a quality
flag, never 0. Raw samples stay on site.

A point's name is its metric, or `metric.index` where a device has several (`fan_rpm.2`, `outlet_on.7`,
`voltage_v.1` for phase L1).
"""

from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Annotated

import msgspec

from shared.ids import DeviceId
from shared.units import Algorithm, Unit


class Quality(IntEnum):
    """How far a reading may be trusted; higher is worse. Only GOOD and ESTIMATED carry a usable value."""

    GOOD = 0
    ESTIMATED = 1
    """Computed by the firmware rather than measured (a chip temperature derived from the board's)."""
    OUT_OF_RANGE = 2
    STUCK = 3
    STALE = 4
    SENSOR_ERROR = 5
    MISSING = 6

    @property
    def usable(self) -> bool:
        """Whether control may look at the value at all."""
        return self <= Quality.ESTIMATED


class Reading(msgspec.Struct, frozen=True, array_like=True):
    """One value and how far it may be trusted. `value` is None whenever nothing usable was read."""

    value: float | None
    quality: Quality = Quality.GOOD

    @property
    def usable(self) -> float | None:
        """The value if control may look at it, else None."""
        return self.value if self.quality.usable else None


MISSING = Reading(None, Quality.MISSING)


class DeviceKind(StrEnum):
    """What a device is for, whatever protocol it speaks."""

    MINER = "miner"
    METER = "meter"
    DRIVE = "drive"
    HVAC = "hvac"
    PROBE = "probe"
    CONTACTS = "contacts"
    PDU = "pdu"
    UPS = "ups"
    SOURCE = "source"
    """Feeds power of its own and takes a limit: an inverter, a battery, a generator."""


class MinerState(StrEnum):
    """What a miner's firmware says it is doing.

    AUTO_TUNING hashes at full power; INITIALIZING and STARTING already draw power. UNKNOWN counts as
    running and hot.
    """

    MINING = "mining"
    AUTO_TUNING = "auto-tuning"
    INITIALIZING = "initializing"
    STARTING = "starting"
    RESTARTING = "restarting"
    SHUTTING_DOWN = "shutting-down"
    STOPPED = "stopped"
    FAILURE = "failure"
    UNKNOWN = "unknown"

    @property
    def draws_power(self) -> bool:
        """False only for STOPPED and FAILURE, the two states in which the boards are off."""
        return self not in (MinerState.STOPPED, MinerState.FAILURE)

    @property
    def settling(self) -> bool:
        """In transition: 0/0 temperatures and low hashrate are expected for a while."""
        return self in (
            MinerState.INITIALIZING,
            MinerState.STARTING,
            MinerState.RESTARTING,
            MinerState.SHUTTING_DOWN,
        )


class Metric(msgspec.Struct, frozen=True):
    """One kind of value: its unit, what it is, and the range outside which it cannot be true."""

    unit: Unit
    low: float
    high: float
    about: str


METRICS: MappingProxyType[str, Metric] = MappingProxyType(
    {
        # miners
        "hashrate_ths": Metric(Unit.TERAHASH, 0, 5_000, "hashrate now"),
        "hashrate_nominal_ths": Metric(Unit.TERAHASH, 0, 5_000, "hashrate expected at the present clocks"),
        "power_w": Metric(Unit.WATT, 0, 5_000_000, "active power"),
        "power_limit_w": Metric(Unit.WATT, 0, 5_000_000, "power limit in force, of the device's own"),
        "chip_temp_max_c": Metric(Unit.CELSIUS, -39, 149, "hottest chip"),
        "chip_temp_min_c": Metric(Unit.CELSIUS, -39, 149, "coolest chip"),
        "board_temp_max_c": Metric(Unit.CELSIUS, -39, 149, "hottest board sensor"),
        "board_temp_min_c": Metric(Unit.CELSIUS, -39, 149, "coolest board sensor"),
        "psu_temp_c": Metric(Unit.CELSIUS, -39, 149, "power supply"),
        "fan_rpm": Metric(Unit.RPM, 0, 20_000, "fan speed"),
        "fan_duty_pct": Metric(Unit.PERCENT, 0, 100, "fan duty asked for by the firmware"),
        "hw_errors": Metric(Unit.COUNT, 0, 1e15, "hardware errors since start"),
        "shares_accepted": Metric(Unit.COUNT, 0, 1e15, "accepted shares since start"),
        "shares_rejected": Metric(Unit.COUNT, 0, 1e15, "rejected shares since start"),
        "shares_stale": Metric(Unit.COUNT, 0, 1e15, "stale or discarded shares since start"),
        "last_share_age_s": Metric(Unit.SECOND, 0, 1e9, "since the last accepted share"),
        "uptime_s": Metric(Unit.SECOND, 0, 1e10, "since boot"),
        "power_limit_pct": Metric(Unit.PERCENT, 0, 100, "power limit in force, of what it is rated for"),
        "power_setpoint_w": Metric(Unit.WATT, -5_000_000, 5_000_000, "power that a source was told to feed"),
        "preset_w": Metric(Unit.WATT, 0, 20_000, "the running preset's rated power"),
        "throttle_pct": Metric(Unit.PERCENT, 0, 100, "throttle in force"),
        "boards_working": Metric(Unit.COUNT, 0, 16, "hash boards that work"),
        # air, water, power, contacts
        "air_temp_c": Metric(Unit.CELSIUS, -39, 120, "air temperature"),
        "humidity_pct": Metric(Unit.PERCENT, 0, 100, "relative humidity"),
        "water_temp_c": Metric(Unit.CELSIUS, -39, 120, "water temperature"),
        "flow_m3h": Metric(Unit.CUBIC_METRE_PER_HOUR, 0, 10_000, "water flow"),
        "pressure_pa": Metric(Unit.PASCAL, -100_000, 2_000_000, "pressure, or pressure difference"),
        "speed_pct": Metric(Unit.PERCENT, 0, 110, "speed that a drive really runs at"),
        "speed_setpoint_pct": Metric(Unit.PERCENT, 0, 100, "speed that a drive was told"),
        "setpoint_c": Metric(Unit.CELSIUS, -39, 120, "temperature that a controller was told"),
        "frequency_hz": Metric(Unit.HERTZ, 0, 500, "frequency"),
        "voltage_v": Metric(Unit.VOLT, 0, 100_000, "voltage"),
        "current_a": Metric(Unit.AMPERE, 0, 100_000, "current"),
        "apparent_power_va": Metric(Unit.VOLT_AMPERE, 0, 5_000_000, "apparent power"),
        "reactive_power_var": Metric(Unit.VAR, -5_000_000, 5_000_000, "reactive power, inductive above zero"),
        "power_factor": Metric(Unit.RATIO, -1, 1, "active by apparent power"),
        "energy_kwh": Metric(Unit.KILOWATT_HOUR, 0, 1e12, "energy since installation"),
        # air quality, noise, machinery, weather
        "airflow_m3h": Metric(Unit.CUBIC_METRE_PER_HOUR, 0, 10_000_000, "air flow"),
        "air_speed_ms": Metric(Unit.METRE_PER_SECOND, 0, 100, "air speed"),
        "dust_pm2_5_ug_m3": Metric(Unit.MICROGRAM_PER_CUBIC_METRE, 0, 10_000, "fine dust, PM2.5"),
        "dust_pm10_ug_m3": Metric(Unit.MICROGRAM_PER_CUBIC_METRE, 0, 10_000, "dust, PM10"),
        "sound_db": Metric(Unit.DECIBEL, 0, 194, "sound pressure level, A-weighted where the sensor does so"),
        "vibration_mm_s": Metric(Unit.MILLIMETRE_PER_SECOND, 0, 1_000, "vibration velocity, rms"),
        "wind_speed_ms": Metric(Unit.METRE_PER_SECOND, 0, 120, "wind speed"),
        "wind_direction_deg": Metric(Unit.DEGREE, 0, 360, "where the wind comes from, from north clockwise"),
        "rain_mm": Metric(Unit.MILLIMETRE, 0, 1e9, "rain since installation"),
        "solar_w_m2": Metric(Unit.WATT_PER_SQUARE_METRE, 0, 2_000, "solar irradiance"),
        "barometric_pa": Metric(Unit.PASCAL, 30_000, 120_000, "barometric pressure"),
        "running": Metric(Unit.FLAG, 0, 1, "the machine says it runs"),
        "fault": Metric(Unit.FLAG, 0, 1, "the machine says it has a fault"),
        "high_temp_alarm": Metric(Unit.FLAG, 0, 1, "the machine says it is too warm"),
        "low_temp_alarm": Metric(Unit.FLAG, 0, 1, "the machine says it is too cold"),
        "compressor_warning": Metric(Unit.FLAG, 0, 1, "the machine warns of its compressor"),
        "fan_warning": Metric(Unit.FLAG, 0, 1, "the machine warns of its fan"),
        "estop_pressed": Metric(Unit.FLAG, 0, 1, "local emergency stop is pressed"),
        "door_open": Metric(Unit.FLAG, 0, 1, "door contact is open"),
        "smoke": Metric(Unit.FLAG, 0, 1, "smoke detector has fired, or its loop is cut"),
        "water_leak": Metric(Unit.FLAG, 0, 1, "leak sensor is wet, or its loop is cut"),
        "bypass_key": Metric(Unit.FLAG, 0, 1, "maintenance key switch is turned"),
        "outlet_on": Metric(Unit.FLAG, 0, 1, "outlet is on"),
        "outlet_power_w": Metric(Unit.WATT, 0, 100_000, "active power through one outlet, part of power_w"),
        "line_power_w": Metric(Unit.WATT, 0, 5_000_000, "active power of one phase or cord, part of power_w"),
        "outlet_current_a": Metric(Unit.AMPERE, 0, 1_000, "current through one outlet"),
        # uninterruptible supply
        "on_battery": Metric(Unit.FLAG, 0, 1, "the UPS feeds its load from the battery"),
        "battery_low": Metric(Unit.FLAG, 0, 1, "the UPS says its battery is low or depleted"),
        "runtime_s": Metric(Unit.SECOND, 0, 10_000_000, "time left on battery at the present load"),
        "on_battery_s": Metric(Unit.SECOND, 0, 10_000_000, "time since the UPS went on battery, 0 on mains"),
        "battery_charge_pct": Metric(Unit.PERCENT, 0, 100, "battery charge"),
        "battery_voltage_v": Metric(Unit.VOLT, 0, 100_000, "voltage of the battery"),
        "battery_temp_c": Metric(Unit.CELSIUS, -39, 120, "battery temperature"),
        "input_voltage_v": Metric(Unit.VOLT, 0, 100_000, "voltage that comes in from the mains"),
        "input_current_a": Metric(Unit.AMPERE, 0, 100_000, "current that comes in from the mains"),
        "input_power_w": Metric(Unit.WATT, 0, 5_000_000, "active power of one line from the mains"),
        "bypass_voltage_v": Metric(Unit.VOLT, 0, 100_000, "voltage of the bypass supply"),
        "load_pct": Metric(Unit.PERCENT, 0, 1_000, "load in per cent of what the machine is rated for"),
    }
)


def metric_of(point: str) -> Metric:
    """The metric behind a point's name (`fan_rpm.2` → `fan_rpm`); KeyError for an unknown one."""
    return METRICS[point.split(".", 1)[0]]


class Sample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One device's readings at one time, as the guardian took them.

    `at_s` is the guardian's monotonic clock (control), `at_ms` UTC (records). `failure` is the `code` of
    the typed failure when the poll brought nothing; then `readings` is empty. `(boot, seq)` names the
    sample: a jump in `seq` is a loss that must be explained.
    """

    device: DeviceId
    kind: DeviceKind
    at_s: float
    at_ms: int
    boot: str
    seq: int
    state: MinerState | None = None
    algorithm: Algorithm | None = None
    readings: dict[str, Reading] = {}
    preset: str | None = None
    """Name of the preset that really runs (never the requested one)."""
    failure: str | None = None

    def usable(self, point: str) -> float | None:
        """The point's value if control may look at it, else None."""
        reading = self.readings.get(point)
        return reading.usable if reading is not None else None

    def values(self, metric: str) -> list[float]:
        """All usable values of one metric, over its indexes (`fan_rpm` → every `fan_rpm.N`)."""
        head = metric + "."
        return [
            reading.value
            for name, reading in self.readings.items()
            if (name == metric or name.startswith(head))
            and reading.quality.usable
            and reading.value is not None
        ]


class Column(msgspec.Struct, frozen=True):
    """One column of the roll-up row: which metric, and how a step of samples becomes one number."""

    name: str
    metric: str
    how: str
    """mean, min, max, last, std, delta (of a counter; None after a reset)."""


def _columns(*specs: tuple[str, str]) -> tuple[Column, ...]:
    return tuple(Column(f"{metric}_{how}", metric, how) for metric, how in specs)


ROLLUP_COLUMNS: tuple[Column, ...] = _columns(
    ("hashrate_ths", "mean"),
    ("hashrate_ths", "min"),
    ("hashrate_ths", "std"),
    ("hashrate_nominal_ths", "last"),
    ("power_w", "mean"),
    ("power_w", "max"),
    ("power_w", "std"),
    ("chip_temp_max_c", "mean"),
    ("chip_temp_max_c", "max"),
    ("board_temp_max_c", "mean"),
    ("board_temp_max_c", "max"),
    ("psu_temp_c", "max"),
    ("fan_rpm", "mean"),
    ("fan_rpm", "min"),
    ("fan_rpm", "max"),
    ("fan_duty_pct", "mean"),
    ("hw_errors", "delta"),
    ("shares_accepted", "delta"),
    ("shares_rejected", "delta"),
    ("uptime_s", "last"),
    ("preset_w", "last"),
    ("boards_working", "min"),
    ("air_temp_c", "mean"),
    ("air_temp_c", "max"),
    ("humidity_pct", "mean"),
    ("water_temp_c", "max"),
    ("speed_pct", "min"),
    ("speed_setpoint_pct", "last"),
    ("setpoint_c", "last"),
    ("energy_kwh", "last"),
    ("voltage_v", "mean"),
    ("current_a", "max"),
    ("running", "min"),
    ("fault", "max"),
    ("estop_pressed", "max"),
    ("door_open", "max"),
)
"""The numbers of a roll-up row, in wire order (36; with the envelope columns at most 40)."""

COLUMN_NAMES: tuple[str, ...] = tuple(column.name for column in ROLLUP_COLUMNS)
COLUMN_INDEX: MappingProxyType[str, int] = MappingProxyType({n: i for i, n in enumerate(COLUMN_NAMES)})


class RollupRow(msgspec.Struct, frozen=True, kw_only=True):
    """One device over one step. `at_ms` is the step's start, a multiple of `step_s`; None is unknown.

    `samples` counts polls that brought readings, `failed` those that did not, `quality` is the worst
    quality met (as `Quality`), `state` the last miner state. `values` follows `ROLLUP_COLUMNS`.
    """

    device: DeviceId
    at_ms: int
    step_s: int
    samples: int
    failed: int
    quality: Quality
    values: tuple[float | None, ...]
    kind: DeviceKind = DeviceKind.MINER
    algorithm: Algorithm | None = None
    state: MinerState | None = None
    preset: str | None = None

    def value(self, column: str) -> float | None:
        """The number in the named column; KeyError for a column that does not exist."""
        return self.values[COLUMN_INDEX[column]]


class ScoreRow(msgspec.Struct, frozen=True, kw_only=True):
    """How odd one miner looked to the active model: a row of the telemetry stream `score`.

    `score` has no unit; an alarm stands while it exceeds `threshold` long enough. `top_feature` names the
    feature with the largest residual. Sent when the score moved by more than 5 % and every twelfth cycle,
    so a steady miner costs little.
    """

    device: DeviceId
    at_ms: int
    model: str
    version: int
    score: float
    threshold: float
    top_feature: str


class HistoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a device itself remembers of a moment in which nobody could ask it: a row of the stream `hist`.

    `at_ms` is UTC after the device's clock. It fills gaps in charts and never enters a roll-up step or a
    feature: a step is closed once, with what was there then. `mark` is something that the device noted
    (start, stop, reboot, overheat, ...); then the numbers may all be None. Numbers are the firmware's own.
    """

    device: DeviceId
    at_ms: int
    hashrate_ths: float | None = None
    power_w: float | None = None
    chip_temp_max_c: float | None = None
    board_temp_max_c: float | None = None
    fan_duty_pct: float | None = None
    mark: str | None = None


PositiveSeconds = Annotated[float, msgspec.Meta(gt=0)]
