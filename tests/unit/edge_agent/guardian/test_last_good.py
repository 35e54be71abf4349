"""A site file that was edited badly does not cost a site its guardian (S20)."""

from pathlib import Path

import pytest

from edge_agent.guardian import last_good
from shared.errors import ConfigError
from support.guardian import make_site


@pytest.fixture
def path(tmp_path: Path) -> Path:
    make_site(tmp_path)
    return tmp_path / "site.toml"


def spoil(path: Path) -> None:
    path.write_text(path.read_text().replace("trip = 88.0", "trip = 80.0"))


def test_a_good_file_is_itself(path: Path, tmp_path: Path) -> None:
    loaded = last_good.load(path, tmp_path)
    assert loaded.bad is None
    assert len(loaded.site.miners) == 4


def test_a_bad_file_without_a_copy_is_refused_in_its_own_words(path: Path, tmp_path: Path) -> None:
    spoil(path)
    for folder in (tmp_path, None):
        with pytest.raises(ConfigError, match="limits out of order"):
            last_good.load(path, folder)


def test_a_bad_file_gives_way_to_the_last_good_copy_and_says_why(path: Path, tmp_path: Path) -> None:
    good = last_good.load(path, tmp_path)
    last_good.keep(path, tmp_path)
    spoil(path)
    loaded = last_good.load(path, tmp_path)
    assert loaded.site == good.site, "paths are still those beside the site file"
    assert loaded.sha256 == good.sha256
    assert "limits out of order" in (loaded.bad or "")


def test_a_copy_that_cannot_be_kept_stops_nothing(path: Path, tmp_path: Path) -> None:
    last_good.keep(path, tmp_path / "not" / "there")
    assert last_good.load(path, tmp_path / "not" / "there").bad is None
