"""What is asked when, what each command says to the machine, and what is checked before."""

import asyncio
import re

import msgspec
import pytest

from firmware_adapters.miners.avalon.adapter import SLOW_EVERY, AvalonAdapter, open_device
from firmware_adapters.miners.avalon.emulator import AvalonEmulator
from firmware_adapters.miners.avalon.emulator_traps import Traps
from firmware_adapters.miners.avalon.modes import capabilities_of, ladder_of, modes_of
from shared.capabilities import Ability
from shared.clock import ManualClock
from shared.details import Fault
from shared.errors import Busy, DeviceError, DeviceTimeout, MalformedReply, Unreachable, Unsupported
from shared.telemetry import MinerState, Quality
from support.line_memory import MemorySocket, opens_lazily, read_ends_at_its_deadline
from support.miners import Machine
from support.subjects.avalon import avalon_q


class Scene:
    """A machine, its emulator and an adapter in front of it."""

    def __init__(self, model: str = "Avalon Q", **traps: object) -> None:
        self.machine = Machine(avalon_q(model=model))
        self.clock = ManualClock()
        self.emulator = AvalonEmulator(self.machine, clock=self.clock)
        self.emulator.traps = Traps(**traps)  # type: ignore[arg-type] # its own fields
        self.socket = MemorySocket(self.emulator)
        self.adapter = AvalonAdapter(self.socket, self.socket, timeout_s=5, clock=self.clock)


async def test_a_read_is_two_requests_and_who_it_is_is_asked_once() -> None:
    scene = Scene()
    for number in range(2 * SLOW_EVERY):
        scene.socket.asked.clear()
        seen = await scene.adapter.read()
        slow = number % SLOW_EVERY == 0
        first = ["version"] if number == 0 else []
        assert scene.socket.asked == [*first, "estats", "summary", *(["pools"] if slow else [])]
        assert ("last_share_age_s" in seen.readings) == slow
    assert seen.preset == "standard"
    assert seen.readings["preset_w"].value == 1300


async def test_boards_and_chips_of_a_machine_that_works() -> None:
    scene = Scene()
    (found,) = await scene.adapter.boards()
    assert (found.hashrate_ths, found.hashrate_nominal_ths) == (79.5, 80.0)
    assert (found.chip_temp_min_c, found.chip_temp_max_c) == (54, 65)
    assert found.voltage_v == 22.4
    chips = await scene.adapter.chips()
    assert len(chips) == 160
    assert chips[0].temp_c == 54
    assert chips[-1].temp_c == 65
    assert chips[0].voltage_v == 0.14


async def test_a_stop_says_when_by_the_machines_own_clock() -> None:
    now_s = Scene().clock.utc_ms() // 1000
    # Minutes and hours and days off, and a clock that was never set: it counts from 1970.
    for ahead_s in (0, -600, 600, -7200, 7200, -90_000, 90_000, 40 - now_s):
        scene = Scene(clock_ahead_s=ahead_s)
        await scene.adapter.stop_mining()
        assert scene.machine.commands == ["stop"]
        when = now_s + ahead_s + 5
        assert scene.socket.asked == ["version", f"ascset 0,softoff,1:{when}"]
        await scene.adapter.start_mining()
        assert scene.machine.commands == ["stop", "start"]
        assert scene.socket.asked[-1] == f"ascset 0,softon,1:{when}"


async def test_by_our_clock_a_machine_that_lags_would_mine_on() -> None:
    """What the time is good for: the emulator switches when its own clock shows it, as it is recorded to."""
    scene = Scene(clock_ahead_s=-7200.0)
    words = f"0,softoff,1:{scene.clock.utc_ms() // 1000 + 5}"
    await scene.socket.exchange(
        msgspec.json.encode({"command": "ascset", "parameter": words}), "ascset", words
    )
    assert (await scene.adapter.read()).state is MinerState.MINING
    scene.clock.advance(7200.0)
    assert (await scene.adapter.read()).state is MinerState.MINING, "five seconds are missing"
    scene.clock.advance(5.0)
    assert (await scene.adapter.read()).state is MinerState.STOPPED


async def test_without_its_time_ours_is_taken() -> None:
    scene = Scene()
    answer = scene.emulator.answer

    def timeless(raw: bytes) -> bytes:
        return re.sub(rb'"When":\d+', b'"When":0', answer(raw))

    scene.emulator.answer = timeless  # type: ignore[method-assign] # its clock is not set
    await scene.adapter.stop_mining()
    assert scene.machine.commands == ["stop"]


@pytest.mark.parametrize("says", [True, False])
async def test_a_command_may_be_answered_or_not(says: bool) -> None:
    scene = Scene(says_something=says)
    await scene.adapter.stop_mining()
    await scene.adapter.reboot()
    assert scene.machine.commands == ["stop", "reboot 0"]


async def test_a_refusal_is_raised() -> None:
    scene = Scene(refuses=True)
    with pytest.raises(Busy):
        await scene.adapter.stop_mining()
    assert scene.machine.commands == []


async def test_nothing_is_written_to_what_is_no_avalon() -> None:
    """The address may belong to another machine by now: 4028 has no login that would notice."""
    scene = Scene()
    answer = scene.emulator.answer

    def another(raw: bytes) -> bytes:
        said = b'{"STATUS":[{"STATUS":"S"}],"VERSION":[{"CGMiner":"4.11.1","Type":"Antminer S9"}]}'
        return said if b"version" in raw else answer(raw)

    await scene.adapter.read()
    scene.emulator.answer = another  # type: ignore[method-assign] # the address has a new owner
    scene.socket.asked.clear()
    for write in (scene.adapter.stop_mining, scene.adapter.start_mining, scene.adapter.reboot):
        with pytest.raises(MalformedReply):
            await write()
    with pytest.raises(MalformedReply):
        await scene.adapter.set_preset("eco")
    assert set(scene.socket.asked) == {"version"}


async def test_a_mode_is_told_by_its_number() -> None:
    scene = Scene()
    for number, name in enumerate(("eco", "standard", "super")):
        await scene.adapter.set_preset(name)
        assert scene.socket.asked[-1] == f"ascset 0,workmode,set,{number}"
        assert (await scene.adapter.read()).preset == name


async def test_a_mode_is_not_told_to_one_that_is_switched_off() -> None:
    scene = Scene()
    await scene.adapter.stop_mining()
    with pytest.raises(Busy, match="switched off"):
        await scene.adapter.set_preset("eco")
    assert scene.machine.commands == ["stop"]


async def test_a_model_without_known_modes_has_no_ladder_and_says_so() -> None:
    scene = Scene(model="Avalon A1366")
    facts = await scene.adapter.facts()
    assert facts.presets == ()
    assert not {Ability.PRESET, Ability.PRESET_LIST} & {found.ability for found in facts.capabilities}
    with pytest.raises(Unsupported, match="none that is known"):
        await scene.adapter.set_preset("eco")
    seen = await scene.adapter.read()
    assert seen.preset is None
    assert "preset_w" not in seen.readings


def test_the_modes_are_a_ladder() -> None:
    assert [mode.number for mode in modes_of("avalon q")] == [0, 1, 2]
    assert [rung.power_w for rung in ladder_of("Avalon Q")] == [800, 1300, 1674]
    assert modes_of("Avalon") == ()
    assert len(capabilities_of("Avalon Q")) == len(capabilities_of("Avalon Nano 3")) + 2


async def test_an_immersed_model_has_no_fans() -> None:
    assert "fan_rpm.0" in (await Scene(model="Avalon A1366").adapter.read()).readings
    immersed = (await Scene(model="Avalon A1366I").adapter.read()).readings
    assert not {"fan_rpm.0", "fan_duty_pct", "air_temp_c"} & set(immersed)


async def test_the_board_of_a_machine_at_rest_shows_no_average() -> None:
    scene = Scene()
    scene.machine.set(state=MinerState.STOPPED, hashrate_ths=0.0)
    assert scene.machine.seen.hashrate_average_ths > 0
    (found,) = await scene.adapter.boards()
    assert found.hashrate_ths == 0


async def test_faults_are_told() -> None:
    scene = Scene(errors=(("ECHU", "16"), ("FanErr", "2")))
    assert (await scene.adapter.read()).faults == (
        Fault(code="ECHU:16", words="hash unit"),
        Fault(code="FanErr:2", words="fans"),
    )


@pytest.mark.parametrize(
    ("state", "hashrate", "seen"),
    [
        (MinerState.MINING, 79.5, MinerState.MINING),
        (MinerState.AUTO_TUNING, 79.5, MinerState.MINING),
        (MinerState.STARTING, 0.0, MinerState.INITIALIZING),
        (MinerState.STOPPED, 0.0, MinerState.STOPPED),
        (MinerState.STOPPED, 79.5, MinerState.SHUTTING_DOWN),
    ],
)
async def test_states(state: MinerState, hashrate: float, seen: MinerState) -> None:
    scene = Scene()
    scene.machine.set(state=state, hashrate_ths=hashrate)
    assert (await scene.adapter.read()).state is seen


async def test_no_watts_beside_the_hashrate_of_the_summary_are_no_watts() -> None:
    """The module may tell no hashrate itself, so what `summary` counts is held against its watts."""
    scene = Scene()
    answer = scene.emulator.answer

    def without(raw: bytes) -> bytes:
        return re.sub(rb"PS\[[^]]*\]|GHSspd\[[^]]*\]", b"PS[0 1222 0 0 0 0 0]", answer(raw))

    scene.emulator.answer = without  # type: ignore[method-assign] # its supply tells nothing
    seen = await scene.adapter.read()
    assert (seen.readings["hashrate_ths"].value, seen.readings["power_w"].quality) == (79.5, Quality.MISSING)
    scene.machine.set(hashrate_ths=0.0)
    assert (await scene.adapter.read()).readings["power_w"].value == 0.0, "at rest it is possible"


@pytest.mark.parametrize("page", ["version", "summary", "pools"])
@pytest.mark.parametrize("failure", [Unreachable("closed"), DeviceTimeout("hung"), Unsupported("no"), None])
async def test_a_page_beside_the_brackets_that_fails_costs_what_it_tells(
    page: str, failure: DeviceError | None
) -> None:
    """None: nothing comes for ever, and the read still ends in its time with what the others told."""
    scene = Scene()
    scene.adapter._timeout_s = 0.2
    asked = scene.socket.ask

    async def ask(command: str, parameter: str | None = None) -> object:
        if command != page:
            return await asked(command, parameter)
        if failure is None:
            await asyncio.Event().wait()
        raise failure  # type: ignore[misc]  # not None here

    scene.socket.ask = ask  # type: ignore[method-assign,assignment] # one page of it fails
    seen = (await scene.adapter.read()).readings
    assert seen["hashrate_ths"].value == pytest.approx(scene.machine.seen.hashrate_ths, rel=0.01)
    assert seen["chip_temp_max_c"].value is not None


async def test_the_modules_hashrate_stands_in_for_a_summary_that_does_not_say() -> None:
    scene = Scene()
    answer = scene.emulator.answer

    def without(raw: bytes) -> bytes:
        said = answer(raw)
        if b"summary" not in raw:
            return said
        body = msgspec.json.decode(said.rstrip(b"\0"))
        del body["SUMMARY"][0]["MHS 5s"]
        return msgspec.json.encode(body)

    scene.emulator.answer = without  # type: ignore[method-assign] # one number of it is gone
    assert (await scene.adapter.read()).readings["hashrate_ths"].value == 79.5


async def test_open_device_connects_lazily_and_close_never_raises() -> None:
    await opens_lazily(open_device, "avalon")


async def test_a_read_ends_at_its_deadline_however_many_requests_it_takes() -> None:
    scene = Scene()
    await read_ends_at_its_deadline(scene.adapter, scene.socket)


async def test_a_machine_without_estats_and_stats_is_a_failure() -> None:
    scene = Scene()
    answer = scene.emulator.answer

    def without(raw: bytes) -> bytes:
        said = b'{"STATUS":[{"STATUS":"E","Code":14,"Msg":"Invalid command"}]}'
        return said if b"stats" in raw else answer(raw)

    scene.emulator.answer = without  # type: ignore[method-assign] # two pages of it are gone
    for _ in range(2):
        with pytest.raises(Unsupported):
            await scene.adapter.read()
