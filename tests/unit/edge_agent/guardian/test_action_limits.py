"""The profiles that bound policies: shipped, checked, and refused in sentences."""

from pathlib import Path

import pytest

from edge_agent.guardian import action_limits
from shared.errors import ConfigError
from support.guardian import make_site

SEEDS = (Path(action_limits.__file__).parent / "seeds.toml").read_text()


def test_the_shipped_profile_has_the_seeds_numbers() -> None:
    limits = action_limits.load("seeds")
    hashrate, cooling = limits.hashrate, limits.cooling
    assert (hashrate.low_share, hashrate.high_share, hashrate.step_share) == (0.5, 1.0, 0.1)
    assert (hashrate.window_s, hashrate.stable_s) == (300.0, 600.0)
    assert (cooling.step_share, cooling.window_s, cooling.stable_s) == (0.15, 300.0, 900.0)
    assert (cooling.max_swing_k, cooling.max_chip_c) == (5.0, 85.0)


def test_every_shipped_profile_loads() -> None:
    assert "seeds" in action_limits.shipped()
    for name in action_limits.shipped():
        action_limits.load(name)


def test_a_site_may_bring_its_own_beside_its_site_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(SEEDS.replace("0.10", "0.05"))
    site = make_site(tmp_path, edit=lambda text: text.replace('"seeds"', '"mine.toml"'))
    assert action_limits.load(site.site.action_limits).hashrate.step_share == 0.05


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("standard", "no profile 'standard'; there are "),
        ("/nowhere/mine.toml", "/nowhere/mine.toml cannot be read"),
    ],
)
def test_a_profile_that_is_not_there(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        action_limits.load(name)


def test_a_profile_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        action_limits.load(str(tmp_path / "x.toml"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("schema = 1", "schema = 2", "schema is 2, this guardian reads 1"),
        ("schema = 1", "schema = ", "not valid TOML"),
        ("low_share = 0.5", "", "low_share"),
        ("low_share = 0.5", "low_share = 0.5\nlow = 1", "unknown field `low`"),
        ("low_share = 0.5", 'low_share = "half"', "low_share"),
        ("low_share = 0.5", "low_share = 1.0", "expected 0 < low < high"),
        ("low_share = 0.5", "low_share = 0.0", "expected 0 < low < high"),
        ("low_share = 0.5", "low_share = nan", "hashrate.low_share must be a finite number"),
        (
            "step_share = 0.10",
            "step_share = 10.0",
            "hashrate.step_share is 10, expected above 0",
        ),
        ("step_share = 0.15", "step_share = 0.0", "cooling.step_share is 0"),
        ("stable_s = 600.0", "stable_s = 299.0", "else two steps would fit into one"),
        ("window_s = 300.0", "window_s = 0.0", "hashrate.window_s is 0"),
        ("max_swing_k = 5.0", "max_swing_k = 0.0", "max_swing_k is 0, expected above 0"),
        ("max_chip_c = 85.0", "max_chip_c = 185.0", "expected a temperature in °C below 150"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(old: str, new: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        action_limits.parse(SEEDS.replace(old, new, 1), "mine.toml")
    assert str(refused.value).startswith("mine.toml: ")
    assert words in str(refused.value)


def test_every_problem_is_named() -> None:
    text = SEEDS.replace("low_share = 0.5", "low_share = 2.0").replace(
        "max_swing_k = 5.0", "max_swing_k = -1.0"
    )
    with pytest.raises(ConfigError) as refused:
        action_limits.parse(text, "mine.toml")
    assert len(str(refused.value).splitlines()) == 2
