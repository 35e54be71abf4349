"""The writes: what is refused before anything leaves, what is posted, what restarts, and what never does."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from firmware_adapters.capabilities import WRITES, Credential, PoolLogin
from firmware_adapters.miners.emulated import PoolView
from firmware_adapters.miners.vnish.abilities import Limits, capabilities, declared, limits
from firmware_adapters.miners.vnish.adapter import VnishAdapter
from firmware_adapters.miners.vnish.emulator import Switcher, VnishEmulator
from firmware_adapters.miners.vnish.emulator_traps import Traps
from firmware_adapters.miners.vnish.versions import firmware
from firmware_adapters.transport.http import HttpReply, HttpRequest
from shared.capabilities import Ability, Preset
from shared.clock import ManualClock
from shared.errors import Busy, DeviceError, DeviceTimeout, MalformedReply, Unsupported
from shared.telemetry import MinerState
from support.miners import LADDER, Machine, s21_pro
from support.vnish import emulator_of, in_memory

NEW = firmware("Vnish", "1.3.4")
LADDER_READ = tuple(
    Preset(name=rung.name, power_w=rung.power_w, hashrate_ths=rung.hashrate_ths, tuned=rung.tuned)
    for rung in LADDER
)
SPARE = PoolView(url="stratum+tcp://spare.invalid:3333")


POOL = PoolLogin(url="stratum+tcp://pool.invalid:3333", user="owner.rig", password="hunter2")


class Bench:
    """An adapter in front of an emulated machine, all in memory."""

    def __init__(self, machine: Machine | None = None, *, version: str = "1.3.4", **options: object) -> None:
        self.clock = ManualClock()
        self.machine = machine or Machine(s21_pro(other_pools=(SPARE,)))
        self.emulator: VnishEmulator = emulator_of(self.machine, self.clock, version=version, **options)
        self.http = in_memory(self.emulator)
        self.adapter = VnishAdapter(
            self.http, Credential(user=None, secret="admin"), timeout_s=5, clock=self.clock, name="m1"
        )

    def posts(self) -> list[tuple[str, bytes]]:
        """What was posted since the last call, logins left out."""
        found = [
            (request.path.removeprefix("/api/v1"), request.body)
            for request in self.http.requests
            if request.method == "POST" and not request.path.endswith("/unlock")
        ]
        self.http.requests.clear()
        return found

    def instead(self, path: str, reply: HttpReply | DeviceError, *, method: str = "POST") -> None:
        """Answer one page with `reply`, after the machine has had the request."""
        whole = self.http._answer

        async def answer(request: HttpRequest) -> HttpReply | DeviceError:
            found = await whole(request)
            ours = (request.method, request.path) == (method, "/api/v1" + path)
            return reply if ours else found

        self.http._answer = answer


# ---------------------------------------------------------------- watts


async def test_a_watt_limit_is_the_firmwares_own_where_it_has_one_and_is_read_back() -> None:
    bench = Bench()
    await bench.adapter.set_power_limit(2900.9)
    posted = b'{"miner":{"misc":{"power_limit":2900,"power_limit_enabled":true}}}'
    assert bench.posts() == [("/settings", posted)]
    seen = await bench.adapter.read()
    assert seen.readings["power_limit_w"].value == 2900
    assert seen.preset == "2800", "what fits under it goes on"


async def test_a_lower_limit_restarts_a_machine_that_runs_and_none_that_is_stopped() -> None:
    bench = Bench()
    await bench.adapter.set_power_limit(2600)
    assert [path for path, _ in bench.posts()] == ["/settings", "/mining/restart"]
    assert bench.machine.seen.preset == "2550"
    stopped = Bench(Machine(s21_pro(state=MinerState.STOPPED)))
    await stopped.adapter.set_power_limit(2600)
    assert [path for path, _ in stopped.posts()] == ["/settings"]
    assert stopped.machine.seen.state is MinerState.STOPPED


@pytest.mark.parametrize(("watts", "runs"), [(2550, "2550"), (2799, "2550"), (2800, "2800"), (3160, "3160")])
async def test_without_one_the_nearest_tuned_preset_below_is_chosen(watts: float, runs: str) -> None:
    bench = Bench(version="1.3.3")
    await bench.adapter.set_power_limit(watts)
    assert bench.machine.seen.preset == runs
    assert b"power_limit" not in b"".join(body for _, body in bench.posts())


@pytest.mark.parametrize("version", ["1.2.0-rc5", "1.2.7", "1.3.4"])
@pytest.mark.parametrize("watts", [0, -1, 2549, 9000, float("nan"), float("inf")])
async def test_watts_outside_the_machines_range_are_unsupported(version: str, watts: float) -> None:
    bench = Bench(version=version)
    with pytest.raises(Unsupported, match="outside"):
        await bench.adapter.set_power_limit(watts)
    assert bench.posts() == []


async def test_an_untuned_ladder_holds_no_limit() -> None:
    bench = Bench(Machine(s21_pro(presets=LADDER[-1:])))
    with pytest.raises(Unsupported, match="no tuned preset"):
        await bench.adapter.set_power_limit(2800)


async def test_a_limit_that_is_accepted_and_not_applied_is_seen_by_the_next_read() -> None:
    bench = Bench(traps=Traps(settings_ignored=True))
    await bench.adapter.set_power_limit(2900)
    assert "power_limit_w" not in (await bench.adapter.read()).readings


# ---------------------------------------------------------------- throttle


async def test_a_throttle_is_asked_for_in_whole_per_cents_and_shows_when_it_bites() -> None:
    bench = Bench(traps=Traps(throttle_delay_s=80))
    await bench.adapter.set_throttle(59.9)
    assert bench.posts() == [("/mining/throttle", b'{"percent":59}')]
    assert (await bench.adapter.read()).readings["throttle_pct"].value == 100
    bench.clock.advance(80)
    await bench.adapter.read()
    assert (await bench.adapter.read()).readings["throttle_pct"].value == 59


@pytest.mark.parametrize("percent", [19.9, 100.1, 0, -5, float("nan")])
async def test_a_throttle_out_of_range_is_unsupported(percent: float) -> None:
    bench = Bench()
    with pytest.raises(Unsupported, match="outside 20 to 100 %"):
        await bench.adapter.set_throttle(percent)
    assert bench.posts() == []


# ---------------------------------------------------------------- fans


async def test_fans_are_posted_partly_and_read_back() -> None:
    bench = Bench(Machine(s21_pro(target_temp_c=58.0)))
    await bench.adapter.set_fan_mode("manual", 80.4)
    assert bench.posts() == [("/settings", b'{"miner":{"cooling":{"mode":{"name":"manual","param":80}}}}')]
    seen = await bench.adapter.read()
    assert seen.readings["fan_duty_pct"].value == 80
    assert "setpoint_c" not in seen.readings
    await bench.adapter.set_fan_mode("auto")
    assert bench.machine.commands == ["cooling manual 80", "cooling auto 58"], "back to the target it had"
    await bench.adapter.set_cooling_target(61.6)
    assert (await bench.adapter.read()).readings["setpoint_c"].value == 62


async def test_a_duty_is_no_target_of_automatic_fans() -> None:
    bench = Bench()
    await bench.adapter.set_fan_mode("auto", 30.0)
    assert bench.machine.commands == ["cooling auto 65"]


async def test_a_target_that_nobody_knows_is_the_firmwares_default() -> None:
    bench = Bench(Machine(s21_pro(cooling="manual", target_temp_c=58.0)))
    await bench.adapter.set_fan_mode("auto")
    assert bench.machine.commands == ["cooling auto 65"]


@pytest.mark.parametrize("mode", ["immersion", "immers", "", "off"])
async def test_other_fan_modes_are_unsupported(mode: str) -> None:
    bench = Bench()
    with pytest.raises(Unsupported, match="fan mode"):
        await bench.adapter.set_fan_mode(mode, 50)
    assert bench.posts() == []


@pytest.mark.parametrize("duty", [None, 9.0, 101.0, float("nan")])
async def test_a_duty_that_is_missing_or_out_of_range_is_unsupported(duty: float | None) -> None:
    bench = Bench()
    with pytest.raises(Unsupported):
        await bench.adapter.set_fan_mode("manual", duty)
    assert bench.posts() == []


@pytest.mark.parametrize("celsius", [19, 91, float("nan"), -300])
async def test_a_target_outside_the_machines_range_is_unsupported(celsius: float) -> None:
    bench = Bench()
    with pytest.raises(Unsupported, match="outside 20 to 90 °C"):
        await bench.adapter.set_cooling_target(celsius)
    assert bench.posts() == []


async def test_an_immersed_machine_has_no_fans_to_command() -> None:
    bench = Bench(Machine(s21_pro(cooling="immersion")))
    for write in (bench.adapter.set_fan_mode("auto"), bench.adapter.set_cooling_target(60)):
        with pytest.raises(Unsupported, match="immersed"):
            await write
    told = {found.ability for found in (await bench.adapter.facts()).capabilities}
    assert not told & {Ability.FAN_MODE, Ability.COOLING_TARGET}
    assert bench.posts() == []


async def test_a_machine_that_does_not_tell_how_it_is_cooled_is_not_guessed_at() -> None:
    bench = Bench(traps=Traps(miner_null=True))
    with pytest.raises(Busy, match="cooled"):
        await bench.adapter.set_cooling_target(60)
    assert bench.posts() == []


# ---------------------------------------------------------------- whose restart it is


async def _pending(bench: Bench) -> None:
    """Somebody at the machine's own page chose a preset and did not restart."""
    token = bench.emulator.logins.unlock("admin", None)["token"]
    body = b'{"miner":{"overclock":{"preset":"3160"}}}'
    bench.emulator.answer("POST", "/api/v1/settings", {"Authorization": f"Bearer {token}"}, body)


async def test_a_restart_that_another_change_waits_for_is_not_given_by_the_way() -> None:
    bench = Bench()
    await _pending(bench)
    for write in (bench.adapter.set_fan_mode("manual", 70), bench.adapter.set_throttle(80)):
        await write
    assert "/mining/restart" not in [path for path, _ in bench.posts()]
    assert bench.machine.seen.preset == "2800"


async def test_a_preset_takes_over_what_waits() -> None:
    bench = Bench()
    await _pending(bench)
    await bench.adapter.set_preset("2550")
    assert bench.machine.seen.preset == "2550"


async def test_a_setting_that_asks_for_its_own_restart_gets_it() -> None:
    bench = Bench()
    bench.instead("/settings", HttpReply(200, b'{"restart_required":true,"reboot_required":false}'))
    await bench.adapter.set_cooling_target(60)
    assert [path for path, _ in bench.posts()] == ["/settings", "/mining/restart"]


async def test_and_only_where_the_machine_runs() -> None:
    bench = Bench(Machine(s21_pro(state=MinerState.STOPPED)))
    bench.instead("/settings", HttpReply(200, b'{"restart_required":true,"reboot_required":true}'))
    await bench.adapter.set_cooling_target(60)
    assert [path for path, _ in bench.posts()] == ["/settings"]
    assert bench.machine.seen.state is MinerState.STOPPED


# ---------------------------------------------------------------- pools, reboot, light


async def test_a_pool_is_switched_to_by_its_own_number_and_read_back() -> None:
    bench = Bench()
    await bench.adapter.switch_pool(1)
    assert bench.posts() == [("/mining/switch-pool", b'{"pool_id":1}')]
    assert [pool.state.value for pool in await bench.adapter.pools()] == ["standby", "active", "standby"]


@pytest.mark.parametrize("index", [-1, 2, 9])
async def test_a_pool_that_is_not_the_owners_is_unsupported(index: int) -> None:
    bench = Bench()
    with pytest.raises(Unsupported, match=rf"no pool {index}.*0, 1"):
        await bench.adapter.switch_pool(index)
    assert bench.posts() == []


async def test_a_reboot_ends_the_session_and_the_next_command_opens_another() -> None:
    bench = Bench()
    await bench.adapter.reboot()
    assert bench.machine.commands == ["reboot 3"]
    await bench.adapter.stop_mining()
    assert bench.machine.commands == ["reboot 3", "stop"]


@pytest.mark.parametrize("toggles", [False, True])
async def test_the_light_is_asked_for_only_where_it_is_not_as_wanted(toggles: bool) -> None:
    bench = Bench(traps=Traps(find_toggles=toggles))
    for on in (True, True, False, False, True):
        await bench.adapter.locate(on=on)
        assert bench.machine.seen.locating is on
    assert bench.machine.commands == ["locate on", "locate off", "locate on"]


async def test_two_who_want_the_light_do_not_turn_it_off_again() -> None:
    bench = Bench(traps=Traps(find_toggles=True))
    await asyncio.gather(*(bench.adapter.locate(on=True) for _ in range(4)))
    assert bench.machine.commands == ["locate on"]


async def test_a_light_that_does_not_follow_is_told_because_no_sample_shows_it() -> None:
    bench = Bench(traps=Traps(find_ignored=True))
    with pytest.raises(Busy, match="still off"):
        await bench.adapter.locate(on=True)


async def test_a_machine_that_does_not_tell_of_its_light_is_not_toggled() -> None:
    bench = Bench()
    bench.instead("/status", HttpReply(200, b'{"miner_state":"mining"}'), method="GET")
    with pytest.raises(Unsupported, match="does not tell"):
        await bench.adapter.locate(on=True)
    assert bench.posts() == []


# ---------------------------------------------------------------- switcher, pools, restart


def _switcher(**told: object) -> Bench:
    return Bench(switcher=Switcher(enabled=True, top_preset="3160", min_preset="2550", **told))  # type: ignore[arg-type]  # as the firmware's


async def test_the_switchers_bounds_move_and_nothing_else_of_it_does() -> None:
    bench = _switcher(autochange_top_preset=True, decrease_temp=72)
    await bench.adapter.set_switcher_bounds(floor="2800")
    assert bench.emulator.settings.switcher.autochange_top_preset, "the ceiling was not asked for"
    await bench.adapter.set_switcher_bounds(ceiling="2800")
    found = bench.emulator.settings.switcher
    assert (found.min_preset, found.top_preset, found.enabled, found.decrease_temp) == (
        "2800",
        "2800",
        True,
        72,
    )
    assert not found.autochange_top_preset, "or the machine would move it up again by itself"


@pytest.mark.parametrize(
    ("bounds", "why"),
    [
        ({"floor": "1"}, "has no preset '1'"),
        ({"ceiling": "4690"}, "is not tuned"),
        ({"floor": "3160", "ceiling": "2550"}, "above the ceiling"),
        ({"ceiling": "2550", "floor": "2800"}, "above the ceiling"),
    ],
)
async def test_bounds_that_cannot_be_are_refused_before_anything_is_posted(
    bounds: dict[str, str], why: str
) -> None:
    bench = _switcher()
    with pytest.raises(Unsupported, match=why):
        await bench.adapter.set_switcher_bounds(**bounds)
    assert bench.posts() == []


async def test_the_first_firmwares_have_a_ceiling_and_no_floor() -> None:
    bench = Bench(version="1.2.0-beta5", switcher=Switcher(enabled=True, top_preset="3160"))
    await bench.adapter.set_switcher_bounds(ceiling="2800")
    assert bench.emulator.settings.switcher.top_preset == "2800"
    with pytest.raises(Unsupported, match="does not tell a preset switcher"):
        await bench.adapter.set_switcher_bounds(floor="2550")


async def test_pools_are_replaced_whole_and_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    bench = Bench()
    spare = PoolLogin(url="spare.invalid:3333", user="owner.rig")
    await bench.adapter.set_pools([POOL, spare])
    stored = bench.emulator.settings._pools
    assert stored == [
        {"url": POOL.url, "user": "owner.rig", "pass": "hunter2"},
        {"url": "spare.invalid:3333", "user": "owner.rig", "pass": "x"},
    ]
    assert "hunter2" not in caplog.text + repr(POOL)


async def test_pools_that_the_machine_does_not_store_are_not_taken_for_set() -> None:
    bench = Bench(traps=Traps(settings_ignored=True))
    with pytest.raises(Busy, match="its settings still tell others"):
        await bench.adapter.set_pools([POOL])


@pytest.mark.parametrize(
    "pool",
    [
        PoolLogin(url="", user="owner"),
        PoolLogin(url="stratum+tcp://pool.invalid", user="owner"),
        PoolLogin(url="http://pool.invalid:80", user="owner"),
        PoolLogin(url="stratum+tcp://pool.invalid:3333", user=" "),
    ],
)
async def test_a_pool_that_no_miner_can_work_for_is_refused(pool: PoolLogin) -> None:
    bench = Bench()
    with pytest.raises(Unsupported, match="needs an address"):
        await bench.adapter.set_pools([POOL, pool])
    assert bench.posts() == []


async def test_a_restart_never_starts_a_machine_that_stands() -> None:
    bench = Bench()
    await bench.adapter.restart_mining()
    assert bench.machine.commands[-1] == "restart"
    await bench.adapter.stop_mining()
    with pytest.raises(Busy, match="a restart might start it"):
        await bench.adapter.restart_mining()
    assert bench.machine.seen.state is MinerState.STOPPED


# ---------------------------------------------------------------- pause


async def test_pause_and_resume_do_and_conflicts_are_busy() -> None:
    bench = Bench()
    await bench.adapter.pause_mining()
    with pytest.raises(Busy, match="pause-mode"):
        await bench.adapter.pause_mining()
    await bench.adapter.resume_mining()
    with pytest.raises(Busy, match="resume-mode"):
        await bench.adapter.resume_mining()
    assert [path for path, _ in bench.posts()] == ["/mining/pause"] * 2 + ["/mining/resume"] * 2


# ---------------------------------------------------------------- versions


def _all(adapter: VnishAdapter) -> dict[Ability, Callable[[], Awaitable[None]]]:
    return {
        Ability.PRESET: lambda: adapter.set_preset("2550"),
        Ability.POWER_LIMIT: lambda: adapter.set_power_limit(2800),
        Ability.MINING: adapter.stop_mining,
        Ability.PAUSE: adapter.pause_mining,
        Ability.THROTTLE: lambda: adapter.set_throttle(50),
        Ability.FAN_MODE: lambda: adapter.set_fan_mode("auto"),
        Ability.COOLING_TARGET: lambda: adapter.set_cooling_target(60),
        Ability.POOL_SWITCH: lambda: adapter.switch_pool(0),
        Ability.PRESET_SWITCHER: lambda: adapter.set_switcher_bounds(ceiling="2550"),
        Ability.POOL_SETTING: lambda: adapter.set_pools([POOL]),
        Ability.RESTART: adapter.restart_mining,
        Ability.REBOOT: adapter.reboot,
        Ability.LOCATE: lambda: adapter.locate(on=True),
    }


@pytest.mark.parametrize(
    ("version", "name"), [("1.1.4", "Vnish"), ("1.4.0", "Vnish"), ("3.9.0", "Vnish"), ("1.3.4", "Other")]
)
async def test_firmware_that_nobody_has_tested_is_told_nothing_not_even_a_password(
    version: str, name: str
) -> None:
    bench = Bench(version=version, firmware_name=name)
    for ability, write in _all(bench.adapter).items():
        with pytest.raises(Unsupported, match=f"m1 runs {name} {version}.*read only, {ability} is refused"):
            await write()
    with pytest.raises(Unsupported):
        await bench.adapter.start_mining()
    facts = await bench.adapter.facts()
    assert not {found.ability for found in facts.capabilities} & WRITES
    assert (facts.presets, facts.default_password) == ((), False)
    seen = await bench.adapter.read()
    assert seen.readings["power_w"].value == 2790
    assert [request.method for request in bench.http.requests if request.method != "GET"] == []


async def test_an_upgrade_under_way_ends_control() -> None:
    bench = Bench()
    await bench.adapter.read()
    bench.emulator.version = "2.0.0"
    bench.machine.set(state_time_s=8)  # an upgrade ends in a reboot
    await bench.adapter.read()
    with pytest.raises(Unsupported, match=r"2\.0\.0"):
        await bench.adapter.stop_mining()


@pytest.mark.parametrize(
    ("version", "missing"),
    [
        ("1.2.0-beta10", {Ability.THROTTLE, Ability.LOCATE}),
        ("1.2.7", {Ability.THROTTLE}),
        ("1.3.0", set()),
        ("1.3.5", set()),
    ],
)
async def test_each_version_declares_what_it_has_and_refuses_the_rest(
    version: str, missing: set[Ability]
) -> None:
    bench = Bench(version=version)
    told = {found.ability for found in (await bench.adapter.facts()).capabilities}
    assert WRITES & set(_all(bench.adapter)) - told == missing
    for ability in missing:
        with pytest.raises(Unsupported, match=f"does not have {ability}"):
            await _all(bench.adapter)[ability]()
    assert bench.posts() == []


@pytest.mark.parametrize(
    ("version", "loop", "span"), [("1.2.7", False, (2550, 3160)), ("1.3.4", None, (2550, 6000))]
)
async def test_a_watt_limit_says_whether_it_is_one(
    version: str, loop: bool | None, span: tuple[int, int]
) -> None:
    facts = await Bench(version=version).adapter.facts()
    (limit,) = [found for found in facts.capabilities if found.ability is Ability.POWER_LIMIT]
    assert (limit.closed_loop, (limit.low, limit.high)) == (loop, span)


def test_without_a_ladder_nothing_is_declared_that_needs_one() -> None:
    told = {
        found.ability
        for found in declared(firmware("Vnish", "1.3.4"), limits(None), (), immersed=None, trusted=True)
    }
    assert not told & {Ability.PRESET, Ability.PRESET_LIST, Ability.POWER_LIMIT}
    assert Ability.MINING in told


def test_without_its_limits_nothing_is_declared_whose_span_they_are() -> None:
    told = {found.ability for found in declared(NEW, None, LADDER_READ, immersed=False, trusted=True)}
    assert not told & {Ability.POWER_LIMIT, Ability.COOLING_TARGET, Ability.FAN_MODE}
    assert {Ability.MINING, Ability.PRESET} <= told


def test_a_machines_own_limits_come_before_the_profiles() -> None:
    own = Limits(target_low_c=30, target_high_c=70, duty_low_pct=25)
    told = {found.ability: found for found in declared(NEW, own, LADDER_READ, immersed=False, trusted=True)}
    target, fans = told[Ability.COOLING_TARGET], told[Ability.FAN_MODE]
    assert ((target.low, target.high), (fans.low, fans.high)) == ((30, 70), (25, 100))
    odd = Limits(target_low_c=90, target_high_c=20)
    told = {found.ability: found for found in declared(NEW, odd, LADDER_READ, immersed=False, trusted=True)}
    assert (told[Ability.COOLING_TARGET].low, told[Ability.COOLING_TARGET].high) == (20, 90)


@pytest.mark.parametrize("high_w", [None, 6000.0, 2000.0])
def test_a_limit_needs_a_tuned_rung_below_the_machines_highest(high_w: float | None) -> None:
    own = Limits(power_limit_high_w=high_w)
    for rungs in (LADDER_READ[-1:], LADDER_READ):
        told = {found.ability for found in declared(NEW, own, rungs, immersed=None, trusted=True)}
        tuned = len(rungs) > 1
        assert (Ability.POWER_LIMIT in told) == (tuned and high_w != 2000)
        assert Ability.PRESET in told


def test_the_profile_names_each_ability_once_per_version() -> None:
    for version in ("1.2.0", "1.2.7", "1.3.0", "1.3.4", "1.3.5"):
        named = [found.ability for found in capabilities(firmware("Vnish", version))]
        assert len(named) == len(set(named)), version
    logs = [found.choices for found in capabilities() if found.ability is Ability.LOGS]
    assert "hwscan" in logs[0]


# ---------------------------------------------------------------- a machine that cannot introduce itself


@pytest.mark.parametrize("reply", [HttpReply(500, b'{"err":"booting"}'), HttpReply(200, b"[]")])
async def test_a_stop_does_not_wait_for_an_introduction_and_a_start_does(reply: HttpReply) -> None:
    bench = Bench()
    bench.instead("/info", reply, method="GET")
    for write in (bench.adapter.start_mining, bench.adapter.resume_mining, bench.adapter.reboot):
        with pytest.raises((Busy, MalformedReply)):
            await write()
    assert bench.posts() == []
    await bench.adapter.stop_mining()
    assert bench.machine.commands == ["stop"]


async def test_a_stop_to_a_machine_that_is_gone_is_a_typed_failure() -> None:
    bench = Bench()
    bench.instead("/info", DeviceTimeout("gone"), method="GET")
    bench.instead("/unlock", DeviceTimeout("gone"))
    with pytest.raises(DeviceTimeout):
        await bench.adapter.stop_mining()


async def test_a_stop_does_not_wait_for_an_introduction_that_hangs() -> None:
    bench = Bench()
    bench.instead("/info", DeviceTimeout("hangs"), method="GET")
    with pytest.raises(DeviceTimeout):
        await bench.adapter.start_mining()
    await bench.adapter.stop_mining()
    assert bench.machine.commands == ["stop"]


# ---------------------------------------------------------------- the first firmwares


async def test_a_beta_tells_its_switcher_in_the_settings_and_its_ceiling_follows() -> None:
    switcher = Switcher(enabled=True, top_preset="3160")
    bench = Bench(version="1.2.0-rc5", switcher=switcher)
    await bench.adapter.set_preset("2550")
    (body,) = [body for path, body in bench.posts() if path == "/settings"]
    assert body == (
        b'{"miner":{"overclock":{"preset":"2550","preset_switcher":{"enabled":true,"top_preset":"2550"}}}}'
    )
    seen = await bench.adapter.read()
    assert (seen.preset, seen.preset_requested) == (None, "2550"), "no page of it tells what runs"


async def test_a_beta_with_broken_settings_still_takes_a_preset() -> None:
    bench = Bench(version="1.2.0-rc5", traps=Traps(settings_broken=True))
    await bench.adapter.set_preset("2550")
    assert bench.machine.seen.preset == "2550"
