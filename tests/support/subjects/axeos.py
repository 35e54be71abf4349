"""AxeOS in front of the contract suite: the adapter, real loopback sockets, the emulator."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from firmware_adapters.miners.axeos.adapter import AxeosAdapter
from firmware_adapters.miners.axeos.emulator import DEFAULT_MHZ, NERDQAXE, AxeosEmulator, Traps
from firmware_adapters.miners.emulated import FanView
from firmware_adapters.transport.http_client import HttpClient
from shared.capabilities import Ability
from shared.errors import Unsupported
from support.adapter_conditions import Conditions, Conflict, Heard, Never, WrongClock
from support.adapter_contract import Opening, Subject, Write, miner_conditions, wire_faults
from support.miners import Machine, board, on_loopback

ADDRESS = "127.7.4.1"
TIMEOUT_S = 0.6


def bitaxe() -> Machine:
    """A Bitaxe Gamma: one board with one chip, one fan, some watts."""
    machine = Machine()
    machine.set(
        hashrate_ths=1.07,
        hashrate_nominal_ths=1.071,
        hashrate_stock_ths=1.2,
        power_w=17.25,
        boards=(board(hashrate_ths=1.07, power_w=17.25, chip_temp_max_c=59.5, board_temp_max_c=63.0),),
        fans=(FanView(rpm=4200),),
        fan_duty_pct=55,
        presets=(),
        preset=None,
        psu=None,
        model="Bitaxe Gamma",
        hw_errors=19,
    )
    return machine


def _writes(adapter: AxeosAdapter, machine: Machine, emulator: AxeosEmulator) -> dict[str, Write]:
    return {
        "throttle": Write(
            ability=Ability.THROTTLE,
            do=lambda: adapter.set_throttle(85),
            done=lambda: emulator.frequency_mhz == 425 and machine.seen.throttle_pct < 85,
        ),
        "throttle taken back": Write(
            ability=Ability.THROTTLE,
            do=lambda: adapter.set_throttle(100),
            done=lambda: emulator.frequency_mhz == DEFAULT_MHZ and machine.seen.throttle_pct == 100,
        ),
        "fan by hand": Write(
            ability=Ability.FAN_MODE,
            do=lambda: adapter.set_fan_mode("manual", 70),
            done=lambda: machine.seen.cooling == "manual" and machine.seen.fan_duty_pct == 70,
        ),
        "fan by itself": Write(
            ability=Ability.FAN_MODE,
            do=lambda: adapter.set_fan_mode("auto"),
            done=lambda: machine.seen.cooling == "auto",
        ),
        "reboot": Write(
            ability=Ability.REBOOT, do=adapter.reboot, done=lambda: "reboot 1" in machine.commands
        ),
    }


def _conditions(
    adapter: AxeosAdapter,
    machine: Machine,
    emulator: AxeosEmulator,
    clock: WrongClock,
    trap: Callable[..., None],
    *,
    known: bool,
) -> Conditions:
    heard = Heard()
    return miner_conditions(
        machine,
        emulator,
        trap,
        clock=clock,
        lost_login=Never("the API of AxeOS knows no login: whoever reaches it may do all"),
        conflict=Conflict(
            begin=lambda: trap(writes_fail=True),
            do=lambda: adapter.set_fan_mode("auto"),
            told=lambda: heard.count("PATCH"),
            changed=lambda: (list(machine.commands), emulator.frequency_mhz, machine.seen.cooling),
        )
        if known
        else Never("nothing is written to a version that nobody has seen"),
        heard=heard,
    )


def _subject(
    adapter: AxeosAdapter,
    machine: Machine,
    emulator: AxeosEmulator,
    base: Traps,
    clock: WrongClock,
    *,
    known: bool,
) -> Subject:
    def trap(**changes: object) -> None:
        kept = {name: getattr(base, name) for name in base.__struct_fields__}
        emulator.traps = Traps(**{**kept, **changes})

    def heal() -> None:
        trap()
        machine.set(reachable=True)

    def hide() -> set[str]:
        trap(sensors_absent=True)
        return {"chip_temp_max_c", "board_temp_max_c"}

    def truth() -> dict[str, float]:
        seen = machine.seen
        return {
            "hashrate_ths": seen.hashrate_ths,
            "hashrate_nominal_ths": seen.hashrate_nominal_ths,
            "power_w": seen.power_w,
            "chip_temp_max_c": 59.5,
            "board_temp_max_c": 63.0,
            "fan_rpm.0": seen.fans[0].rpm,
            "fan_duty_pct": seen.fan_duty_pct,
            "shares_accepted": seen.shares_accepted,
            "hw_errors": 19.0,
            "uptime_s": seen.uptime_s,
        }

    writes = _writes(adapter, machine, emulator) if known else {}
    if base.no_asic_page:
        writes = {name: write for name, write in writes.items() if write.ability is not Ability.THROTTLE}
    return Subject(
        adapter=adapter,
        timeout_s=TIMEOUT_S,
        heal=heal,
        truth=truth,
        hide=hide,
        faults={
            **wire_faults(machine, trap),
            "too many requests": lambda: trap(too_many=True),
        },
        nuisances={"slow": lambda: trap(slow_s=0.05)},
        writes=writes,
        refusals={
            "throttle below the lowest step": (lambda: adapter.set_throttle(10), Unsupported),
            "more than all": (lambda: adapter.set_throttle(120), Unsupported),
            "no such fan mode": (lambda: adapter.set_fan_mode("immersion"), Unsupported),
            "no duty": (lambda: adapter.set_fan_mode("manual"), Unsupported),
            "a duty of nothing": (lambda: adapter.set_fan_mode("manual", 101), Unsupported),
        },
        commands=lambda: machine.commands,
        conditions=_conditions(adapter, machine, emulator, clock, trap, known=known),
        tamper=(lambda: trap(settings_ignored=True)) if writes else None,
    )


@asynccontextmanager
async def _open(
    version: str, base: Traps, *, known: bool = True, model: str = "Gamma"
) -> AsyncIterator[Subject]:
    machine = bitaxe()
    clock = WrongClock()
    emulator = AxeosEmulator(machine, clock=clock, version=version, traps=base, model=model)
    async with on_loopback({ADDRESS: emulator}) as (port, _):
        adapter = AxeosAdapter(HttpClient(ADDRESS, port, timeout_s=TIMEOUT_S), timeout_s=TIMEOUT_S)
        yield _subject(adapter, machine, emulator, base, clock, known=known)
        emulator.traps = Traps()
        await adapter.close()


SUBJECTS: dict[str, Opening] = {
    "axeos": partial(_open, "v2.9.0", Traps()),
    "axeos that lists no frequencies": partial(_open, "v2.1.8", Traps(no_asic_page=True)),
    "axeos of tomorrow": partial(_open, "v7.0.0", Traps(), known=False),
    "axeos on a NerdQAxe++": partial(_open, "v1.0.35", Traps(), known=False, model=NERDQAXE),
}
