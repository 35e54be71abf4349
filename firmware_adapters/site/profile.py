"""Device profiles: one TOML file per model says what its registers or OIDs mean.

A profile is data that people write from a manual, so it is checked as strictly as a site file: unknown keys
are refused, units must be those of `shared.telemetry.METRICS`, plausibility limits are mandatory, and every
profile names its source.
"""

import re
import tomllib
from importlib import resources
from typing import Self

import msgspec

from firmware_adapters.site.codec import DataType, WordOrder
from firmware_adapters.transport.modbus_plan import Span, Table
from shared.errors import ConfigError
from shared.telemetry import METRICS, DeviceKind, metric_of
from shared.units import Unit

SCHEMA = 1


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Unknown keys are refused everywhere in a profile."""


class Step(_Strict, frozen=True, kw_only=True):
    """One more register to write after the point itself, such as a drive's control word."""

    address: int
    value: int


class WriteRule(_Strict, frozen=True, kw_only=True):
    """How a point is written, in the point's own unit.

    `low`/`high` bound what may be written at all, `fail_safe` is the side to fall to (cooling fails on, S11),
    `settle_s` how long the change takes to show. Modbus: `multiple` asks for FC16 even for one register,
    `then` are registers written afterwards. SNMP: `oid` is the command object where it is not the one read,
    `values` maps the point's value to the integer that commands it.
    """

    low: float
    high: float
    settle_s: float
    fail_safe: float | None = None
    multiple: bool = False
    then: tuple[Step, ...] = ()
    oid: str | None = None
    values: dict[str, int] = {}


class Point(_Strict, frozen=True, kw_only=True):
    """One value: a Modbus address (`table`, `address`, `type`) or an SNMP `oid`.

    Value = raw x `scale` + `offset`, in `unit`; outside `low`..`high` it cannot be true. `{n}` in name and
    OID counts from 1 to `count`; consecutive Modbus points lie `stride` registers apart. An `optional`
    point is left out where the device does not have it; a mandatory one is then reported as missing.
    """

    name: str
    unit: str
    low: float | None = None
    high: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    not_available: tuple[float, ...] = ()
    values: dict[str, float] = {}
    invert: bool = False
    optional: bool = False
    count: int | None = None
    stride: int | None = None
    table: Table | None = None
    address: int | None = None
    type: DataType | None = None
    bit: int | None = None
    oid: str | None = None
    write: WriteRule | None = None

    @property
    def is_flag(self) -> bool:
        return self.unit == Unit.FLAG

    @property
    def bounds(self) -> tuple[float, float]:
        """The plausibility limits; a flag's are 0 and 1."""
        if self.is_flag:
            return 0.0, 1.0
        assert self.low is not None  # noqa: S101 - `_check_point` refused the profile otherwise
        assert self.high is not None  # noqa: S101 - same
        return self.low, self.high

    @property
    def span(self) -> Span:
        """Where a Modbus point lies."""
        assert self.table is not None  # noqa: S101 - `_check_modbus` refused the profile otherwise
        assert self.address is not None  # noqa: S101 - same
        assert self.type is not None  # noqa: S101 - same
        return Span(self.table, self.address, self.type.words)


class ModbusRules(_Strict, frozen=True, kw_only=True):
    """What the device can bear: longest read, holes read over, registers' word order, one client or many."""

    word_order: WordOrder
    max_registers: int
    max_bits: int
    gap: int
    single_connection: bool


class SnmpRules(_Strict, frozen=True, kw_only=True):
    """`max_oids` per GET; `identity_oid` is read once for the page (usually sysDescr)."""

    max_oids: int
    identity_oid: str


class Profile(_Strict, frozen=True, kw_only=True):
    """A checked profile, with every `{n}` written out."""

    schema: int
    model: str
    kind: DeviceKind
    about: str
    source: str
    modbus: ModbusRules | None = None
    snmp: SnmpRules | None = None
    points: tuple[Point, ...]

    def point(self, name: str) -> Point | None:
        """The point of that name, or None."""
        return next((point for point in self.points if point.name == name), None)

    @property
    def writable(self) -> tuple[Point, ...]:
        return tuple(point for point in self.points if point.write is not None)

    def expanded(self) -> Self:
        """The same with every counted point written out."""
        points = [single for point in self.points for single in _expand(point)]
        return msgspec.structs.replace(self, points=tuple(points))


def profile_names() -> tuple[str, ...]:
    """Every profile that ships, sorted."""
    folder = resources.files("firmware_adapters.site") / "profiles"
    return tuple(
        sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
    )


def load_profile(name: str) -> Profile:
    """A shipped profile by name. Raises `ConfigError` for an unknown name or a file that does not hold."""
    if name not in profile_names():
        raise ConfigError(f"no device profile {name!r}; known are {', '.join(profile_names())}")
    text = (resources.files("firmware_adapters.site") / "profiles" / f"{name}.toml").read_text("utf-8")
    return parse_profile(text, f"{name}.toml")


def parse_profile(text: str, where: str) -> Profile:
    """Check a profile's text; `where` is for messages. Raises `ConfigError` saying what is expected."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}") from error
    try:
        profile = msgspec.convert(raw, Profile)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {_explained(str(error), raw)}") from error
    problems = _check(profile)
    if not problems:
        profile = profile.expanded()
        problems = _check_names(profile)
    if problems:
        raise ConfigError("\n".join(f"{where}: {problem}" for problem in problems))
    return profile


def _explained(text: str, raw: dict[str, object]) -> str:
    """msgspec says `$.points[...]`; name the points so that the line can be found."""
    names = [str(p.get("name")) for p in raw.get("points", []) if isinstance(p, dict)]  # type: ignore[attr-defined]  # `raw` is unchecked TOML, and a non-list has no dict entries
    known = f" (points: {', '.join(names)})" if "points[" in text and names else ""
    return text + known


def _expand(point: Point) -> list[Point]:
    if point.count is None:
        return [point]
    stride = point.stride or (point.type.words if point.type else 1)
    single: list[Point] = []
    for index in range(1, point.count + 1):
        rule = point.write
        if rule is not None and rule.oid is not None:
            rule = msgspec.structs.replace(rule, oid=rule.oid.replace("{n}", str(index)))
        single.append(
            msgspec.structs.replace(
                point,
                name=point.name.replace("{n}", str(index)),
                oid=point.oid.replace("{n}", str(index)) if point.oid else None,
                address=None if point.address is None else point.address + (index - 1) * stride,
                write=rule,
                count=None,
            )
        )
    return single


# ---------------------------------------------------------------- meaning


def _check(profile: Profile) -> list[str]:
    problems: list[str] = []
    if profile.schema != SCHEMA:
        problems.append(f"schema: is {profile.schema}, this version reads {SCHEMA}")
    if (profile.modbus is None) == (profile.snmp is None):
        problems.append("exactly one of [modbus] and [snmp] says how the device is spoken to")
    if not profile.points:
        problems.append("points: a profile needs at least one [[points]]")
    if not profile.source.strip():
        problems.append("source: say where the numbers come from")
    for point in profile.points:
        problems += [f"{point.name}: {text}" for text in _check_point(point)]
        check = _check_modbus if profile.modbus is not None else _check_snmp
        problems += [f"{point.name}: {text}" for text in check(point)]
    return problems


def _check_point(point: Point) -> list[str]:
    problems: list[str] = []
    try:
        metric = metric_of(point.name)
    except KeyError:
        return [f"unknown metric; known are {', '.join(METRICS)}"]
    if point.unit != metric.unit:
        problems.append(f"unit: is {point.unit!r}, this metric is in {metric.unit.value!r}")
    if point.scale == 0:
        problems.append("scale: must not be 0")
    if not point.is_flag:
        if point.low is None or point.high is None:
            problems.append("low and high: plausibility limits are mandatory and have no default")
        elif not metric.low <= point.low < point.high <= metric.high:
            problems.append(f"low, high: expected {metric.low:g} <= low < high <= {metric.high:g}")
    if point.count is not None and ("{n}" not in point.name or point.count < 1):
        problems.append("count: needs {n} in the name and at least 1")
    rule = point.write
    if rule is not None:
        if not metric.low <= rule.low <= rule.high <= metric.high:
            problems.append(f"write: expected {metric.low:g} <= low <= high <= {metric.high:g}")
        if rule.fail_safe is not None and not rule.low <= rule.fail_safe <= rule.high:
            problems.append("write.fail_safe: lies outside what may be written")
    return problems


def _check_modbus(point: Point) -> list[str]:
    problems: list[str] = []
    if point.table is None or point.address is None or point.type is None or point.oid is not None:
        return ["a Modbus point needs table, address and type, and no oid"]
    if not 0 <= point.address <= 0xFFFF:
        problems.append("address: expected 0 to 65535 (zero-based PDU address)")
    if (point.type is DataType.BOOL) != point.is_flag and not point.values:
        problems.append("type bool and unit 0/1 belong together")
    if point.table.is_bits and point.type is not DataType.BOOL:
        problems.append("type: coils and discrete inputs are bool")
    needs_bit = point.type is DataType.BOOL and not point.table.is_bits
    if needs_bit != (point.bit is not None) or not 0 <= (point.bit or 0) <= 15:
        problems.append("bit: 0 to 15, for a bool in a register and nowhere else")
    if point.write is not None and point.table not in (Table.COIL, Table.HOLDING):
        problems.append("write: only coils and holding registers can be written")
    if point.write is not None and point.bit is not None:
        problems.append("write: a single bit of a register cannot be written safely")
    if point.write is not None and (point.write.oid is not None or point.write.values):
        problems.append("write: oid and values are for SNMP")
    return problems


def _check_snmp(point: Point) -> list[str]:
    problems: list[str] = []
    if point.oid is None or point.table is not None or point.address is not None:
        return ["an SNMP point needs an oid, and no table or address"]
    for key, oid in (("oid", point.oid), ("write.oid", point.write.oid if point.write else None)):
        if oid is not None and not re.fullmatch(r"1\.3(\.\d+)*(\.\{n\})?(\.\d+)*", oid):
            problems.append(f"{key}: expected a numeric OID such as 1.3.6.1.4.1.318, found {oid!r}")
        if oid is not None and ("{n}" in oid) != (point.count is not None):
            problems.append(f"{key}: {{n}} and count belong together")
    if point.is_flag and not point.values:
        problems.append("values: a flag read over SNMP needs the integers that mean 0 and 1")
    if point.write is not None and not point.write.values:
        problems.append("write.values: say which integer commands which value")
    return problems


def _check_names(profile: Profile) -> list[str]:
    seen: set[str] = set()
    problems: list[str] = []
    for point in profile.points:
        if point.name in seen:
            problems.append(f"{point.name}: is listed twice")
        seen.add(point.name)
    return problems
