"""What `minewarden diagnostics` writes is a recording: dropped in, it is found and says the same."""

import json
from pathlib import Path

import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.discovery import diagnostics_cli, recording
from firmware_adapters.discovery.ask import Asker
from firmware_adapters.discovery.examine import Examined
from firmware_adapters.discovery.probe import Look, probe
from firmware_adapters.discovery.report import Probed
from firmware_adapters.discovery.saving import save
from shared.clock import SystemClock
from shared.exchanges import Exchange
from support.mixed_site import FIRMWARES, PASSWORD, credential_of
from support.probe_fleet import fleet
from support.probe_thread import fleet_on_thread
from support.recordings import Recording, folders
from support.replay import Whole, replayed

KINDS = {"antminer": "antminer-stock", "axeos": "bitaxe"}
MOVING = {"last_share_age_s", "uptime_s"}
"""Points of which some are counted from the clock of who asks."""


async def looked_at(host: str, port: int, credential: Credential | None) -> Probed:
    async with Asker() as asker:
        return await probe(asker, host, port, Look(credential=credential), SystemClock())


def told(found: Probed) -> Examined:
    assert found.examined is not None
    assert found.examined.observation is not None, found.examined.not_read
    return found.examined


@pytest.mark.parametrize("adapter", FIRMWARES)
async def test_a_kept_conversation_dropped_in_as_a_recording_says_the_same(
    adapter: str, tmp_path: Path
) -> None:
    key = credential_of(adapter)
    async with fleet("127.85.6", adapters=(adapter,)) as machines:
        one = machines[adapter]
        live = await looked_at(one.host, one.port, key)
    place = save(live, tmp_path, key.secret)
    assert place is not None
    assert place.parent == tmp_path / KINDS.get(adapter, adapter)
    assert folders(tmp_path) == [place]
    assert Recording(place).adapter == adapter
    async with replayed("127.85.7.1", Whole(place)) as port:
        again = await looked_at("127.85.7.1", port, key)
    assert again.identified[0].adapter == adapter
    before, after = told(live), told(again)
    assert after.not_read == before.not_read
    assert before.observation is not None
    assert after.observation is not None
    assert (after.observation.state, after.observation.preset, after.observation.faults) == (
        before.observation.state,
        before.observation.preset,
        before.observation.faults,
    )
    assert set(after.observation.readings) == set(before.observation.readings)
    for point, reading in before.observation.readings.items():
        if point not in MOVING:
            assert after.observation.readings[point] == reading, point
    assert after.boards == before.boards
    assert [(pool.url, pool.state, pool.accepted) for pool in after.pools or ()] == [
        (pool.url, pool.state, pool.accepted) for pool in before.pools or ()
    ]
    assert after.facts == before.facts


async def test_a_stock_machine_read_over_its_socket_is_a_recording_too(tmp_path: Path) -> None:
    async with fleet("127.85.8", adapters=("antminer",)) as machines:
        one = machines["antminer"]
        live = await looked_at(one.host, one.port, None)
    place = save(live, tmp_path, "")
    assert place is not None
    names = {file.name for file in place.glob("*.json")}
    assert names == {"stats.json", "pools.json", "version.json"}, "as those of the recorded one"
    async with replayed("127.85.9.1", Whole(place)) as port:
        again = await looked_at("127.85.9.1", port, None)
    assert told(again).observation == told(live).observation
    assert told(again).boards == told(live).boards


def written(tmp_path: Path, adapter: str, *said: Exchange) -> dict[str, bytes]:
    about = recording.Provenance(adapter=adapter, model="m", firmware="1", at="")
    place = recording.write(tmp_path, said, about)
    return {file.name: file.read_bytes() for file in place.iterdir() if file.name != "PROVENANCE.toml"}


def page(path: str, reply: bytes, *, status: int = 200, name: str = "stats") -> Exchange:
    return Exchange(question=f"GET {path}", name=name, status=status, reply=reply)


def test_a_page_and_a_command_of_one_name_are_both_kept(tmp_path: Path) -> None:
    command = Exchange(question="stats", name="stats", reply=b'{"STATUS":[]}\x00')
    assert written(tmp_path, "antminer", page("/cgi-bin/stats.cgi", b'{"STATS":[]}'), command) == {
        "stats.json": b'{"STATUS":[]}',
        "web_stats.json": b'{"STATS":[]}',
    }


def test_a_page_that_was_refused_is_kept_and_is_no_page(tmp_path: Path) -> None:
    refused = page("/cgi-bin/stats.cgi", b'{"error":"login"}', status=401)
    good = page("/cgi-bin/stats.cgi", b'{"STATS":[]}')
    assert written(tmp_path, "antminer", good, refused) == {
        "stats.json": b'{"STATS":[]}',
        "stats.401.raw": b'{"error":"login"}',
    }
    assert Recording(tmp_path / "antminer-stock" / "1").page("/cgi-bin/stats.cgi") == b'{"STATS":[]}'


def test_either_question_of_an_avalon_is_called_what_recordings_call_it(tmp_path: Path) -> None:
    said = Exchange(question="estats", name="estats", reply=b'{"STATUS":[],"STATS":[]}')
    assert set(written(tmp_path, "avalon", said)) == {"stats.json"}


def test_the_json_files_are_json(tmp_path: Path) -> None:
    said = Exchange(question="stats", name="stats", reply=b'{"STATS":[1]}\n\x00')
    assert json.loads(written(tmp_path, "luxos", said)["stats.json"]) == {"STATS": [1]}


@pytest.mark.parametrize(
    ("folder", "file", "adapter"),
    [
        ("antminer-stock/v2020", "stats.json", "antminer"),
        ("bitaxe/2.0.0", "system_info.json", "axeos"),
        ("nerdaxe/1.0", "system_info.json", "axeos"),
        ("luxos/v1", "summary.json", "luxos"),
        ("whatsminer/v2", "summary.json", "whatsminer"),
        ("whatsminer/v3", "get_device_info.json", "whatsminer-v3"),
        ("whatsminer-v3/20250214", "get.device.info.json", "whatsminer-v3"),
    ],
)
def test_a_folder_is_known_by_its_name(folder: str, file: str, adapter: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / file).write_text("{}")
    assert [Recording(found).adapter for found in folders(tmp_path)] == [adapter]


def test_recordings_of_site_equipment_are_no_miners(tmp_path: Path) -> None:
    (tmp_path / "snmp" / "apc").mkdir(parents=True)
    (tmp_path / "snmp" / "apc" / "get.json").write_text("{}")
    assert folders(tmp_path) == []


def test_the_command_writes_such_a_folder_for_each_firmware(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    out = tmp_path / "recordings"
    with fleet_on_thread("127.85.10") as machines:
        for one in machines.values():
            argv = [one.place, "--out", str(out), "--password-file", str(secret)]
            assert diagnostics_cli.main(argv) == 0
    assert {Recording(folder).adapter for folder in folders(out)} == set(FIRMWARES)
    assert {folder.parent.name for folder in folders(out)} == {KINDS.get(one, one) for one in FIRMWARES}
