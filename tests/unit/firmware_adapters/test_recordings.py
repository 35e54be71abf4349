"""Whatever stands in `../shared/recordings` is identified, read, and every number with a meaning is told.

Folders are found, not named: one that is dropped in is held against `support.meanings`, which reads its
replies a second time. What is known of the present ones in detail stands in
`miners/<firmware>/test_recordings.py`.
"""

import json
from pathlib import Path

import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.discovery.ask import Asker
from firmware_adapters.discovery.examine import Examined
from firmware_adapters.discovery.probe import Look, probe
from firmware_adapters.discovery.saving import save
from shared.clock import SystemClock
from shared.telemetry import MinerState
from support.meanings import expected
from support.mixed_site import FIRMWARES, credential_of
from support.probe_fleet import fleet
from support.recordings import RECORDINGS, Recording, folders
from support.replay import Whole, replayed

FOUND = folders()
NAMES = [f"{folder.parent.name}/{folder.name}" for folder in FOUND]
ROUNDING = 1e-6


async def means_what_it_says(folder: Path, host: str) -> None:
    """Identified by its replies, read without a failure, and the sample agrees with them and with itself."""
    recording, machine = Recording(folder), Whole(folder)
    if recording.adapter not in FIRMWARES:
        pytest.skip(f"{folder}: a firmware that is not spoken to")
    key = Credential(user="root", secret="its-own-word")
    async with replayed(host, machine) as port, Asker() as asker:
        found = await probe(asker, host, port, Look(credential=key), SystemClock())
    assert found.identified, "nothing tells which firmware it is"
    assert found.identified[0].adapter == recording.adapter
    assert found.examined is not None
    seen = found.examined.observation
    assert seen is not None, found.examined.not_read
    assert not {one.code for one in found.examined.not_read} & {"malformed", "error"}
    told = {point: reading.value for point, reading in seen.readings.items()}
    for point, value in expected(recording).items():
        if point == "hashrate_ths" and seen.state is MinerState.STOPPED:
            continue  # what an average keeps for a while of a machine that was told to stop
        assert told.get(point) == pytest.approx(value, rel=ROUNDING), point
    agrees_with_itself(found.examined)


def agrees_with_itself(seen: Examined) -> None:
    """Boards and sample are of one machine, and no state speaks against the numbers."""
    assert seen.observation is not None
    value = {point: reading.value for point, reading in seen.observation.readings.items()}
    boards = seen.boards or ()
    rates = [board.hashrate_ths for board in boards]
    whole = value.get("hashrate_ths")
    if whole and rates and None not in rates and all(board.working for board in boards):
        # A total is of another span of time than its boards, and 0.7 of them on old VNish (miners.md §1.5).
        assert sum(rate or 0.0 for rate in rates) == pytest.approx(whole, rel=0.45), "boards make the whole"
    for name in ("chip_temp_max_c", "board_temp_max_c"):
        hottest = [heat for board in boards if (heat := getattr(board, name)) is not None]
        if hottest and value.get(name) is not None:
            assert max(hottest) <= value[name] + 5, "the sample tells the hottest of all, moments apart"
    for kind in ("chip", "board"):
        low, high = value.get(f"{kind}_temp_min_c"), value.get(f"{kind}_temp_max_c")
        assert low is None or high is None or low <= high
    working = [board.working for board in boards]
    if boards and None not in working and value.get("boards_working") is not None:
        assert value["boards_working"] == sum(one is True for one in working)
    accepted = [pool.accepted for pool in seen.pools or () if pool.ours]
    if accepted and None not in accepted and value.get("shares_accepted") is not None:
        counted = sum(count or 0.0 for count in accepted)
        assert counted == pytest.approx(value["shares_accepted"], rel=0.05, abs=5), "moments apart"
    if seen.observation.state is MinerState.STOPPED:
        assert not whole or whole < 0.01 * (value.get("hashrate_nominal_ths") or whole)


@pytest.mark.parametrize("folder", FOUND, ids=NAMES)
async def test_a_recording_means_what_it_says(folder: Path) -> None:
    await means_what_it_says(folder, "127.89.1.1")


def test_there_is_something_to_read() -> None:
    if not FOUND:
        pytest.skip(f"no recordings in {RECORDINGS}")


@pytest.mark.parametrize("adapter", FIRMWARES)
async def test_what_diagnostics_keeps_of_an_emulated_machine_means_what_it_says(
    adapter: str, tmp_path: Path
) -> None:
    """The same test as a dropped-in recording gets: it fails for a firmware that it does not understand."""
    key = credential_of(adapter)
    async with fleet("127.89.2", adapters=(adapter,)) as machines, Asker() as asker:
        one = machines[adapter]
        found = await probe(asker, one.host, one.port, Look(credential=key), SystemClock())
    place = save(found, tmp_path, key.secret)
    assert place is not None
    assert len(expected(Recording(place))) >= 2, "the second reading knows these replies"
    await means_what_it_says(place, "127.89.3.1")


async def test_a_recording_that_an_adapter_misreads_is_found_out(tmp_path: Path) -> None:
    """A duty in another unit, as a later release may tell it: nobody has to have foreseen that."""
    key = credential_of("axeos")
    async with fleet("127.89.4", adapters=("axeos",)) as machines, Asker() as asker:
        one = machines["axeos"]
        found = await probe(asker, one.host, one.port, Look(credential=key), SystemClock())
    place = save(found, tmp_path, key.secret)
    assert place is not None
    page = json.loads((place / "system_info.json").read_bytes())
    assert page["sharesAccepted"] > 0
    (place / "system_info.json").write_text(json.dumps({**page, "fanspeed": 1_000}))
    with pytest.raises(AssertionError, match="fan_duty_pct"):
        await means_what_it_says(place, "127.89.5.1")
