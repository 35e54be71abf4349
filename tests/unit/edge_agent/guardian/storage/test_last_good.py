"""A site file that was edited badly does not cost a site its guardian (S20)."""

import asyncio
from pathlib import Path

import pytest

from edge_agent import config
from edge_agent.guardian.storage import last_good
from edge_agent.ipc import Mode
from shared.alarms import EventKind, Severity
from shared.errors import ConfigError
from support.guardian import ZONE, GuardianBench, make_site


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


# ---------------------------------------------------------------- a whole guardian on the copy


async def test_a_zone_in_manual_goes_safe_and_people_are_told(path: Path) -> None:
    bench = await GuardianBench(config.load(path)).start()
    asked = asyncio.ensure_future(
        bench.guardian.persons.set_mode(ZONE, Mode.MANUAL, by="ada", reason="cleaning")
    )
    await bench.drain()
    await asked
    again = await bench.crash()
    assert again.mode is Mode.MANUAL
    again.guardian._bad_config = "site.toml:12: limits out of order"
    again.guardian._began()
    await again.run(0.5)
    assert again.mode is Mode.SAFE
    [told] = [event for event in again.events(EventKind.ALARM) if event.key == "guardian/site-file"]
    assert told.severity is Severity.URGENT
    assert "limits out of order" in told.title
    await again.close()


async def test_a_reload_of_a_bad_file_changes_nothing_but_an_alarm(path: Path) -> None:
    bench = await GuardianBench(config.load(path)).start()
    spoil(path)
    bench.guardian.look_at(path)
    assert not bench.guardian._stopping.is_set()
    assert [e.key for e in bench.events(EventKind.ALARM)] == ["guardian/site-file"]
    await bench.close()


async def test_a_reload_of_a_good_file_that_differs_ends_the_process(path: Path) -> None:
    bench = await GuardianBench(config.load(path)).start()
    path.write_text(path.read_text() + "# a remark\n")
    bench.guardian.look_at(path)
    assert bench.guardian._stopping.is_set()
    await bench.close()
