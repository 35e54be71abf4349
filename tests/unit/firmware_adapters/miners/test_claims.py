"""What a machine says against what else it says."""

import pytest

from firmware_adapters.miners.claims import power_beside, still_hashes
from shared.telemetry import MISSING, Quality, Reading

STRANGE = Reading(None, Quality.OUT_OF_RANGE)


@pytest.mark.parametrize(
    ("power", "hashrate", "believed"),
    [
        (Reading(0.0), Reading(100.0), MISSING),
        (Reading(0.0, Quality.ESTIMATED), Reading(0.01), MISSING),
        (Reading(0.0), Reading(0.0), Reading(0.0)),
        (Reading(0.0), MISSING, Reading(0.0)),
        (Reading(12.0), Reading(100.0), Reading(12.0)),
        (STRANGE, Reading(100.0), STRANGE),
        (MISSING, Reading(100.0), MISSING),
    ],
)
def test_no_watts_beside_a_hashrate_are_unknown(power: Reading, hashrate: Reading, believed: Reading) -> None:
    assert power_beside(power, hashrate) == believed


@pytest.mark.parametrize(
    ("hashrate_ths", "nominal_ths", "hashes"),
    [
        (100.0, 200.0, True),
        (2.1, 200.0, True),
        (1.9, 200.0, False),
        (0.1, None, True),
        (0.0, None, False),
        (0.0, 200.0, False),
        (None, 200.0, False),
        (None, None, False),
    ],
)
def test_a_machine_that_is_off_hashes_all_the_same_above_the_tail_of_an_average(
    hashrate_ths: float | None, nominal_ths: float | None, hashes: bool
) -> None:
    assert still_hashes(hashrate_ths, nominal_ths) is hashes
