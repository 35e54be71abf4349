"""What a terahash costs, where that is a number at all."""

import pytest

from shared.units import joule_per_terahash


@pytest.mark.parametrize(
    ("power_w", "hashrate_ths", "j_per_th"),
    [
        (3500.0, 200.0, 17.5),
        (3500.0, 0.0, None),
        (0.0, 200.0, None),  # nothing is hashed for nothing: the power is not known
        (0.0, 0.0, None),
    ],
)
def test_a_terahash_has_a_price_only_where_power_and_hashrate_are_both_there(
    power_w: float, hashrate_ths: float, j_per_th: float | None
) -> None:
    assert joule_per_terahash(power_w, hashrate_ths) == j_per_th
