"""What is asked when, what a machine may lack, and what each command does to it."""

import asyncio
import re

import msgspec
import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.whatsminer.adapter import SLOW_EVERY, WhatsminerAdapter, open_device
from firmware_adapters.miners.whatsminer.emulator import WhatsminerEmulator
from firmware_adapters.miners.whatsminer.emulator_traps import Traps
from shared.capabilities import Ability
from shared.clock import ManualClock
from shared.details import Fault, PoolState
from shared.errors import Busy, DeviceError, DeviceTimeout, MalformedReply, Unreachable, Unsupported
from shared.telemetry import MinerState
from support.line_memory import MemorySocket, opens_lazily, read_ends_at_its_deadline
from support.miners import Machine, board
from support.subjects.whatsminer import m50s

PASSWORD = "long enough 1"
FAST = ["status", "summary", "devs"]


class Scene:
    """A machine, its emulator and an adapter in front of it."""

    def __init__(self, password: str = PASSWORD, model: str = "", **traps: object) -> None:
        self.machine = Machine(m50s())
        self.clock = ManualClock()
        self.emulator = WhatsminerEmulator(self.machine, clock=self.clock, password=password)
        self.emulator.traps = Traps(**traps)  # type: ignore[arg-type] # its own fields
        self.socket = MemorySocket(self.emulator)
        self.adapter = WhatsminerAdapter(
            self.socket,
            self.socket,
            Credential(user=None, secret=password),
            timeout_s=5,
            clock=self.clock,
            model=model,
        )


async def test_a_read_is_four_requests_and_every_fifth_asks_the_rest() -> None:
    scene = Scene()
    for number in range(2 * SLOW_EVERY):
        scene.socket.asked.clear()
        seen = await scene.adapter.read()
        slow = number % SLOW_EVERY == 0
        rest = ["get_error_code", "pools", "get_psu"] if slow else ["pools"]
        assert scene.socket.asked == FAST + rest
        assert (seen.faults is not None) == slow
        assert ("psu_temp_c" in seen.readings) == slow
        if slow:
            assert seen.readings["psu_temp_c"].value == 47
        assert seen.readings["shares_stale"].value == 3, "only the pools count it, so each read asks them"
        assert seen.readings["last_share_age_s"].value == 12


def counting(scene: Scene, **counts: int) -> None:
    """The summary counts these shares too."""
    answer = scene.emulator.answer
    said = b"".join(f'"{name}":{count},'.encode() for name, count in counts.items())

    def more(raw: bytes) -> bytes:
        return answer(raw).replace(b'"Elapsed"', said + b'"Elapsed"', 1)

    scene.emulator.answer = more  # type: ignore[method-assign] # one page of it says more


async def test_a_machine_whose_summary_counts_all_shares_is_asked_for_its_pools_every_fifth_time() -> None:
    scene = Scene()
    counting(scene, Stale=9)
    for number in range(SLOW_EVERY):
        scene.socket.asked.clear()
        seen = await scene.adapter.read()
        assert ("pools" in scene.socket.asked) == (number == 0)
        assert seen.readings["shares_stale"].value == 9, (
            "and the pools' own count does not take turns with it"
        )


async def test_the_pools_do_not_count_for_a_summary_that_is_refused() -> None:
    scene = Scene(silent_when_off=True)
    counting(scene, Stale=9)
    answer = scene.emulator.answer
    pools = answer(b'{"command":"pools"}')
    scene.emulator.answer = lambda raw: pools if b'"pools"' in raw else answer(raw)  # type: ignore[method-assign] # it says them when off
    await scene.adapter.stop_mining()
    seen = await scene.adapter.read()
    assert seen.state is MinerState.STOPPED
    assert not {"shares_accepted", "shares_rejected", "shares_stale"} & set(seen.readings)
    assert seen.readings["last_share_age_s"].value == 12


async def test_a_machine_that_counts_no_stale_shares_tells_none() -> None:
    """As the recorded one: neither its summary nor its pools have such a field."""
    scene = Scene()
    answer = scene.emulator.answer
    scene.emulator.answer = lambda raw: answer(raw).replace(b'"Stale"', b'"Getworks"')  # type: ignore[method-assign] # a field less
    for _ in range(2):
        assert "shares_stale" not in (await scene.adapter.read()).readings


async def test_faults_are_told_and_one_that_was_is_not_remembered() -> None:
    scene = Scene(errors=((110, "2024-06-15 09:15:00"),), broken_error_list=True)
    assert (await scene.adapter.read()).faults == (Fault(code="110", words="fans: 2024-06-15 09:15:00"),)
    assert (await scene.adapter.read()).faults is None


async def test_a_rare_page_that_is_nonsense_costs_only_itself() -> None:
    scene = Scene()
    answer = scene.emulator.answer

    def odd(raw: bytes) -> bytes:
        return b'{"STATUS":"S","Msg":"none"}' if b"get_error_code" in raw else answer(raw)

    scene.emulator.answer = odd  # type: ignore[method-assign] # one page of it is odd
    seen = await scene.adapter.read()
    assert seen.faults is None
    assert seen.readings["power_w"].value == 3310


async def test_an_early_version_has_no_status_and_is_read_all_the_same() -> None:
    scene = Scene(early=True)
    seen = await scene.adapter.read()
    assert seen.state is MinerState.MINING
    assert seen.readings["boards_working"].value == 3
    facts = await scene.adapter.facts()
    assert facts.mac == "aa:bb:cc:00:00:01", "from the summary, without get_miner_info"
    assert facts.model == "Whatsminer M50S_VJ30"


async def test_switched_off_it_may_say_nothing_else() -> None:
    scene = Scene(silent_when_off=True)
    await scene.adapter.stop_mining()
    seen = await scene.adapter.read()
    assert seen.state is MinerState.STOPPED
    assert {found.value for point, found in seen.readings.items() if point == "power_w"} == {None}
    scene.machine.start()
    scene.machine.set(state_time_s=30.0)
    assert (await scene.adapter.read()).state is MinerState.INITIALIZING, "no hash yet"


async def test_a_summary_that_is_refused_by_one_that_runs_is_a_failure() -> None:
    scene = Scene()
    answer = scene.emulator.answer

    def without(raw: bytes) -> bytes:
        return b'{"STATUS":"E","Code":14,"Msg":"invalid cmd"}' if b"summary" in raw else answer(raw)

    scene.emulator.answer = without  # type: ignore[method-assign] # one page of it is gone
    with pytest.raises(Unsupported):
        await scene.adapter.read()


async def test_edevs_serves_where_devs_is_unknown() -> None:
    scene = Scene()
    answer = scene.emulator.answer

    def without(raw: bytes) -> bytes:
        return b'{"STATUS":"E","Code":14,"Msg":"invalid cmd"}' if b'"devs"' in raw else answer(raw)

    scene.emulator.answer = without  # type: ignore[method-assign] # one page of it is gone
    assert len(await scene.adapter.boards()) == 3
    assert scene.socket.asked == ["status", "devs", "edevs"]
    await scene.adapter.boards()
    assert scene.socket.asked[3:] == ["status", "edevs"]
    other = Scene()
    other.emulator.answer = without  # type: ignore[method-assign] # one page of it is gone
    assert (await other.adapter.read()).readings["board_temp_max_c"].value == 50, "in the same read"


async def test_boards_of_one_that_is_switched_off_are_busy() -> None:
    scene = Scene(silent_when_off=True)
    await scene.adapter.stop_mining()
    with pytest.raises(Busy):
        await scene.adapter.boards()


async def test_a_dead_board_is_counted_and_its_numbers_are_none() -> None:
    scene = Scene()
    scene.machine.set(boards=(board(), board(working=False), board()))
    seen = await scene.adapter.read()
    assert seen.readings["boards_working"].value == 2
    found = await scene.adapter.boards()
    assert (found[1].working, found[1].chips, found[1].chip_temp_max_c) == (False, 0, None)


async def test_averages_of_boards_are_shown_while_the_whole_hashes_as_much() -> None:
    scene = Scene()
    answer = scene.emulator.answer
    scene.emulator.answer = lambda raw: re.sub(rb'"MHS 5s":[0-9.]+,?', b"", answer(raw))  # type: ignore[method-assign] # as recorded
    rates = [board.hashrate_ths for board in await scene.adapter.boards()]
    assert rates == pytest.approx([125.0 / 3] * 3), "the average of 125 TH/s beside 124.5 now"
    for now in (60.0, 0.0):
        scene.machine.set(hashrate_ths=now)
        assert [board.hashrate_ths for board in await scene.adapter.boards()] == [None] * 3


async def test_averages_of_boards_beside_no_summary_are_not_shown() -> None:
    scene = Scene()
    answer = scene.emulator.answer

    def broken(raw: bytes) -> bytes:
        said = re.sub(rb'"MHS 5s":[0-9.]+,?', b"", answer(raw))
        return b'{"STATUS":"S","Msg":"odd"}' if b'"summary"' in raw or b'"status"' in raw else said

    scene.emulator.answer = broken  # type: ignore[method-assign] # two pages of it are odd
    assert [board.hashrate_ths for board in await scene.adapter.boards()] == [None] * 3


async def test_boards_of_a_machine_that_is_off_are_not_told_to_be_dead() -> None:
    scene = Scene()
    scene.machine.set(boards=(board(working=False),) * 3)
    assert {found.working for found in await scene.adapter.boards()} == {False}
    assert (await scene.adapter.read()).readings["boards_working"].value == 0
    await scene.adapter.stop_mining()
    assert {found.working for found in await scene.adapter.boards()} == {None}
    assert "boards_working" not in (await scene.adapter.read()).readings


async def test_a_hydro_model_shows_no_fans_in_its_first_read_already() -> None:
    """A look at a machine reads it before anyone asks who it is."""
    scene = Scene()
    still = tuple(msgspec.structs.replace(fan, rpm=0.0) for fan in scene.machine.seen.fans)
    scene.machine.set(model="Whatsminer M63S_VK10", fans=still)
    for number in range(2):
        scene.socket.asked.clear()
        seen = await scene.adapter.read()
        assert not {"fan_rpm.0", "fan_rpm.1", "air_temp_c"} & set(seen.readings)
        assert ("devdetails" in scene.socket.asked) == (number == 0), "asked once"


async def test_fans_that_stand_still_are_told_of_a_machine_that_has_some_or_does_not_say() -> None:
    for silent in (False, True):
        scene = Scene()
        still = tuple(msgspec.structs.replace(fan, rpm=0.0) for fan in scene.machine.seen.fans)
        scene.machine.set(fans=still)
        if silent:
            scene.machine.set(model="Whatsminer")
        seen = await scene.adapter.read()
        assert (seen.readings["fan_rpm.0"].value, seen.readings["fan_rpm.1"].value) == (0, 0)


async def test_fans_of_a_machine_in_liquid_are_not_read() -> None:
    assert "fan_rpm.0" in (await Scene().adapter.read()).readings
    assert "fan_rpm.0" not in (await Scene(model="Whatsminer M56S").adapter.read()).readings
    scene = Scene()
    scene.machine.set(model="Whatsminer M63_VK10")
    await scene.adapter.facts()
    assert "fan_rpm.0" not in (await scene.adapter.read()).readings


@pytest.mark.parametrize(
    ("state", "hashrate", "seen"),
    [
        (MinerState.AUTO_TUNING, 120.0, MinerState.AUTO_TUNING),
        (MinerState.STARTING, 0.0, MinerState.INITIALIZING),
        (MinerState.FAILURE, 0.0, MinerState.UNKNOWN),
        (MinerState.SHUTTING_DOWN, 50.0, MinerState.SHUTTING_DOWN),
        (MinerState.STOPPED, 0.0, MinerState.STOPPED),
    ],
)
async def test_states(state: MinerState, hashrate: float, seen: MinerState) -> None:
    scene = Scene()
    elapsed = 86_400.0 if state is MinerState.FAILURE else 60.0
    scene.machine.set(state=state, hashrate_ths=hashrate, state_time_s=elapsed)
    assert (await scene.adapter.read()).state is seen


async def test_who_it_is_is_put_together_from_four_pages() -> None:
    scene = Scene()
    facts = await scene.adapter.facts()
    assert (facts.model, facts.serial) == ("Whatsminer M50S_VJ30", "SN0001")
    assert scene.socket.asked == ["get_version", "get_miner_info", "devdetails", "summary"]


async def test_pools_with_the_one_it_works_for() -> None:
    scene = Scene()
    (pool,) = await scene.adapter.pools()
    assert (pool.index, pool.state, pool.accepted) == (1, PoolState.ACTIVE, 4057)


async def test_each_command_does_what_it_says() -> None:
    scene = Scene()
    adapter = scene.adapter
    await adapter.set_power_limit(3000.7)
    await adapter.set_throttle(79.9)
    await adapter.locate(on=True)
    await adapter.locate(on=False)
    await adapter.stop_mining()
    await adapter.start_mining()
    await adapter.reboot()
    assert scene.machine.commands == [
        "power limit 3000",
        "restart",
        "throttle 79",
        "locate on",
        "locate off",
        "stop",
        "start",
        "reboot 3",
    ]


async def test_what_is_written_is_read_back() -> None:
    scene = Scene()
    await scene.adapter.set_power_limit(3000)
    assert (await scene.adapter.read()).readings["power_limit_w"].value == 3000
    await scene.adapter.stop_mining()
    assert (await scene.adapter.read()).state is MinerState.STOPPED


async def test_a_stop_of_one_that_is_stopped_is_accepted_and_changes_nothing() -> None:
    scene = Scene()
    await scene.adapter.stop_mining()
    await scene.adapter.stop_mining()
    assert scene.machine.commands == ["stop"]


@pytest.mark.parametrize("watts", [0, 499, 12_001, float("inf"), float("nan"), -3000])
async def test_a_limit_out_of_range_is_not_sent(watts: float) -> None:
    scene = Scene()
    with pytest.raises(Unsupported):
        await scene.adapter.set_power_limit(watts)
    assert scene.socket.asked == []


async def test_a_throttle_of_one_that_rests_is_busy() -> None:
    scene = Scene()
    await scene.adapter.stop_mining()
    with pytest.raises(Busy):
        await scene.adapter.set_throttle(50)


async def test_the_default_password_is_told_once_the_machine_took_it() -> None:
    scene = Scene(password="admin")
    assert not (await scene.adapter.facts()).default_password, "not tried yet, so not known"
    await scene.adapter.locate(on=False)
    assert (await scene.adapter.facts()).default_password
    other = Scene()
    await other.adapter.locate(on=False)
    assert not (await other.adapter.facts()).default_password


async def test_what_the_guardian_is_told_of_each_ability() -> None:
    declared = {found.ability: found for found in (await Scene().adapter.facts()).capabilities}
    limit = declared[Ability.POWER_LIMIT]
    assert limit.closed_loop
    assert limit.restarts_mining
    assert limit.settle_s >= 600
    assert not declared[Ability.MINING].survives_reboot


def _instead(scene: Scene, page: bytes, reply: bytes) -> None:
    answer = scene.emulator.answer

    def broken(raw: bytes) -> bytes:
        return reply if page in raw else answer(raw)

    scene.emulator.answer = broken  # type: ignore[method-assign] # one page of it is broken


async def test_garbage_in_place_of_the_summary_is_typed() -> None:
    scene = Scene()
    _instead(scene, b"summary", b"<html>")
    with pytest.raises(MalformedReply):
        await scene.adapter.read()


@pytest.mark.parametrize("reply", [b"<html>", b"{}", b'{"STATUS":"S","Msg":""}'])
@pytest.mark.parametrize("page", [b"status", b"devs", b"get_psu", b"get_error_code", b"pools"])
async def test_garbage_in_place_of_any_other_page_costs_what_it_tells(page: bytes, reply: bytes) -> None:
    scene = Scene()
    _instead(scene, page, reply)
    seen = await scene.adapter.read()
    assert seen.readings["hashrate_ths"].value == pytest.approx(scene.machine.seen.hashrate_ths, rel=0.01)
    assert seen.readings["power_w"].value is not None


@pytest.mark.parametrize(
    "page", ["status", "devs", "edevs", "get_psu", "get_error_code", "pools", "get_miner_info"]
)
@pytest.mark.parametrize("failure", [Unreachable("closed"), DeviceTimeout("hung"), None])
async def test_a_page_that_is_closed_or_hangs_costs_what_it_tells(
    page: str, failure: DeviceError | None
) -> None:
    """None: nothing comes for ever, and the read still ends in its time with what the others told."""
    scene = Scene()
    scene.adapter._timeout_s = 0.4  # what hangs is waited for
    asked = scene.socket.ask

    async def ask(command: str, parameter: str | None = None) -> object:
        if command != page:
            return await asked(command, parameter)
        if failure is None:
            await asyncio.Event().wait()
        raise failure  # type: ignore[misc]  # not None here

    scene.socket.ask = ask  # type: ignore[method-assign,assignment] # one page of it fails
    seen = await scene.adapter.read()
    assert seen.readings["hashrate_ths"].value == pytest.approx(scene.machine.seen.hashrate_ths, rel=0.01)


async def test_open_device_connects_lazily_and_close_never_raises() -> None:
    await opens_lazily(open_device, "whatsminer")


async def test_a_read_ends_at_its_deadline_however_many_requests_it_takes() -> None:
    scene = Scene()
    await read_ends_at_its_deadline(scene.adapter, scene.socket)
