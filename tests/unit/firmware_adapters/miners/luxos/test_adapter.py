"""The adapter in front of the emulator: what is asked when, sessions, thermal management, what is refused."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware_adapters.miners.emulated import PoolView
from firmware_adapters.miners.luxos import emulator_pages
from firmware_adapters.miners.luxos.adapter import (
    AFTER_WRITE_S,
    SLOW_EVERY,
    LuxosAdapter,
    capabilities,
    open_device,
)
from firmware_adapters.miners.luxos.emulator import SESSION_S, LuxosEmulator
from firmware_adapters.miners.luxos.emulator_traps import Traps
from firmware_adapters.transport.line_json import Body
from shared.capabilities import Ability
from shared.clock import ManualClock, SystemClock
from shared.errors import Busy, DeviceError, DeviceTimeout, MalformedReply, Unreachable, Unsupported
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, MinerState, Quality
from shared.units import Algorithm
from support.line_fuzz import DAMAGES, Damage, Damaged, read_is_sound
from support.line_memory import MemorySocket
from support.luxos import emulator_of
from support.miners import Machine, on_loopback, s21_pro

SLOW_IS_FINE = [HealthCheck.too_slow]
"""A shared machine that is busy draws slowly; that says nothing of what is tested."""

ALL = {one.ability for one in capabilities()}
OTHER = PoolView(url="stratum+tcp://other.invalid:3333", shares_accepted=3, shares_rejected=2, shares_stale=1)


class Scene:
    """A machine, its emulator and the adapter, without sockets."""

    def __init__(self, machine: Machine | None = None, **options: object) -> None:
        self.clock = ManualClock()
        self.machine = machine or Machine(s21_pro(other_pools=(OTHER,), last_share_age_s=4.0, shares_stale=2))
        self.emulator = emulator_of(self.machine, self.clock, **options)
        self.line = MemorySocket(self.emulator)
        self.adapter = LuxosAdapter(self.line, timeout_s=5, clock=self.clock)

    def answers_with(self, failures: dict[str, DeviceError]) -> None:
        """From now on these commands, named with or without what follows them, end like this, undone."""
        whole = self.line.ask

        async def ask(command: str, parameter: str | None = None) -> Body:
            failure = failures.get(command) or failures.get(f"{command} {parameter}")
            if failure is None:
                return await whole(command, parameter)
            self.line.asked.append(f"{command} {parameter}")
            raise failure

        self.line.ask = ask  # type: ignore[method-assign] # a machine in a bad state

    def asked(self) -> list[str]:
        """The commands since the last call."""
        asked = list(self.line.asked)
        self.line.asked.clear()
        return asked


# ---------------------------------------------------------------- reading


async def test_chips_that_only_temps_tells_are_in_every_read() -> None:
    scene = Scene()
    chips: Body = {"TEMPS": [{"ID": 0, "Board": 60.0, "Chip": 75.0}, {"ID": 1, "Board": 58.0, "Chip": 71.0}]}
    whole = scene.line.ask

    async def ask(command: str, parameter: str | None = None) -> Body:
        return chips if command == "temps" else await whole(command, parameter)

    scene.line.ask = ask  # type: ignore[method-assign] # an older release
    for _ in range(3):
        seen = (await scene.adapter.read()).readings
        assert (seen["chip_temp_min_c"].value, seen["chip_temp_max_c"].value) == (71, 75)
        assert (seen["board_temp_min_c"].value, seen["board_temp_max_c"].value) == (58, 60)


@pytest.mark.parametrize(
    ("model", "algorithm"),
    [("Antminer L9", Algorithm.SCRYPT), ("Antminer S21", Algorithm.SHA256D), ("Antminer D9", None)],
)
async def test_what_it_mines_follows_from_its_model(model: str, algorithm: Algorithm | None) -> None:
    scene = Scene(Machine(s21_pro(model=model)))
    assert (await scene.adapter.read()).algorithm is algorithm, "None: what the site's entry says"
    assert (await scene.adapter.facts()).algorithm == (algorithm or Algorithm.UNKNOWN)


async def test_a_read_is_three_commands_and_the_rest_comes_at_its_own_cadence() -> None:
    scene = Scene()
    fast, second = ["stats", "config", "power"], ["summary", "fans", "profiles"]
    await scene.adapter.read()
    assert scene.asked() == [*fast, "temps", *second, "tempctrl", "pools", "events"]
    asked = []
    for _ in range(SLOW_EVERY - 1):
        await scene.adapter.read()
        asked.append(scene.asked())
    assert asked == [fast, fast + second, fast, fast + second]


async def test_the_first_read_tells_everything() -> None:
    seen = await Scene().adapter.read()
    told = {name: found.value for name, found in seen.readings.items()}
    assert told["power_w"] == 2790
    assert told["preset_w"] == 2800
    assert told["setpoint_c"] == 65
    assert told["fan_duty_pct"] == 90
    assert (told["shares_accepted"], told["shares_rejected"], told["shares_stale"]) == (4060, 10, 3)
    assert told["last_share_age_s"] == 4
    assert (seen.state, seen.preset, seen.faults) == (MinerState.MINING, "2800", ())


async def test_what_was_not_asked_for_is_absent_and_not_remembered() -> None:
    scene = Scene()
    await scene.adapter.read()
    seen = await scene.adapter.read()
    assert not {"shares_accepted", "preset_w", "fan_duty_pct", "setpoint_c"} & set(seen.readings)
    assert seen.faults is None
    assert seen.preset == "2800", "the profile is asked on every read"


class Poor(MemorySocket):
    """A release that knows few commands."""

    def __init__(self, emulator: LuxosEmulator, knows: set[str]) -> None:
        super().__init__(emulator)
        self._knows = knows

    async def ask(self, command: str, parameter: str | None = None) -> Body:
        if command not in self._knows:
            raise Unsupported("4028: Invalid command")
        return await super().ask(command, parameter)


async def test_optional_replies_cost_their_points_only() -> None:
    adapter = LuxosAdapter(Poor(emulator_of(Machine()), {"stats", "config"}), timeout_s=5)
    seen = await adapter.read()
    assert seen.readings["hashrate_ths"].value == 186
    assert seen.readings["power_w"].value is None
    assert (seen.state, seen.preset, seen.faults) == (MinerState.MINING, "2800", None)


async def test_no_watts_of_a_machine_that_hashes_are_unknown() -> None:
    scene = Scene()
    scene.machine.set(power_w=0.0)
    assert (await scene.adapter.read()).readings["power_w"].quality is Quality.MISSING
    scene.machine.set(hashrate_ths=0.0)
    assert (await scene.adapter.read()).readings["power_w"].value == 0.0


async def test_a_release_that_does_not_tell_its_configuration_is_mining_or_unknown() -> None:
    machine = Machine()
    adapter = LuxosAdapter(Poor(emulator_of(machine), {"stats"}), timeout_s=5)
    seen = await adapter.read()
    assert (seen.state, seen.preset) == (MinerState.MINING, None)
    machine.stop()
    assert (await adapter.read()).state is MinerState.UNKNOWN, "unknown counts as running"
    with pytest.raises(Unsupported):
        await adapter.facts()


async def test_a_release_without_profiles_declares_none() -> None:
    adapter = LuxosAdapter(Poor(emulator_of(Machine()), {"version", "config", "devs"}), timeout_s=5)
    facts = await adapter.facts()
    assert facts.presets == ()
    assert {one.ability for one in facts.capabilities} == ALL - {Ability.PRESET, Ability.PRESET_LIST}
    with pytest.raises(Unsupported):
        await adapter.set_preset("2550")
    boards = await adapter.boards()
    assert [(one.index, one.hashrate_ths, one.frequency_mhz) for one in boards] == [
        (index, 62.0, None) for index in range(3)
    ]


async def test_who_it_is_is_known_without_its_configuration() -> None:
    adapter = LuxosAdapter(Poor(emulator_of(Machine()), {"version"}), timeout_s=5)
    facts = await adapter.facts()
    assert (facts.model, facts.firmware, facts.presets) == ("Antminer S21 Pro", emulator_pages.RELEASE, ())
    assert (facts.mac, facts.serial) == ("", "")


async def test_a_machine_that_neither_hashes_nor_sleeps_is_asked_whether_it_ramps() -> None:
    scene = Scene()
    scene.machine.set(state=MinerState.STARTING, hashrate_ths=0.0)
    assert (await scene.adapter.read()).state is MinerState.STARTING
    assert "devs" in scene.asked()
    scene.machine.set(state=MinerState.FAILURE)
    seen = await scene.adapter.read()
    assert seen.state is MinerState.FAILURE, "its supply is off, and nobody told it to sleep"


async def test_what_happened_is_told() -> None:
    scene = Scene(Machine(s21_pro(state=MinerState.FAILURE, description="Too hot.")))
    seen = await scene.adapter.read()
    assert seen.faults is not None
    assert seen.faults[0].code == "MINER_SHUTDOWN"
    assert seen.faults[0].words.startswith("Too hot.")


async def test_a_read_has_one_deadline_over_all_its_commands() -> None:
    emulator = emulator_of(Machine(), SystemClock(), traps=Traps(slow_s=0.95))
    async with on_loopback({"127.9.2.1": emulator}) as (_, port):
        entry = DeviceEntry(
            id=DeviceId("m"),
            kind=DeviceKind.MINER,
            adapter="luxos",
            host="127.9.2.1",
            port=port,
            zone=ZoneId("z"),
        )
        adapter = open_device(entry, None, timeout_s=1.0)
        seen = await adapter.read()
        assert seen.readings["hashrate_ths"].value is not None, "what came in its time is told"
        assert seen.readings["power_w"].value is None, "and nothing else"
        emulator.traps = Traps()
        assert (await adapter.read()).readings["power_w"].value == 2790
        emulator.machine.set(reachable=False)  # type: ignore[attr-defined] # a test's machine
        with pytest.raises(Unreachable):
            await adapter.read()


SIDE = ("power", "config", "temps", "summary", "fans", "profiles", "tempctrl", "pools", "events")


@pytest.mark.parametrize("command", SIDE)
@pytest.mark.parametrize("failure", [Unreachable("closed"), DeviceTimeout("hung"), None])
async def test_a_command_that_is_closed_or_hangs_costs_what_it_tells(
    command: str, failure: DeviceError | None
) -> None:
    """None: nothing comes for ever, and the read still ends in its time with what the others told."""
    line = MemorySocket(emulator_of(Machine(s21_pro()), ManualClock()))
    adapter = LuxosAdapter(line, timeout_s=0.2)
    asked = line.ask

    async def ask(what: str, parameter: str | None = None) -> object:
        if what != command:
            return await asked(what, parameter)
        if failure is None:
            await asyncio.Event().wait()
        raise failure  # type: ignore[misc]  # not None here

    line.ask = ask  # type: ignore[method-assign,assignment] # one command fails
    seen = await adapter.read()
    assert seen.readings["hashrate_ths"].value == pytest.approx(186.0, rel=0.01)
    if command == "summary":
        assert seen.readings["shares_accepted"].value is not None, "the pools count them too"
    if command == "temps":
        assert all(board.board_temp_max_c is not None for board in await adapter.boards())


async def test_without_devs_the_boards_are_as_stats_has_them() -> None:
    line = MemorySocket(emulator_of(Machine(s21_pro()), ManualClock()))
    adapter = LuxosAdapter(line, timeout_s=0.2)
    whole = await adapter.boards()
    asked = line.ask

    async def ask(what: str, parameter: str | None = None) -> object:
        if what == "devs":
            raise Unsupported("refused")
        return await asked(what, parameter)

    line.ask = ask  # type: ignore[method-assign,assignment] # one command fails
    found = await adapter.boards()
    assert [one.hashrate_ths for one in found] == pytest.approx([one.hashrate_ths for one in whole], rel=0.01)
    assert [one.board_temp_max_c for one in found] == [one.board_temp_max_c for one in whole]
    assert {one.working for one in found} == {None}


# ---------------------------------------------------------------- facts and parts


async def test_who_it_is() -> None:
    facts = await Scene().adapter.facts()
    assert (facts.model, facts.firmware) == ("Antminer S21 Pro", emulator_pages.RELEASE)
    assert (facts.mac, facts.serial) == ("aa:bb:cc:00:00:01", "SN0001")
    assert [(rung.name, rung.tuned) for rung in facts.presets] == [
        ("2550", True),
        ("2800", True),
        ("3160", True),
        ("4690", False),
    ]
    assert {one.ability for one in facts.capabilities} == ALL
    assert not facts.default_password, "the socket asks for none"


async def test_boards_chips_and_pools() -> None:
    scene = Scene()
    boards = await scene.adapter.boards()
    assert [(one.index, one.working, one.chips, one.voltage_v, one.serial) for one in boards] == [
        (index, True, 65, 12.8, f"SN0001-{index}") for index in range(3)
    ]
    chips = await scene.adapter.chips()
    assert len(chips) == 3 * 65
    assert sum(chip.hashrate_ths or 0 for chip in chips) == pytest.approx(186, rel=1e-3)
    assert [(pool.index, pool.url) for pool in await scene.adapter.pools()] == [
        (0, "stratum+tcp://pool.invalid:3333"),
        (1, OTHER.url),
    ]


async def test_a_release_never_seen_is_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator_pages, "RELEASE", "2031.1.1.000000-ffffffff")
    scene = Scene()
    for command in (scene.adapter.stop_mining(), scene.adapter.reboot(), scene.adapter.set_preset("2550")):
        with pytest.raises(Unsupported, match="not known"):
            await command
    assert scene.machine.commands == []
    assert "logon" not in scene.asked()
    declared = {one.ability for one in (await scene.adapter.facts()).capabilities}
    assert not declared & {Ability.MINING, Ability.PRESET, Ability.REBOOT}
    assert Ability.CHIPS in declared


async def test_an_immersed_machine_has_no_cooling_target() -> None:
    scene = Scene(Machine(s21_pro(cooling="immersion")))
    declared = {one.ability for one in (await scene.adapter.facts()).capabilities}
    assert declared == ALL - {Ability.COOLING_TARGET}
    with pytest.raises(Unsupported):
        await scene.adapter.set_cooling_target(50.0)
    assert not [name for name in (await scene.adapter.read()).readings if name.startswith("fan")]


# ---------------------------------------------------------------- sessions


async def test_every_write_takes_the_session_and_gives_it_back() -> None:
    scene = Scene()
    await scene.adapter.facts()
    scene.asked()
    await scene.adapter.stop_mining()
    assert scene.asked() == ["logon", "curtail s0000001,sleep", "logoff s0000001"]
    assert scene.emulator.session is None


async def test_a_session_of_somebody_else_means_busy_and_nothing_is_done() -> None:
    scene = Scene(traps=Traps(foreign_session=True))
    with pytest.raises(Busy, match="session"):
        await scene.adapter.stop_mining()
    assert scene.machine.commands == []


async def test_a_session_that_nobody_gave_back_dies_by_itself() -> None:
    scene = Scene()
    await scene.line.ask("logon")
    with pytest.raises(Busy):
        await scene.adapter.stop_mining()
    scene.clock.advance(SESSION_S + 1)
    await scene.adapter.stop_mining()
    assert scene.machine.seen.state is MinerState.STOPPED


async def test_a_forgotten_session_is_taken_again_once() -> None:
    scene = Scene(traps=Traps(forget_session_every=2))
    await scene.adapter.set_preset("2550")
    assert scene.machine.seen.preset == "2550"
    scene.emulator.traps = Traps(forget_session_every=1)
    with pytest.raises(Busy, match="session"):
        await scene.adapter.stop_mining()


async def test_the_session_is_given_back_after_a_refusal() -> None:
    scene = Scene()
    await scene.adapter.stop_mining()
    with pytest.raises(Busy, match="already"):
        await scene.adapter.stop_mining()
    assert scene.emulator.session is None
    await scene.adapter.start_mining()


async def test_a_refused_reboot_keeps_no_session_so_that_a_stop_goes_through() -> None:
    scene = Scene()
    scene.answers_with({"rebootdevice": Busy("4028: not now")})
    with pytest.raises(Busy, match="not now"):
        await scene.adapter.reboot()
    await scene.adapter.stop_mining()
    assert scene.machine.seen.state is MinerState.STOPPED


async def test_a_machine_that_reboots_is_not_asked_for_its_session() -> None:
    scene = Scene()
    await scene.adapter.reboot()
    assert scene.asked()[-1] == "rebootdevice s0000001"


async def test_writes_at_once_wait_for_each_other() -> None:
    scene = Scene()
    await asyncio.gather(
        scene.adapter.set_preset("2550"), scene.adapter.switch_pool(1), scene.adapter.set_cooling_target(50.0)
    )
    assert scene.machine.seen.preset == "2550"
    assert (scene.machine.seen.pool, scene.machine.seen.target_temp_c) == (1, 50.0)


# ---------------------------------------------------------------- control


async def test_thermal_management_goes_off_before_a_profile_changes_and_stays_off() -> None:
    scene = Scene()
    await scene.adapter.facts()
    scene.asked()
    await scene.adapter.set_preset("2550")
    assert scene.asked() == [
        "profiles",
        "atm",
        "logon",
        "atmset s0000001,enabled=false",
        "profileset s0000001,2550",
        "logoff s0000001",
    ]
    assert not scene.emulator.atm
    await scene.adapter.set_preset("2800")
    assert not [asked for asked in scene.asked() if asked.startswith("atmset")]


async def test_a_refused_profile_leaves_thermal_management_as_it_was() -> None:
    scene = Scene()
    scene.answers_with({"profileset": Busy("4028: not now")})
    with pytest.raises(Busy, match="not now"):
        await scene.adapter.set_preset("2550")
    assert scene.emulator.atm
    assert scene.emulator.session is None
    assert scene.asked()[-4:] == [
        "atmset s0000001,enabled=false",
        "profileset s0000001,2550",
        "atmset s0000001,enabled=true",
        "logoff s0000001",
    ]


async def test_a_refused_profile_of_a_machine_that_does_not_manage_itself_switches_nothing_on() -> None:
    scene = Scene()
    scene.emulator.atm = False
    scene.answers_with({"profileset": Busy("4028: not now")})
    with pytest.raises(Busy, match="not now"):
        await scene.adapter.set_preset("2550")
    assert not scene.emulator.atm


async def test_a_profile_that_may_have_been_taken_leaves_it_off_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On again, it could step the machine up from the profile that it was lowered to."""
    scene = Scene()
    scene.answers_with({"profileset": DeviceTimeout("no whole reply in time")})
    with pytest.raises(DeviceTimeout):
        await scene.adapter.set_preset("2550")
    assert not scene.emulator.atm
    assert [record.getMessage() for record in caplog.records] == [
        "luxos: thermal management (ATM) may be off after profile 2550: no whole reply in time"
    ]
    caplog.clear()
    for _ in range(2):
        await scene.adapter.read()
    assert [record.getMessage() for record in caplog.records] == ["luxos: thermal management (ATM) is off"]


async def test_thermal_management_that_does_not_go_on_again_is_told(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.answers_with(
        {"profileset": Busy("4028: not now"), "atmset s0000001,enabled=true": Unreachable("closed")}
    )
    with pytest.raises(Busy, match="not now"):
        await scene.adapter.set_preset("2550")
    assert ["may be off" in record.getMessage() for record in caplog.records] == [True]


async def test_a_machine_whose_atm_page_is_missing_is_asked_in_its_configuration() -> None:
    scene = Scene()
    whole = scene.line.ask

    async def without_atm(command: str, parameter: str | None = None) -> dict[str, object]:
        if command == "atm":
            raise Unsupported("4028: Invalid command")
        return await whole(command, parameter)

    scene.line.ask = without_atm  # type: ignore[method-assign] # a release without that command
    await scene.adapter.set_preset("2550")
    assert scene.machine.seen.preset == "2550"


async def test_a_profile_is_read_back_with_its_watts_after_a_write() -> None:
    scene = Scene()
    await scene.adapter.read()
    await scene.adapter.set_preset("2550")
    seen = await scene.adapter.read()
    assert (seen.preset, seen.readings["preset_w"].value) == ("2550", 2550)
    scene.clock.advance(AFTER_WRITE_S + 1)
    await scene.adapter.read()
    assert "preset_w" not in (await scene.adapter.read()).readings


async def test_sleep_lasts_over_a_reboot_and_is_seen() -> None:
    scene = Scene()
    await scene.adapter.stop_mining()
    assert (await scene.adapter.read()).state is MinerState.STOPPED
    await scene.adapter.reboot()
    assert (await scene.adapter.read()).state is MinerState.STOPPED
    await scene.adapter.start_mining()
    assert scene.machine.seen.state is MinerState.MINING


async def test_a_profile_of_a_sleeping_machine_does_not_wake_it() -> None:
    scene = Scene()
    await scene.adapter.stop_mining()
    await scene.adapter.set_preset("2550")
    assert scene.machine.seen.state is MinerState.STOPPED


@pytest.mark.parametrize("celsius", [20.0, 61.0, float("nan"), float("inf")])
async def test_a_target_outside_the_range_is_refused_before_anything_is_asked(celsius: float) -> None:
    scene = Scene()
    await scene.adapter.facts()
    scene.asked()
    with pytest.raises(Unsupported):
        await scene.adapter.set_cooling_target(celsius)
    assert scene.asked() == []


async def test_a_target_at_what_the_machine_calls_hot_is_refused() -> None:
    scene = Scene()
    scene.emulator.limits = (55.0, 60.0)
    scene.machine.set(target_temp_c=45.0)
    with pytest.raises(Unsupported, match="below its hot"):
        await scene.adapter.set_cooling_target(55.0)
    await scene.adapter.set_cooling_target(50.0)
    assert scene.emulator.limits == (55.0, 60.0), "hot and dangerous stay as they are"
    assert (await scene.adapter.read()).readings["setpoint_c"].value == 50


async def test_limits_that_are_not_told_leave_the_target_alone() -> None:
    scene = Scene()
    scene.emulator._control = lambda _view: {"Target": 55}  # type: ignore[method-assign,assignment] # a poor page
    with pytest.raises(MalformedReply):
        await scene.adapter.set_cooling_target(50.0)
    assert scene.machine.commands == []


async def test_a_pool_that_is_not_there_is_refused() -> None:
    scene = Scene()
    for index in (-1, 2):
        with pytest.raises(Unsupported, match="no pool"):
            await scene.adapter.switch_pool(index)
    await scene.adapter.switch_pool(1)
    assert scene.machine.seen.pool == 1


async def test_replies_in_pieces_of_the_dialect_are_read() -> None:
    scene = Scene(traps=Traps(glued=True))
    assert (await scene.adapter.read()).readings["power_w"].value == 2790
    await scene.adapter.stop_mining()
    assert scene.machine.seen.state is MinerState.STOPPED


# ---------------------------------------------------------------- damaged replies


@settings(max_examples=80, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(st.lists(DAMAGES, min_size=1, max_size=6), st.booleans())
async def test_damaged_replies_end_in_typed_failures_and_readings_that_can_be(
    damages: list[Damage], sleeps: bool
) -> None:
    machine = Machine(s21_pro(state=MinerState.STOPPED if sleeps else MinerState.MINING))
    adapter = LuxosAdapter(MemorySocket(Damaged(emulator_of(machine), damages)), timeout_s=5)
    await read_is_sound(
        adapter,
        adapter.boards,
        adapter.chips,
        adapter.pools,
        adapter.stop_mining,
        adapter.start_mining,
        lambda: adapter.set_preset("2550"),
        lambda: adapter.set_cooling_target(50.0),
        adapter.reboot,
    )
