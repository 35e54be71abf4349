"""Units: conversions at the edge, and the words that name them.

Everywhere inside Minewarden: hashrate TH/s, power W, temperature degrees Celsius, fan speed rpm, shares
and errors as counts, duration s, voltage V, current A, energy kWh, fractions as percent 0..100. A
variable carries its unit in its name (`power_w`, `chip_temp_c`). Adapters convert at the border with the
functions here and nowhere else.
"""

from enum import StrEnum


class Unit(StrEnum):
    """The unit of a metric, as shown to people."""

    TERAHASH = "TH/s"
    WATT = "W"
    CELSIUS = "°C"
    RPM = "rpm"
    PERCENT = "%"
    SECOND = "s"
    COUNT = "count"
    VOLT = "V"
    AMPERE = "A"
    KILOWATT_HOUR = "kWh"
    HERTZ = "Hz"
    MEGAHERTZ = "MHz"
    PASCAL = "Pa"
    CUBIC_METRE_PER_HOUR = "m³/h"
    VOLT_AMPERE = "VA"
    VAR = "var"
    RATIO = "1"
    METRE_PER_SECOND = "m/s"
    MICROGRAM_PER_CUBIC_METRE = "µg/m³"
    DECIBEL = "dB"
    MILLIMETRE_PER_SECOND = "mm/s"
    MILLIMETRE = "mm"
    DEGREE = "°"
    WATT_PER_SQUARE_METRE = "W/m²"
    FLAG = "0/1"


class Algorithm(StrEnum):
    """Proof-of-work family. Totals, J/TH and hashprice are never mixed across algorithms."""

    SHA256D = "sha256d"
    SCRYPT = "scrypt"
    UNKNOWN = "unknown"


def ghs_to_ths(ghs: float) -> float:
    """GH/s to TH/s."""
    return ghs / 1_000.0


def mhs_to_ths(mhs: float) -> float:
    """MH/s to TH/s (scrypt machines report MH/s)."""
    return mhs / 1_000_000.0


def joule_per_terahash(power_w: float, hashrate_ths: float) -> float | None:
    """J/TH = W / (TH/s); None where nothing is hashed, because the ratio does not exist there, and for 0 W,
    because nothing is hashed for nothing: the power is not known there."""
    return power_w / hashrate_ths if hashrate_ths > 0 and power_w > 0 else None
