"""What a chaos run does to a site, one fault after the other. Each returns when its fault is over.

A fault is counted where it really happened: a process that was armed to kill itself at a step, and did.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from support import chaos_agent, chaos_cloud
from support.agent import STEP_S
from support.chaos_board import Switch
from support.chaos_world import KEEP_ALIVE_S, World, keep, put_back

Fault = Callable[[World], Awaitable[None]]
_ARMED_S = 40.0
_RESTORE_WITHIN_S = 90.0
"""A copy older than this is not put back: the guardian's ring would not reach over it."""
_HOUR_MS = 3_600_000
_STEP_MS, _AGAIN_MS = STEP_S * 1000, 60_000
"""So much of what was lived before comes once more, after a clock that was wrong."""


async def broker_kill(world: World) -> None:
    """Everything that it acknowledged and did not deliver is gone."""
    world.broker.kill()
    world.faults["broker-kill"] += 1
    await world.pause(world.chance.uniform(1, 20))
    world.broker.start()


async def agent_kill(world: World) -> None:
    """At an instant that only chance chooses."""
    world.agent.kill()
    world.faults["agent-kill"] += 1
    await world.pause(world.chance.uniform(0, 5))
    world.agent.start()
    await world.agent_is_back()


def agent_dies_at(point: str) -> Fault:
    """At one step of record, publish, ack, delete."""

    async def fault(world: World) -> None:
        await world.restart_agent(f"{point}:{world.chance.randint(1, 4)}")
        world.faults["agent-kill"] += 1
        if await world.agent.died(_ARMED_S):
            world.faults[f"agent-kill {point}"] += 1
            world.agent.start()
        await world.agent_is_back()

    return fault


async def cloud_kill(world: World) -> None:
    """At an instant that only chance chooses."""
    world.cloud.kill()
    world.faults["cloud-kill"] += 1
    await world.pause(world.chance.uniform(0, 10))
    await world.start_cloud()


def cloud_dies_at(point: str) -> Fault:
    """Between its commit and one of its acknowledgements."""

    async def fault(world: World) -> None:
        world.cloud.kill()
        world.cloud.start(f"{point}:{world.chance.randint(1, 6)}")
        if await world.cloud.died(_ARMED_S):
            world.faults[f"cloud-kill {point}"] += 1
        world.cloud.kill()
        await world.start_cloud()

    return fault


async def black_hole(world: World) -> None:
    """Nothing arrives and nothing is refused, for longer than a dead link takes to be noticed."""
    world.link.silent = True
    world.faults["black-hole"] += 1
    await world.pause(1.6 * KEEP_ALIVE_S * world.speed)
    world.link.silent = False
    world.link.cut()


async def slow_fsync(world: World) -> None:
    world.board.set(Switch.SLOW_COMMIT_MS, world.chance.randint(50, 500))
    world.faults["slow-fsync"] += 1
    await world.pause(world.chance.uniform(15, 30))
    world.board.set(Switch.SLOW_COMMIT_MS, 0)


async def disk_full(world: World) -> None:
    world.board.set(Switch.DISK_FULL, 1)
    world.faults["disk-full"] += 1
    await world.pause(world.chance.uniform(10, 30))
    world.board.set(Switch.DISK_FULL, 0)


async def clock_step(world: World) -> None:
    """Hours forward or back for a while, then right again, or a little behind that: it is lived twice."""
    world.jumps += 1
    by_ms = world.chance.choice((1, -1)) * (world.jumps % 6 + 1) * _HOUR_MS + world.jumps * 1_200_000
    world.step_clock(by_ms)
    world.faults["clock-step"] += 1
    await world.pause(world.chance.uniform(20, 40))
    world.step_clock(-by_ms - world.chance.randint(_STEP_MS, _AGAIN_MS))
    world.faults["clock-step"] += 1


async def restored_store(world: World) -> None:
    """Somebody puts back yesterday's copy; here it is as old as the guardian's ring can bridge."""
    folder, copy = world.folder / "agent", Path(world.folder / "copy")
    world.agent.kill()
    taken_s = world.guardian.site_s
    keep(folder, copy)
    world.agent.start()
    await world.agent_is_back()
    await world.pause(world.chance.uniform(5, 30))
    world.agent.kill()
    if world.guardian.site_s - taken_s < _RESTORE_WITHIN_S:
        put_back(folder, copy)
        world.faults["restored-store"] += 1
    world.agent.start()
    await world.agent_is_back()


ALL: dict[str, Fault] = {
    "broker-kill": broker_kill,
    "agent-kill": agent_kill,
    **{f"agent-kill {point}": agent_dies_at(point) for point in chaos_agent.POINTS},
    "cloud-kill": cloud_kill,
    **{f"cloud-kill {point}": cloud_dies_at(point) for point in chaos_cloud.POINTS},
    "black-hole": black_hole,
    "slow-fsync": slow_fsync,
    "disk-full": disk_full,
    "clock-step": clock_step,
    "restored-store": restored_store,
}
"""By name; `link-flap` and `duplicate-delivery` go on in the background all the time."""
