"""What a BACnet object's engineering unit (clause 21) means for a point of ours (pure)."""

import msgspec

from shared.units import Unit

NO_UNITS = 95


class Conversion(msgspec.Struct, frozen=True):
    """Ours = theirs x `scale` + `offset`."""

    scale: float = 1.0
    offset: float = 0.0


SAME = Conversion()

_KNOWN: dict[int, tuple[Unit, Conversion]] = {
    62: (Unit.CELSIUS, SAME),
    63: (Unit.CELSIUS, Conversion(1.0, -273.15)),
    64: (Unit.CELSIUS, Conversion(5 / 9, -160 / 9)),
    98: (Unit.PERCENT, SAME),
    29: (Unit.PERCENT, SAME),
    47: (Unit.WATT, SAME),
    48: (Unit.WATT, Conversion(1e3)),
    49: (Unit.WATT, Conversion(1e6)),
    8: (Unit.VOLT_AMPERE, SAME),
    9: (Unit.VOLT_AMPERE, Conversion(1e3)),
    11: (Unit.VAR, SAME),
    12: (Unit.VAR, Conversion(1e3)),
    18: (Unit.KILOWATT_HOUR, Conversion(1e-3)),
    19: (Unit.KILOWATT_HOUR, SAME),
    5: (Unit.VOLT, SAME),
    124: (Unit.VOLT, Conversion(1e-3)),
    6: (Unit.VOLT, Conversion(1e3)),
    3: (Unit.AMPERE, SAME),
    2: (Unit.AMPERE, Conversion(1e-3)),
    27: (Unit.HERTZ, SAME),
    104: (Unit.RPM, SAME),
    53: (Unit.PASCAL, SAME),
    54: (Unit.PASCAL, Conversion(1e3)),
    55: (Unit.PASCAL, Conversion(1e5)),
    133: (Unit.PASCAL, Conversion(1e2)),
    135: (Unit.CUBIC_METRE_PER_HOUR, SAME),
    85: (Unit.CUBIC_METRE_PER_HOUR, Conversion(3600.0)),
    87: (Unit.CUBIC_METRE_PER_HOUR, Conversion(3.6)),
    88: (Unit.CUBIC_METRE_PER_HOUR, Conversion(0.06)),
    73: (Unit.SECOND, SAME),
    72: (Unit.SECOND, Conversion(60.0)),
    71: (Unit.SECOND, Conversion(3600.0)),
    74: (Unit.METRE_PER_SECOND, SAME),
}


def conversion(theirs: int | None, ours: str) -> Conversion | None:
    """How a number in unit `theirs` becomes one in `ours`; None where they measure different things.

    An object without a unit, or with one that is not listed, is taken as the profile says.
    """
    if theirs is None or theirs == NO_UNITS or theirs not in _KNOWN:
        return SAME
    unit, found = _KNOWN[theirs]
    return found if unit == ours else None
