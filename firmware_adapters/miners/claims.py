"""What a machine claims, held against what else it says; shared by the firmwares. Pure, never raises."""

from shared.telemetry import MISSING, Reading

TAIL_SHARE = 0.01
"""Of the nominal hashrate: less is what is left of an average. One over 5 s, which dies away by a factor e in
each of them, falls below this 23 s after the boards have gone off [default]."""


def power_beside(power: Reading, hashrate: Reading) -> Reading:
    """The power reading; MISSING where it says 0 W beside a hashrate: nothing hashes for nothing, so it is a
    supply that cannot be read."""
    return MISSING if power.value == 0 and (hashrate.usable or 0.0) > 0 else power


def still_hashes(hashrate_ths: float | None, nominal_ths: float | None) -> bool:
    """Whether a machine that says it is off hashes all the same; both TH/s, None is unknown.

    The word may be no more than the echo of our order, so a hashrate speaks against it, but for the tail of
    an average.
    """
    return hashrate_ths is not None and hashrate_ths > TAIL_SHARE * (nominal_ths or 0.0)
