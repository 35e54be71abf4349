"""What is asked when, and what each command does to the machine."""

import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.whatsminer_v3.adapter import SLOW_EVERY, WhatsminerV3Adapter, open_device
from firmware_adapters.miners.whatsminer_v3.emulator import WhatsminerV3Emulator
from firmware_adapters.miners.whatsminer_v3.emulator_traps import Traps
from shared.capabilities import Ability
from shared.clock import ManualClock
from shared.details import Fault, PoolState
from shared.errors import Busy, MalformedReply, Unsupported
from shared.telemetry import MinerState, Quality
from support.line_memory import MemorySocket, opens_lazily, read_ends_at_its_deadline
from support.miners import Machine, board
from support.subjects.whatsminer import m50s

PASSWORD = "long enough 1"
FAST = ["get.device.info", "get.miner.status summary", "get.miner.status edevs"]


class Scene:
    """A machine, its emulator and an adapter in front of it."""

    def __init__(self, password: str = PASSWORD, **traps: object) -> None:
        self.machine = Machine(m50s())
        self.clock = ManualClock()
        self.emulator = WhatsminerV3Emulator(self.machine, clock=self.clock, password=password)
        self.emulator.traps = Traps(**traps)  # type: ignore[arg-type] # its own fields
        self.socket = MemorySocket(self.emulator)
        self.adapter = WhatsminerV3Adapter(
            self.socket, Credential(user=None, secret=password), timeout_s=5, clock=self.clock
        )


async def test_a_read_is_three_requests_and_every_fifth_asks_the_pools() -> None:
    scene = Scene()
    for number in range(2 * SLOW_EVERY):
        scene.socket.asked.clear()
        seen = await scene.adapter.read()
        slow = number % SLOW_EVERY == 0
        assert scene.socket.asked == FAST + (["get.miner.status pools"] if slow else [])
        assert seen.faults == ()
        assert seen.readings["psu_temp_c"].value == 47


async def test_watts_that_only_the_supply_tells() -> None:
    """`pin` of the supply, where a release leaves `power-realtime` out of its summary."""
    scene = Scene()
    answer = scene.emulator.answer

    def older(raw: bytes, view: object = None) -> bytes:
        said = answer(raw).replace(b'"power-realtime":', b'"powers":')
        return said.replace(b'"vin":"230"', b'"vin":"230","pin":"3361"')

    scene.emulator.answer = older  # type: ignore[method-assign] # two pages of it say otherwise
    told = (await scene.adapter.read()).readings["power_w"]
    assert (told.value, told.quality) == (3361, Quality.ESTIMATED)


async def test_counts_of_shares_that_only_the_pools_have_come_with_every_read() -> None:
    """A counter that is there in one read of five cannot be counted with."""
    scene = Scene()
    answer = scene.emulator.answer

    def counting(raw: bytes, view: object = None) -> bytes:
        return answer(raw).replace(b'"url":', b'"accepted":7,"rejected":2,"stale":1,"url":')

    scene.emulator.answer = counting  # type: ignore[method-assign] # one page of it says more
    for _ in range(3):
        told = (await scene.adapter.read()).readings
        counts = [told[f"shares_{word}"].value for word in ("accepted", "rejected", "stale")]
        assert counts == [7, 2, 1]


async def test_averages_of_boards_are_shown_while_the_whole_hashes_as_much() -> None:
    scene = Scene()
    rates = [found.hashrate_ths for found in await scene.adapter.boards()]
    assert rates == pytest.approx([125.0 / 3] * 3, abs=0.001), "the average of 125 TH/s beside 124.5 now"
    for now in (60.0, 0.0):
        scene.machine.set(hashrate_ths=now)
        assert [found.hashrate_ths for found in await scene.adapter.boards()] == [None] * 3


async def test_boards_of_a_machine_that_is_off_are_not_told_to_be_dead() -> None:
    scene = Scene()
    scene.machine.set(boards=(board(working=False),) * 3)
    assert {found.working for found in await scene.adapter.boards()} == {False}
    await scene.adapter.stop_mining()
    assert {found.working for found in await scene.adapter.boards()} == {None}
    assert "boards_working" not in (await scene.adapter.read()).readings


async def test_the_sample_in_our_units() -> None:
    seen = await Scene().adapter.read()
    told = {point: found.value for point, found in seen.readings.items()}
    assert told["hashrate_ths"] == 124.5
    assert told["power_limit_w"] == 3600
    assert told["board_temp_max_c"] == 50
    assert told["boards_working"] == 3
    assert seen.readings["power_w"].quality is Quality.ESTIMATED
    assert seen.state is MinerState.MINING
    assert seen.preset_requested == "normal"


async def test_faults_come_with_every_read() -> None:
    scene = Scene(errors=((110, "2024-06-15"),))
    for _ in range(2):
        assert (await scene.adapter.read()).faults == (Fault(code="110", words="fans: 2024-06-15"),)


async def test_switched_off_it_may_say_nothing_else() -> None:
    scene = Scene(silent_when_off=True)
    await scene.adapter.stop_mining()
    seen = await scene.adapter.read()
    assert seen.state is MinerState.STOPPED
    assert seen.readings["power_w"].quality is Quality.MISSING
    assert seen.readings["power_limit_w"].value == 3600, "the device's own page still tells its limit"


async def test_a_summary_that_is_refused_by_one_that_runs_is_a_failure() -> None:
    scene = Scene()
    answer = scene.emulator.answer

    def without(raw: bytes, view: object = None) -> bytes:
        return b'{"code":-1,"msg":"fail"}' if b"summary" in raw else answer(raw)

    scene.emulator.answer = without  # type: ignore[method-assign] # one page of it is gone
    with pytest.raises(Busy):
        await scene.adapter.read()


async def test_pages_that_are_refused_cost_only_themselves() -> None:
    scene = Scene()
    answer = scene.emulator.answer

    def without(raw: bytes, view: object = None) -> bytes:
        return b'{"code":-1,"msg":"fail"}' if b"edevs" in raw or b"pools" in raw else answer(raw)

    scene.emulator.answer = without  # type: ignore[method-assign] # two pages of it are gone
    seen = await scene.adapter.read()
    assert seen.readings["power_w"].value == 3310
    assert "boards_working" not in seen.readings


async def test_pools_that_are_nonsense_cost_only_themselves() -> None:
    scene = Scene()
    answer = scene.emulator.answer

    def odd(raw: bytes, view: object = None) -> bytes:
        return b'{"code":0,"msg":"none"}' if b"pools" in raw else answer(raw)

    scene.emulator.answer = odd  # type: ignore[method-assign] # one page of it is odd
    assert (await scene.adapter.read()).readings["power_w"].value == 3310
    with pytest.raises(MalformedReply):
        await scene.adapter.pools()


async def test_boards_and_pools() -> None:
    scene = Scene()
    scene.machine.set(boards=(board(), board(working=False), board()))
    found = await scene.adapter.boards()
    assert [one.working for one in found] == [True, False, True]
    assert found[0].board_temp_max_c == 50
    assert [one.serial for one in found] == ["SN0001-0", "SN0001-1", "SN0001-2"]
    (pool,) = await scene.adapter.pools()
    assert (pool.index, pool.state, pool.user) == (1, PoolState.ACTIVE, "site.worker")


async def test_fans_of_a_machine_in_liquid_are_not_read() -> None:
    scene = Scene()
    scene.machine.set(model="Whatsminer M66S_VK30")
    assert "fan_rpm.0" not in (await scene.adapter.read()).readings


async def test_facts() -> None:
    facts = await Scene().adapter.facts()
    assert facts.model == "Whatsminer M50S_VJ30"
    assert (facts.firmware, facts.mac, facts.serial) == ("20250214.16.REL", "aa:bb:cc:00:00:01", "SN0001")
    assert Ability.LOCATE not in {found.ability for found in facts.capabilities}


async def test_each_command_does_what_it_says() -> None:
    scene = Scene()
    adapter = scene.adapter
    await adapter.set_power_limit(3000.7)
    await adapter.set_throttle(79.9)
    await adapter.stop_mining()
    await adapter.start_mining()
    await adapter.reboot()
    assert scene.machine.commands == [
        "power limit 3000",
        "restart",
        "throttle 79",
        "stop",
        "start",
        "reboot 3",
    ]


async def test_what_is_out_of_range_is_not_sent() -> None:
    scene = Scene()
    with pytest.raises(Unsupported):
        await scene.adapter.set_power_limit(1e6)
    with pytest.raises(Unsupported):
        await scene.adapter.set_throttle(10)
    assert scene.socket.asked == []


async def test_the_default_password_is_told_once_the_machine_took_it() -> None:
    scene = Scene(password="super")
    assert not (await scene.adapter.facts()).default_password, "not tried yet, so not known"
    await scene.adapter.stop_mining()
    assert (await scene.adapter.facts()).default_password


async def test_open_device_connects_lazily_and_close_never_raises() -> None:
    await opens_lazily(open_device, "whatsminer-v3")


async def test_a_read_ends_at_its_deadline_however_many_requests_it_takes() -> None:
    scene = Scene()
    await read_ends_at_its_deadline(scene.adapter, scene.socket)
