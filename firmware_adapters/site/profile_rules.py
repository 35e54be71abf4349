"""How a profile's device is spoken to, protocol by protocol, as frozen structs (see `profile_shape`)."""

import msgspec

from firmware_adapters.site.codec import WordOrder


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Unknown keys are refused everywhere in a profile."""


class Step(Strict, frozen=True, kw_only=True):
    """One more register to write after the point itself, such as a drive's control word."""

    address: int
    value: int


class SunSpec(Strict, frozen=True, kw_only=True):
    """The device lists its registers itself: a chain of information models, each with its number and length.

    The first of `models` that the chain has is read, and every address of the profile counts from the
    register that holds its number. `bases` is where the chain may begin.
    """

    models: tuple[int, ...]
    bases: tuple[int, ...] = (40000, 50000, 0)


class ModbusRules(Strict, frozen=True, kw_only=True):
    """What the device can bear: longest read, holes read over, registers' word order, one client or many."""

    word_order: WordOrder
    max_registers: int
    max_bits: int
    gap: int
    single_connection: bool
    sunspec: SunSpec | None = None


class SensorMetric(Strict, frozen=True, kw_only=True):
    """What a row of a sensor table becomes whose type is `type`: the metric, in `unit`, within its limits."""

    type: int
    metric: str
    unit: str
    low: float
    high: float
    scale: float = 1.0


class SensorTable(Strict, frozen=True, kw_only=True):
    """A table whose rows say themselves what they measure (ENTITY-SENSOR-MIB, RFC 3433).

    `type`, `exponent`, `digits`, `value` and `status` are columns. A row's number is value x
    10^(`exponents`[exponent] - digits); a row whose status is not in `working` has none. Rows become points
    `metric.index`, after the last number of their OID. At most `max_rows` are taken.
    """

    type: str
    exponent: str
    digits: str
    value: str
    status: str
    exponents: dict[str, int]
    working: tuple[int, ...]
    unavailable: tuple[int, ...] = ()
    not_available: tuple[float, ...] = ()
    max_rows: int
    metrics: tuple[SensorMetric, ...]


class SnmpRules(Strict, frozen=True, kw_only=True):
    """`max_oids` per GET; `identity_oid` is read once for the page (usually sysDescr).

    `{u}` in an OID is the agent's number of the unit in a chain: the site file's `unit_id`, from 1, with the
    first one being `unit_base` on the wire.
    """

    max_oids: int
    identity_oid: str
    unit_base: int = 1
    sensors: SensorTable | None = None


class BacnetRules(Strict, frozen=True, kw_only=True):
    """`max_objects` per ReadPropertyMultiple; `priority` of every write, 8 to 10 of 16.

    Above it stand life safety and a person's hand on the machine; below it the building's own programme,
    which takes over again when a write is released.
    """

    max_objects: int
    priority: int
