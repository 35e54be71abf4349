"""What the guardian tells of one device, over a real operator socket, to tools that may not ask it."""

import asyncio
import json
import os
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_agent import ipc
from edge_agent.config import SiteFile
from edge_agent.guardian.agents.peers import AgentUids, Peer
from edge_agent.guardian.operators.server import OperatorServer
from edge_agent.guardian.operators.show import show
from edge_agent.guardian.polling.chip_map import LONGEST_GRADE, MOST_CHIPS
from firmware_adapters.capabilities import Observation
from firmware_adapters.discovery import diagnostics_cli, probe_cli
from firmware_adapters.transport.tape import tape
from shared.details import Chip, Pool
from shared.errors import MalformedReply, Unreachable
from shared.ids import DeviceId
from shared.shown import DeviceShown, ShowDevice
from support.guardian import miner_id
from support.polling import Rig, ToldMiner

NONSENSE = b'{"POOLS":[{"User":"bc1q.rig7"}],"half'


class Talking(ToldMiner):
    """A miner whose replies go over a transport that is listened to."""

    reply: bytes | None = None

    async def read(self) -> Observation:
        listening = tape()
        if self.reply is None or listening is None:
            return await super().read()

        async def sent() -> bytes:
            assert self.reply is not None
            return self.reply

        await listening.command("pools", None, sent())
        raise MalformedReply("pools: not JSON")


@pytest.fixture
def rig(site: SiteFile) -> Rig:
    return Rig(site, fake=Talking)


def shown(rig: Rig, **asked: object) -> DeviceShown | ipc.Refused:
    request = ShowDevice(**asked)  # type: ignore[arg-type] # built from words
    return show(rig.links, rig.samples, request)


async def test_a_healthy_device_is_shown_as_it_was_last_read(rig: Rig) -> None:
    link = rig.links[miner_id(1)]
    await link.read()
    await link.read_facts()
    await link.read_details()
    told = shown(rig, device=miner_id(1))
    assert isinstance(told, DeviceShown)
    assert told.sample == link.last_good
    assert told.facts == link.facts
    assert (told.failing, told.kept) == (None, None)
    assert told.boards is not None
    assert told.pools is not None


async def test_a_device_is_found_by_its_address(rig: Rig) -> None:
    entry = rig.links[miner_id(2)].entry
    for asked in ({"host": entry.host}, {"host": entry.host, "port": entry.port}):
        told = shown(rig, **asked)
        assert isinstance(told, DeviceShown)
        assert told.entry.id == miner_id(2)
    assert shown(rig, host=entry.host, port=1) == ipc.Refused(why=f"no device '{entry.host}' on this site")
    assert isinstance(shown(rig, device=DeviceId("m-99")), ipc.Refused)


async def test_what_a_failed_read_said_is_kept_without_secrets(rig: Rig) -> None:
    link, fake = rig.links[miner_id(1)], rig.fakes[miner_id(1)]
    await link.read()
    assert isinstance(fake, Talking)
    fake.reply = NONSENSE
    assert (await link.read()).failure == "malformed"
    told = shown(rig, device=miner_id(1))
    assert isinstance(told, DeviceShown)
    assert told.failing == "malformed"
    assert told.sample is not None, "its newest good word stands beside"
    assert told.kept is not None
    assert told.kept.failure == "malformed: pools: not JSON"
    assert [one.reply for one in told.kept.exchanges] == [b'{"POOLS":[{"User":"redacted"}],"half']
    fake.reply = None
    await link.read()
    again = shown(rig, device=miner_id(1))
    assert isinstance(again, DeviceShown)
    assert again.failing is None
    assert again.kept is not None, "the last failure can still be looked into"


async def test_a_device_that_is_gone_said_nothing_to_keep(rig: Rig) -> None:
    link, fake = rig.links[miner_id(1)], rig.fakes[miner_id(1)]
    fake.fail = Unreachable("cable")
    await link.read()
    assert len(rig.samples.kept) == 0


async def test_an_answer_fits_into_a_frame(rig: Rig) -> None:
    link, fake = rig.links[miner_id(1)], rig.fakes[miner_id(1)]
    assert isinstance(fake, Talking)
    fake.reply = b"x" * (ipc.MAX_FRAME_BYTES // 2 + 1)
    await link.read()
    told = shown(rig, device=miner_id(1))
    assert isinstance(told, DeviceShown)
    assert told.kept is not None
    assert told.kept.exchanges == (), "one that is too long is left out"
    assert ipc.encode_frame(told)


async def in_trouble(rig: Rig, words: str) -> None:
    """Miner 1 was silent, answers again, and wrote this into its log."""
    link, fake = rig.links[miner_id(1)], rig.fakes[miner_id(1)]
    assert isinstance(fake, Talking)
    fake.words = words
    await link.read_facts()
    await link.read_details()
    await link.read_chips()
    fake.fail = Unreachable("cable")
    for _ in range(2):
        await link.read()
    fake.fail = None
    await link.read()
    assert await link.read_log()


async def test_its_chips_and_the_log_of_its_trouble_are_shown(rig: Rig) -> None:
    await in_trouble(rig, "chain 1 lost\n")
    told = shown(rig, device=miner_id(1))
    assert isinstance(told, DeviceShown)
    assert told.chips is not None
    assert [(chip.index, chip.hashrate_ths) for chip in told.chips] == [(0, 0.3), (1, 0.0)]
    assert told.chips_at_ms == rig.clock.utc_ms()
    assert told.log is not None
    assert (told.log.name, told.log.text) == ("kernel", "chain 1 lost\n")
    other = shown(rig, device=miner_id(2))
    assert isinstance(other, DeviceShown)
    assert (other.chips, other.chips_at_ms, other.log) == (None, None, None)


async def test_a_log_leaves_the_guardian_without_users_and_passwords(rig: Rig) -> None:
    fake = rig.fakes[miner_id(1)]

    async def pools() -> tuple[Pool, ...]:
        return (Pool(index=0, url="stratum+tcp://pool:3333", user="acmecorp.rig7"),)

    fake.pools = pools  # type: ignore[attr-defined] # a miner that works for somebody
    lines = ("<acmecorp.rig7> joined", "pool 0: pass: hunter22", "stratum+tcp://me:hunter22@pool:3333 alive")
    await in_trouble(rig, "\n".join(lines))
    told = shown(rig, device=miner_id(1))
    assert isinstance(told, DeviceShown)
    assert told.log is not None
    assert "acmecorp" not in told.log.text
    assert "hunter22" not in told.log.text
    assert "pool:3333 alive" in told.log.text


async def test_the_largest_of_everything_fits_into_a_frame(rig: Rig) -> None:
    link, fake = rig.links[miner_id(1)], rig.fakes[miner_id(1)]
    assert isinstance(fake, Talking)
    await in_trouble(rig, "x" * 100_000)
    full = Chip(
        board=10_000,
        index=99_999,
        hashrate_ths=0.1,
        frequency_mhz=0.1,
        voltage_v=0.1,
        temp_c=0.1,
        errors=0.1,
        grade="x" * LONGEST_GRADE,
    )

    async def chips() -> tuple[Chip, ...]:
        return (full,) * MOST_CHIPS

    fake.chips = chips  # type: ignore[method-assign] # as much as is taken
    assert await link.read_chips()
    fake.reply = b"x" * (ipc.MAX_FRAME_BYTES // 2)
    await link.read()
    told = shown(rig, device=miner_id(1))
    assert isinstance(told, DeviceShown)
    assert told.chips is not None
    assert told.kept is not None
    assert len(told.kept.exchanges) == 1
    assert ipc.encode_frame(told)


# ---------------------------------------------------------------- over the socket


@asynccontextmanager
async def guardian(rig: Rig, folder: Path) -> AsyncIterator[str]:
    """An operator socket in front of the rig, and a site file that names it."""

    async def answer(message: ipc.FromOperator, peer: Peer) -> ipc.ToOperator:
        assert isinstance(message, ShowDevice)
        return show(rig.links, rig.samples, message)

    server = OperatorServer(folder / "o.sock", answer, AgentUids())
    await server.start()
    try:
        yield str(folder / "site.toml")
    finally:
        await server.close()


async def command(main: object, *argv: str) -> int:
    """A tool on a thread, as it runs in a process of its own."""
    return int(await asyncio.to_thread(main, list(argv)))  # type: ignore[arg-type, call-overload] # a main


@pytest.fixture
def folder(tmp_path: Path, site: SiteFile, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a short name, because a socket's path may have 107 characters only."""
    short = tmp_path / "s"
    short.mkdir()
    entries = "".join(
        f'[[devices]]\nid = "{one.id}"\nkind = "miner"\nadapter = "vnish"\nhost = "{one.host}"\n'
        f'port = {one.port}\nzone = "{one.zone}"\n'
        for one in site.miners
    )
    (short / "site.toml").write_text(f'[paths]\noperator_socket = "o.sock"\n{entries}')
    monkeypatch.chdir(short)
    return Path(os.curdir)


async def test_a_probe_asks_the_guardian_and_not_the_device(
    rig: Rig, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link, fake = rig.links[miner_id(1)], rig.fakes[miner_id(1)]
    await link.read()
    await link.read_facts()
    reads = fake.reads
    argv = (f"{link.entry.host}:{link.entry.port}", "--json", "--site", "site.toml")
    async with guardian(rig, folder):
        assert await command(probe_cli.main, *argv) == 2
        assert "--via-guardian asks the guardian instead" in capsys.readouterr().err
        assert await command(probe_cli.main, *argv, "--via-guardian") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["identification"]["evidence"] == ["the site file of the running guardian says so"]
    assert link.last_good is not None
    assert told["sample"]["power_w"] == link.last_good.usable("power_w")
    assert fake.reads == reads, "the device was not asked"


async def test_diagnostics_hands_out_what_the_guardian_kept(
    rig: Rig, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link, fake = rig.links[miner_id(1)], rig.fakes[miner_id(1)]
    assert isinstance(fake, Talking)
    argv = (link.entry.host, "--out", "d", "--site", "site.toml", "--via-guardian")
    async with guardian(rig, folder):
        assert await command(diagnostics_cli.main, *argv) == 3, "nothing failed yet"
        fake.reply = NONSENSE
        await link.read()
        capsys.readouterr()
        assert await command(diagnostics_cli.main, *argv) == 0
    said = capsys.readouterr()
    assert "sample: malformed: the guardian's newest read failed: malformed" in said.out
    place = Path(said.err.removeprefix("saved: ").strip())
    assert (place / "pools.raw").read_bytes() == b'{"POOLS":[{"User":"redacted"}],"half'
    assert tomllib.loads((place / "PROVENANCE.toml").read_text())["adapter"] == "vnish"


async def test_chips_and_log_are_in_a_probe_and_in_diagnostics_without_asking_the_device(
    rig: Rig, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await in_trouble(rig, "pool 0: user: acmecorp.rig7\nchain 1 lost\n")
    asked = list(rig.fakes[miner_id(1)].asked)  # type: ignore[attr-defined] # a talking one
    argv = (miner_id(1), "--site", "site.toml", "--via-guardian")
    async with guardian(rig, folder):
        assert await command(probe_cli.main, *argv, "--chips") == 0
        said = capsys.readouterr().out
        assert await command(diagnostics_cli.main, *argv, "--out", "d") == 0
    assert rig.fakes[miner_id(1)].asked == asked  # type: ignore[attr-defined] # as above
    assert "2 told, 1 dark (1)" in said
    assert "chip 0              0.3 TH/s" in said
    assert "because of: answers again after unreachable" in said
    assert "  | chain 1 lost" in said
    place = Path(capsys.readouterr().err.removeprefix("saved: ").strip())
    assert (place / "guardian_log_kernel.raw").read_text() == "pool 0: user: redacted\nchain 1 lost\n"
    chips = json.loads((place / "guardian_chips.json").read_bytes())
    assert [chip["hashrate_ths"] for chip in chips["chips"]] == [0.3, 0.0]
    everything = b"".join(path.read_bytes() for path in place.iterdir())
    assert b"acmecorp" not in everything + said.encode()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("10.0.0.1", "--via-guardian"), "--via-guardian needs --site"),
        (("10.0.0.1", "--via-guardian", "--site", "site.toml"), "no answer from a guardian"),
    ],
)
def test_a_guardian_that_is_not_there(
    folder: Path, argv: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe_cli.main(list(argv)) == 2
    assert says in capsys.readouterr().err


async def test_a_device_that_is_not_the_sites_is_refused_by_the_guardian(
    rig: Rig, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with guardian(rig, folder):
        assert await command(probe_cli.main, "10.0.0.1", "--via-guardian", "--site", "site.toml") == 2
    assert "the guardian refuses: no device '10.0.0.1' on this site" in capsys.readouterr().err
