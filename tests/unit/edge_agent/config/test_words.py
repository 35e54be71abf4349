"""A word that the site file does not know is answered with those that it does."""

from pathlib import Path

import pytest

from edge_agent import config
from shared.errors import ConfigError
from support.guardian import site_toml

PATH = Path("/etc/minewarden/site.toml")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('kind = "miner"', 'kind = "minr"', "devices[3].kind: is 'minr', expected one of miner, "),
        (
            'algorithm = "sha256d"',
            'algorithm = "sha256"',
            "algorithm: is 'sha256', expected one of sha256d, ",
        ),
        (
            'role = "inlet_air_c"',
            'role = "inlet"',
            "role: is 'inlet', expected one of inlet_air_c, water_c, ",
        ),
    ],
)
def test_a_word_that_is_not_known_is_answered_with_those_that_are(old: str, new: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config.parse(site_toml().replace(old, new, 1), PATH)
    assert words in str(refused.value)
