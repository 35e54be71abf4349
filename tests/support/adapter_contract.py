"""What the adapter contract suite needs to know of one device; the suite itself knows no vendor.

Each adapter has a module in `support/subjects/` with `SUBJECTS`: a name for each flavour, and how to open it.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from firmware_adapters.capabilities import MiningControl, Telemetry
from firmware_adapters.miners.emulator_wire import Emulator
from shared.capabilities import Ability
from shared.errors import DeviceError
from shared.telemetry import MinerState
from support.adapter_conditions import (
    Conditions,
    Conflict,
    Heard,
    LostLogin,
    Never,
    Overload,
    Reboot,
    Skew,
    Slow,
    WrongClock,
)
from support.miners import Machine


@dataclass(kw_only=True)
class Write:
    """One command: what it uses, how it is given, and whether the device has done it."""

    ability: Ability
    do: Callable[[], Awaitable[object]]
    done: Callable[[], bool]


@dataclass(kw_only=True)
class Subject:
    """What the suite needs to know of one device. All callables act on the emulated side."""

    adapter: Telemetry
    timeout_s: float
    heal: Callable[[], None]
    """End every fault."""
    truth: Callable[[], dict[str, float]]
    """Points as the device knows them, in our units."""
    hide: Callable[[], set[str]]
    """Make the device keep quiet about some points; which."""
    faults: dict[str, Callable[[], None]]
    """Ways in which no read can succeed; at least those in `FAULTS`."""
    writes: dict[str, Write]
    """Writes in an order that works, at least one per declared ability that changes something."""
    nuisances: dict[str, Callable[[], None]] = field(default_factory=dict)
    """Things that happen to a device in mid-run and that a read survives (a lost session, a slow reply)."""
    refusals: dict[str, tuple[Callable[[], Awaitable[object]], type[DeviceError]]] = field(
        default_factory=dict
    )
    """Writes that must fail and change nothing."""
    commands: Callable[[], list[str]]
    """What the device was really told to do."""
    conditions: Conditions
    """What it is brought into by `test_conditions.py`."""
    tamper: Callable[[], None] | None = None
    """Make the device accept writes and ignore them; the first of `writes` is tried then."""
    facts_from_file: bool = False
    """What it can do stands in its profile and is known though it does not answer: a silent drive may still
    be told to run."""


FAULTS = ("gone", "hang", "half a reply", "garbage")
"""Every device can do these."""


def wire_faults(machine: Machine, misbehave: Callable[..., object]) -> dict[str, Callable[[], None]]:
    """`FAULTS` of an emulated miner and a flood; `misbehave` takes the fields of its `WireTraps`."""

    def begin(**trap: bool) -> Callable[[], None]:
        def do() -> None:
            misbehave(**trap)

        return do

    return {
        "gone": lambda: machine.set(reachable=False),
        "hang": begin(hang=True),
        "half a reply": begin(half_reply=True),
        "garbage": begin(garbage=True),
        "ten megabytes of nesting": begin(flood=True),
    }


UP_S = 60.0
"""A machine that rebooted is found so long after."""


def miner_conditions(
    machine: Machine,
    emulator: Emulator,
    misbehave: Callable[..., None],
    *,
    clock: WrongClock,
    lost_login: LostLogin | Never,
    conflict: Conflict | Never,
    heard: Heard,
    forget: Callable[[], None] = lambda: None,
    silent_writes: bool = False,
) -> Conditions:
    """Those of an emulated miner; `misbehave` takes the fields of its `WireTraps`, `clock` is the emulator's.

    `forget` ends its logins, as a reboot does.
    """
    emulator.access_log = heard.take

    def back() -> None:
        forget()
        machine.set(
            state=MinerState.MINING,
            state_time_s=5.0,
            uptime_s=UP_S,
            power_w=machine.seen.power_w / 2,
            shares_accepted=1,
            shares_stale=0,
        )

    def away() -> None:
        misbehave()
        machine.set(reachable=False)

    return Conditions(
        slow=Slow(begin=lambda: misbehave(slow_s=0.01, in_pieces=True)),
        lost_login=lost_login,
        overload=Overload(
            begin=lambda: misbehave(overloaded=True), requests=heard.requests, silent_writes=silent_writes
        ),
        conflict=conflict,
        reboot=Reboot(cut=lambda: misbehave(half_reply=True), away=away, back=back),
        skew=Skew(begin=clock.set_ahead),
    )


def mining_writes(
    adapter: MiningControl, machine: Machine, *, stop: str = "stop", start: str = "start"
) -> dict[str, Write]:
    """Stop, then start."""
    return {
        stop: Write(
            ability=Ability.MINING,
            do=adapter.stop_mining,
            done=lambda: machine.seen.state is MinerState.STOPPED,
        ),
        start: Write(
            ability=Ability.MINING,
            do=adapter.start_mining,
            done=lambda: machine.seen.state is MinerState.MINING,
        ),
    }


Opening = Callable[[], AbstractAsyncContextManager[Subject]]
