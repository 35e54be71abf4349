"""A full disk, a damaged journal: the safe direction waits for no storage, and damage is named (S21, S22)."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent import ipc
from edge_agent.guardian.storage.journal import segments
from shared.alarms import EventKind
from shared.commands import ActionOutcome, SetPreset
from support.guardian import miner_id
from support.processes import Open, ProcessSite, Undisturbed, fill_journal
from support.processes_agent import TestAgent
from support.processes_disk import SmallDisk, why_not
from support.processes_table import FaultTable

pytestmark = [pytest.mark.slow, pytest.mark.alone]
RAISE = SetPreset(device=miner_id(1), preset="2970")
STOCK = "2700"
SEGMENT_BYTES = 20_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if why := why_not():
        pytest.skip(why)
    folder = tmp_path / "site" / "guardian"
    folder.mkdir(parents=True)
    disk = SmallDisk(folder)
    yield disk
    disk.close()


async def _order(site: ProcessSite, action: SetPreset) -> ipc.Result:
    """One signed order and what became of it."""
    counter = site.next_counter()
    async with TestAgent(site.site) as agent:
        return await agent.order(action, command=f"o-{counter}", clock=site.clock, counter=counter)


def _told(site: ProcessSite, kind: EventKind) -> bool:
    return any(entry.event.kind is kind for entry in site.journal())


async def test_full_disk(opened: Open, table: FaultTable, undisturbed: Undisturbed, disk: SmallDisk) -> None:
    site = await opened(disk=disk).start()
    disk.fill()
    reasons = ""
    while not ("counter cannot be stored" in reasons and "journal cannot store" in reasons):
        refused = await _order(site, RAISE)
        assert refused.outcome is ActionOutcome.REJECTED, refused
        reasons += "; ".join(refused.violations)
    assert not (site.state / "journal" / "journal.reserve").exists(), "the reserve was given up"
    assert site.presets()["m-1"] == STOCK

    disk.free()
    freed_s = site.clock.monotonic()
    raised = await _order(site, RAISE)
    while raised.outcome is not ActionOutcome.APPLIED:
        assert site.clock.monotonic() < freed_s + 20.0, raised
        raised = await _order(site, RAISE)
    again_s = site.clock.monotonic() - freed_s
    assert site.presets()["m-1"] == RAISE.preset

    disk.fill()
    stopped = await site.until_stopped(site.lose_cooling())
    assert undisturbed.held(stopped)
    assert site.unharmed()
    disk.free()
    await site.until(lambda: _told(site, EventKind.TRIPPED), what="the trip stands in the journal")
    site.kill_guardian()
    site.repair()
    site.start_guardian()
    status = await site.until_status(lambda s: True)
    assert status.mode is ipc.Mode.TRIPPED, "and the latch is on the disk"
    code, said = site.guardian_command("verify-journal")
    assert code == 0, said
    table.add(
        "disk full",
        "raises refused, stops and the trip as ever; with room again the raise is carried out, and trip and "
        "latch are on the disk",
        stopped,
        room_again_to_raise_confirmed=again_s,
    )


# ---------------------------------------------------------------- a damaged journal


def _change_a_word(files: list[Path]) -> str:
    """One bit of one title: every line still decodes."""
    lines = files[-1].read_bytes().splitlines(keepends=True)
    number = len(lines) // 2
    lines[number] = lines[number].replace(b"x", b"y", 1)
    files[-1].write_bytes(b"".join(lines))
    return f"{files[-1].name}:{number + 1}"


def _scribble(files: list[Path]) -> str:
    lines = files[-1].read_bytes().splitlines(keepends=True)
    number = len(lines) // 2
    lines[number] = b"\xff" * 50 + b"\n"
    files[-1].write_bytes(b"".join(lines))
    return f"{files[-1].name}:{number + 1}"


def _cut_the_end(files: list[Path]) -> str:
    """A line and a half are gone."""
    data = files[-1].read_bytes()
    lines = data.splitlines(keepends=True)
    files[-1].write_bytes(data[: len(data) - len(lines[-1]) - len(lines[-2]) // 2])
    return f"{files[-1].name}:{len(lines) - 1}"


def _delete_one(files: list[Path]) -> str:
    files[len(files) // 2].unlink()
    return files[len(files) // 2 + 1].name


DAMAGES: dict[str, Callable[[list[Path]], str]] = {
    "a changed word": _change_a_word,
    "a deleted segment": _delete_one,
    "a cut end": _cut_the_end,
    "noise in the middle": _scribble,
}


async def test_damaged_journal(opened: Open, table: FaultTable, undisturbed: Undisturbed) -> None:
    """Each damage on a copy of the same journal; the last one stays, and cooling is lost on top of it."""
    site = opened()
    fill_journal(site, 200, segment_bytes=SEGMENT_BYTES)
    folder = site.state / "journal"
    await site.start()
    site.kill_guardian()
    whole = shutil.copytree(folder, site.folder / "whole")
    assert len(segments(folder)) > 4
    started: list[float] = []
    for what, damage in DAMAGES.items():
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)
        place = damage(segments(folder))
        began_s = site.clock.monotonic()
        site.start_guardian()
        await site.until_status(lambda s: True)
        started.append(site.clock.monotonic() - began_s)
        await site.until(lambda: _alarmed(site), what=f"{what} is an alarm")
        code, said = site.guardian_command("verify-journal")
        assert (code, place in said) == (1, True), f"{what}: {place} is not named in {said}"
        if damage is not _scribble:
            site.kill_guardian()
    await site.ready()
    stopped = await site.until_stopped(site.lose_cooling())
    assert undisturbed.held(stopped)
    assert site.unharmed()
    table.add(
        f"journal damaged: {', '.join(DAMAGES)}",
        "starts every time, raises an alarm, and verify-journal names the file and the line; the trip comes "
        "as ever (a changed word in an older segment is found by verify-journal only)",
        stopped,
        slowest_start=max(started),
    )


def _alarmed(site: ProcessSite) -> bool:
    """Whether the guardian that runs now has said in the damaged journal that it is damaged."""
    newest = segments(site.state / "journal")[-1].read_bytes()
    return b"the journal was damaged" in newest
