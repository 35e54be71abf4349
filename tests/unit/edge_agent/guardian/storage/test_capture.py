"""First-out capture and what a person reads of it (S23)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.config import SiteFile
from edge_agent.guardian.operators.explain import explain
from edge_agent.guardian.storage import capture
from support.guardian import ZONE, GuardianBench, make_site


@pytest.fixture
def site(tmp_path: Path) -> SiteFile:
    return make_site(tmp_path)


@pytest.fixture
async def bench(site: SiteFile) -> AsyncIterator[GuardianBench]:
    bench = GuardianBench(site)
    await bench.start()
    yield bench
    await bench.close()


def folder(bench: GuardianBench) -> Path:
    return Path(bench.site.paths.guardian_state) / "captures"


async def trip(bench: GuardianBench) -> str:
    await bench.run(80.0)
    bench.wall.broken = True
    await bench.run(7.0)
    [first, *_] = bench.guardian.cycle.statuses[ZONE].trips
    return first.id


async def written(bench: GuardianBench, trip: str) -> capture.Capture:
    await bench.drain()
    story = capture.find(folder(bench), trip)
    assert story is not None
    return story


async def test_the_minute_before_is_on_the_disk_at_once(bench: GuardianBench) -> None:
    story = await written(bench, await trip(bench))
    assert not story.complete
    times = [sample.at_s for sample in story.samples]
    assert story.at_s - 75.0 <= min(times) < story.at_s - 60.0
    speeds = [sample.usable("speed_pct") for sample in story.samples if sample.device == "wall-1"]
    assert speeds[0] == 80.0
    assert 0.0 in speeds


async def test_a_minute_later_the_file_holds_both_halves(bench: GuardianBench) -> None:
    trip_id = await trip(bench)
    await bench.run(62.0)
    story = await written(bench, trip_id)
    assert story.complete
    assert max(sample.at_s for sample in story.samples) > story.at_s + 55.0


async def test_what_trips_within_the_minute_joins_in_its_order(bench: GuardianBench) -> None:
    bench.miner(1).ignores = True
    first = await trip(bench)
    bench.miner(1).chip_c = 95.0
    await bench.run(62.0)
    story = await written(bench, first)
    assert [entry.interlock for entry in story.trips] == ["cooling-lost", "chip-temp", "board-temp"]
    assert story.offsets_s[0] == 0.0 < story.offsets_s[1]
    assert len(capture.stored(folder(bench))) == 1


async def test_the_oldest_captures_go_first(bench: GuardianBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "KEEP", 2)
    folder(bench).mkdir()
    for old in range(3):
        (folder(bench) / f"{old:015d}-x.capture").write_bytes(b"old")
    trip_id = await trip(bench)
    await written(bench, trip_id)
    names = [path.name for path in capture.stored(folder(bench))]
    assert len(names) == 2
    assert names[0] == f"{2:015d}-x.capture"


async def test_a_damaged_capture_is_passed_over(bench: GuardianBench) -> None:
    folder(bench).mkdir()
    (folder(bench) / "999999999999999-x.capture").write_bytes(b"not packed")
    assert capture.find(folder(bench), "nothing") is None


# ---------------------------------------------------------------- in words


async def test_explain_tells_first_out_journal_and_inputs(bench: GuardianBench) -> None:
    trip_id = await trip(bench)
    await bench.run(62.0)
    await bench.drain()
    lines = explain(bench.guardian.journal, folder(bench), trip_id)
    assert lines is not None
    text = "\n".join(lines)
    assert "cooling lost: wall-1 speed_pct is 0, must be above 20" in lines[0]
    assert "+  0.00 s  cooling-lost (whole zone)" in text
    assert "mode" in text
    wall = next(line for line in lines if line.startswith("  wall-1 speed_pct"))
    cells = wall.split()[2:]
    assert len(cells) == 11
    assert cells[:3] == ["80", "80", "80"]
    assert set(cells[5:]) == {"0"}
    assert any("hottest chip of 4 miners" in line for line in lines)


async def test_explain_knows_a_proposal_by_its_id_and_says_that_nothing_was_frozen(
    bench: GuardianBench,
) -> None:
    bench.guardian.persons.safe_stop(None, by="ada", reason="smoke")
    await bench.run(3.0)
    event = bench.events()[-1].id
    lines = explain(bench.guardian.journal, folder(bench), event)
    assert lines is not None
    assert "only trips are" in lines[-1]
    assert explain(bench.guardian.journal, folder(bench), "no-such-thing") is None
