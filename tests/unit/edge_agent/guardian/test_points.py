"""Cooling points are checked against the profiles before a guardian starts."""

from pathlib import Path

import pytest

from edge_agent.cli import check_config
from edge_agent.guardian.app import Guardian
from shared.errors import ConfigError
from support.guardian import make_site


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('point = "speed_setpoint_pct"', 'point = "speed_setpont_pct"', "no writable point"),
        ('point = "speed_setpoint_pct"', 'point = "speed_pct"', "no writable point 'speed_pct'"),
        ("fail_safe = 100.0", "fail_safe = 150.0", "fail_safe of speed_setpoint_pct is 150"),
        ('point = "speed_pct"', 'point = "flow_m3h"', "has no point 'flow_m3h'"),
    ],
)
def test_a_fail_safe_that_could_not_be_written_stops_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    site = make_site(tmp_path, edit=lambda text: text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=words):
        Guardian(site, config_sha256="0" * 64)
    assert check_config(["--site", str(tmp_path / "site.toml")]) == 2
    assert words in capsys.readouterr().err


def test_a_good_file_passes(tmp_path: Path) -> None:
    make_site(tmp_path)
    assert check_config(["--site", str(tmp_path / "site.toml")]) == 0
