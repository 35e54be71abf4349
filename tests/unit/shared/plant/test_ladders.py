"""Ladders are data: they must agree with themselves and with the chips they describe."""

import pytest

from shared.plant import MinerModel, load_ladders
from shared.plant.ladders import UNIT_OF_ALGORITHM

MODELS = list(load_ladders().values())


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_units_follow_the_algorithm(model: MinerModel) -> None:
    assert model.hashrate_unit == UNIT_OF_ALGORITHM[model.algorithm]
    assert (model.fans == 0) == (model.cooling == "hydro")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_rungs_rise_in_everything(model: MinerModel) -> None:
    for low, high in zip(model.presets, model.presets[1:], strict=False):
        assert low.power_w < high.power_w
        assert low.hashrate < high.hashrate
        assert low.freq_mhz <= high.freq_mhz
        assert low.volt_v <= high.volt_v


@pytest.mark.parametrize("name", ["S19j Pro", "S19 XP", "S21 Pro", "S19 Pro"])
def test_clock_times_cores_gives_the_labelled_hashrate(name: str) -> None:
    """plant.md §1.1: chips x hashes per clock x frequency; labels are met within the spread of the table."""
    model = load_ladders()[name]
    stock = model.presets[model.stock_preset]
    ideal = model.boards * model.chips_per_board * model.hashes_per_clock * stock.freq_mhz * 1e6
    assert ideal == pytest.approx(stock.hashrate * model.hashes_per_unit, rel=0.06)


def test_the_scrypt_machine_is_counted_in_gigahashes_and_marked_as_a_default() -> None:
    l9 = load_ladders()["L9"]
    assert (l9.algorithm, l9.hashrate_unit) == ("scrypt", "GH/s")
    assert "default" in l9.source


def test_presets_are_found_by_name_only_if_they_exist() -> None:
    model = load_ladders()["S19j Pro"]
    assert model.presets[model.preset_index("2700")].hashrate == 96
    with pytest.raises(KeyError, match="2100"):
        model.preset_index("2100")


def test_rungs_above_the_supply_need_a_modded_psu() -> None:
    flags = {preset.name: preset.modded_psu for preset in load_ladders()["S19j Pro"].presets}
    assert not flags["3580"]
    assert flags["3670"]


def test_the_ladders_are_read_only() -> None:
    with pytest.raises(TypeError):
        load_ladders()["S19"] = MODELS[0]
