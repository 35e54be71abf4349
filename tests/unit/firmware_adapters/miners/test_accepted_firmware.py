"""The adapters that look at the version themselves: a newer one is only read, until its site accepts it."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from firmware_adapters.capabilities import WRITES, Credential
from firmware_adapters.identify import Trust
from firmware_adapters.miners.antminer.adapter import AntminerAdapter
from firmware_adapters.miners.axeos.adapter import AxeosAdapter
from firmware_adapters.miners.axeos.emulator import AxeosEmulator
from firmware_adapters.miners.braiins.adapter import BraiinsAdapter
from firmware_adapters.miners.braiins.emulator import BraiinsEmulator, Traps
from firmware_adapters.miners.luxos import emulator_pages
from firmware_adapters.miners.luxos.adapter import LuxosAdapter
from firmware_adapters.miners.vnish.adapter import VnishAdapter
from firmware_adapters.registry import open_device
from shared.clock import ManualClock
from shared.errors import Unsupported
from shared.ids import DeviceId, ZoneId
from shared.inventory import AcceptedFirmware, DeviceEntry, accepting
from shared.telemetry import DeviceKind
from support import antminer, luxos, vnish
from support.line_memory import MemorySocket
from support.miners import Machine
from support.subjects.axeos import bitaxe
from support.web_memory import in_memory

KEY = Credential(user=None, secret="admin")
ROOT = Credential(user="root", secret="root")
BUILD, RELEASE = "FR-1.40(310115-S21)", "2031.1.1.000000-ffffffff"

NEWER = {
    "vnish": "Vnish 1.3.6",
    "antminer": BUILD,
    "luxos": RELEASE,
    "braiins": "Braiins OS 2026-01-01-0-00000000-31.01-plus",
    "axeos": "AxeOS v7.1.0",
}
"""As `DeviceFacts.firmware` has it; for Braiins OS what its emulator makes of 31.01."""


class Scene:
    """A machine of each firmware on a version that nobody has seen, and the adapter in front of it."""

    def __init__(self, name: str, trust: Trust, **traps: Any) -> None:
        clock = ManualClock()
        self.machine = bitaxe() if name == "axeos" else Machine()
        self.adapter = getattr(self, f"_{name}")(clock, trust, **traps)

    def _vnish(self, clock: ManualClock, trust: Trust) -> VnishAdapter:
        emulator = vnish.emulator_of(self.machine, clock, version="1.3.6")
        return VnishAdapter(vnish.in_memory(emulator), KEY, timeout_s=5, clock=clock, trust=trust)

    def _antminer(self, clock: ManualClock, trust: Trust) -> AntminerAdapter:
        http = antminer.in_memory(antminer.emulator_of(self.machine, clock))
        return AntminerAdapter(http, antminer.ROOT, timeout_s=5, clock=clock, trust=trust)

    def _luxos(self, clock: ManualClock, trust: Trust) -> LuxosAdapter:
        line = MemorySocket(luxos.emulator_of(self.machine, clock))
        return LuxosAdapter(line, timeout_s=5, clock=clock, trust=trust)

    def _braiins(self, clock: ManualClock, trust: Trust, **traps: Any) -> BraiinsAdapter:
        known = Traps(**traps)
        emulator = BraiinsEmulator(self.machine, clock=clock, version="31.01", password="root", traps=known)
        return BraiinsAdapter(in_memory(emulator), ROOT, timeout_s=5, clock=clock, trust=trust)

    def _axeos(self, clock: ManualClock, trust: Trust) -> AxeosAdapter:
        emulator = AxeosEmulator(self.machine, clock=clock, version="v7.1.0")
        return AxeosAdapter(in_memory(emulator), timeout_s=5, trust=trust)


@pytest.fixture(autouse=True)
def newer_than_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware_adapters.miners.antminer.emulator_pages.BUILD", BUILD)
    monkeypatch.setattr(emulator_pages, "RELEASE", RELEASE)


def adas(name: str, firmware: str) -> Trust:
    word = AcceptedFirmware(adapter=name, firmware=firmware, by="Ada", why="a week on m-1")
    return Trust(adapter=name, accepted=(word,))


COMMANDS: dict[str, Callable[[Any], Awaitable[object]]] = {
    "vnish": lambda device: device.stop_mining(),
    "antminer": lambda device: device.stop_mining(),
    "luxos": lambda device: device.stop_mining(),
    "braiins": lambda device: device.stop_mining(),
    "axeos": lambda device: device.reboot(),
}


async def writes_of(device: Any) -> set[str]:
    return {one.ability for one in (await device.facts()).capabilities} & WRITES


@pytest.mark.parametrize("name", NEWER)
async def test_a_newer_version_is_read_only_and_says_which_it_is(name: str) -> None:
    scene = Scene(name, Trust(adapter=name))
    with pytest.raises(Unsupported):
        await COMMANDS[name](scene.adapter)
    assert (await scene.adapter.facts()).firmware == NEWER[name]
    assert not await writes_of(scene.adapter)
    assert (await scene.adapter.read()).readings
    assert scene.machine.commands == []


@pytest.mark.parametrize("name", NEWER)
async def test_a_newer_version_that_its_site_accepts_obeys(name: str) -> None:
    scene = Scene(name, adas(name, NEWER[name]))
    await COMMANDS[name](scene.adapter)
    assert scene.machine.commands
    assert await writes_of(scene.adapter)


@pytest.mark.parametrize("name", NEWER)
async def test_a_word_for_another_version_is_none_for_this_one(name: str) -> None:
    scene = Scene(name, adas(name, NEWER[name] + "1"))
    with pytest.raises(Unsupported):
        await COMMANDS[name](scene.adapter)
    assert not await writes_of(scene.adapter)
    assert scene.machine.commands == []


async def test_the_ladder_of_an_accepted_version_is_read_with_the_password() -> None:
    assert (await Scene("vnish", Trust(adapter="vnish")).adapter.facts()).presets == ()
    scene = Scene("vnish", adas("vnish", NEWER["vnish"]))
    assert (await scene.adapter.facts()).presets
    await scene.adapter.set_preset("2550")
    assert scene.machine.seen.preset == "2550"


async def test_no_word_makes_another_api_of_braiins_os_ours() -> None:
    scene = Scene("braiins", adas("braiins", NEWER["braiins"]), api_major=2)
    with pytest.raises(Unsupported, match="API is unknown"):
        await scene.adapter.stop_mining()
    assert not await writes_of(scene.adapter)


@pytest.mark.parametrize("name", NEWER)
async def test_the_adapter_of_a_site_entry_trusts_what_the_site_accepts(name: str) -> None:
    word = AcceptedFirmware(adapter=name, firmware=NEWER[name], by="Ada", why="a week on m-1")
    entry = DeviceEntry(
        id=DeviceId("m"),
        kind=DeviceKind.MINER,
        adapter=name,
        host="127.0.0.2",
        port=18080,
        zone=ZoneId("z"),
    )
    plain = open_device(entry, None, timeout_s=1)
    trusting = open_device(accepting(entry, [word]), None, timeout_s=1)
    assert vars(plain)["_trust"] == Trust(adapter=name)
    assert vars(trusting)["_trust"] == Trust(adapter=name, accepted=(word,))
    await plain.close()
    await trusting.close()
