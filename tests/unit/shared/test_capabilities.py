"""What thousands of machines have in common is kept once."""

from shared.capabilities import Ability, Capability, Preset, one_ladder, one_list


def ladder() -> tuple[Preset, ...]:
    return (Preset(name="2800", power_w=2800.0, hashrate_ths=188.0, tuned=True),)


def abilities(high: float = 100.0) -> tuple[Capability, ...]:
    return (Capability(ability=Ability.FAN_MODE, low=10.0, high=high, choices=("auto", "manual")),)


def test_machines_that_tell_the_same_share_one_ladder_and_one_list() -> None:
    assert one_ladder(ladder()) is one_ladder(ladder())
    assert one_list(abilities()) is one_list(abilities())


def test_what_differs_stays_apart() -> None:
    assert one_list(abilities()) != one_list(abilities(high=90.0))
