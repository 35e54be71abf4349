"""The proof of "nothing lost": real broker, PostgreSQL, cloud and agent, and everything that goes wrong.

    python -P -m support.chaos_run --duration 3600 --seed 7 --report soak-sync.json

A guardian made of a seed produces numbered samples; they go through the real agent, a relay, a real
mosquitto and the real cloud into a real PostgreSQL, while faults fall from a seeded bag. At the end every
row that the samples make (`shared.features.rollup`) is compared with the database, number by number:
made - committed - explained = 0. `--duration` counts site time; the site runs `--speed` times as fast as
the wall clock, while every time-out of the product runs at its own pace, so faults hit harder than on site.

For comparison: a well-known gateway lost 13 samples per device in its default configuration and 1 with its
SQLite store when it was killed in a 15 s outage (edge.md §3; measured there, not here).
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from shared.clock import SystemClock
from support import cloud_broker, postgres
from support.agent import SITE, STEP_S
from support.chaos_check import Made, Stored, Verdict, compare, made, stored
from support.chaos_faults import ALL
from support.chaos_site import POLL_MS
from support.chaos_world import World, database

SETTLE_S = 180.0
"""Wall time that everything has to arrive in once the faults are over."""
SPEED = 6.0
SHOWN = 12


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos_run", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--duration", type=float, default=3600.0, help="seconds of site time")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--speed", type=float, default=SPEED, help="site seconds per second")
    parser.add_argument("--only", action="append", choices=sorted(ALL), help="only these faults")
    parser.add_argument("--calm", action="store_true", help="no link flaps and no duplicates in between")
    parser.add_argument("--sqlite", action="store_true", help="SQLite in place of PostgreSQL")
    parser.add_argument("--keep", type=Path, help="leave logs and stores in this folder")
    return parser.parse_args(argv)


def say(text: str) -> None:
    print(text, flush=True)


async def play(world: World, *, duration_s: float, names: Sequence[str], calm: bool) -> None:
    """Fault after fault until the site time is over; then heal everything."""
    background = (
        [] if calm else [asyncio.create_task(world.deliver_twice()), asyncio.create_task(world.flap())]
    )
    bag: list[str] = []
    try:
        await world.agent_is_back()
        while world.guardian.site_s < duration_s:
            if not bag:
                bag = list(names)
                world.chance.shuffle(bag)
            name = bag.pop()
            _progress(world, duration_s, name)
            await ALL[name](world)
            await world.pause(world.chance.uniform(5, 15))
            for task in background:
                if task.done():
                    task.result()
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
    world.link.down = world.link.silent = False


def _progress(world: World, duration_s: float, name: str) -> None:
    story, faults = world.guardian.story, sum(world.faults.values())
    where = f"{world.guardian.site_s:6.0f} of {duration_s:.0f} s"
    say(f"{where}  {faults:5d} faults  {story.sweeps * len(story.devices):7d} samples  {name}")


async def settle(world: World) -> tuple[Made, Stored]:
    """The site stops, what is under way arrives; gives up after `SETTLE_S` or when the outbox is empty."""
    await world.guardian.pause()
    want = made(world.guardian.story, step_s=STEP_S, poll_s=POLL_MS / 1000)
    clock, began_s, empty = SystemClock(), SystemClock().monotonic(), 0
    while True:
        have = await stored(world.database_url, SITE)
        keys = Counter((row.device, row.at_ms) for row in (*have.rows, *have.apart))
        missing = sum(max(0, len(lives) - keys[key]) for key, lives in want.rows.items())
        missing += len(set(world.guardian.events) - set(have.events))
        pending = await asyncio.to_thread(world.pending)
        say(f"settling: {missing} rows and events of {want.count} rows missing, {pending} batches wait")
        empty = empty + 1 if pending == 0 else 0
        if not missing or empty > 3 or clock.monotonic() - began_s > SETTLE_S:
            return want, have
        await asyncio.sleep(2.0)


def report(verdict: Verdict, world: World) -> dict[str, object]:
    """The report's fields, and no others.

    `rows_apart` are rows of a time that the site lived twice, kept beside the first. `explained_by_tombstone`
    is the name of old for rows whose samples the agent told as lost (its `samples-lost` events, after a long
    absence): a tombstone of the outbox explains nothing here, and what only it names counts as lost.
    """
    return {
        "rows_made": verdict.rows_made,
        "rows_committed": verdict.rows_committed,
        "rows_apart": verdict.rows_apart,
        "lost": verdict.lost,
        "duplicated": verdict.duplicated,
        "explained_by_tombstone": verdict.explained_by_tombstone,
        "faults": dict(sorted(world.faults.items())),
    }


async def run(wanted: argparse.Namespace, folder: Path) -> int:
    async with database(sqlite=wanted.sqlite) as url:
        world = World(folder, seed=wanted.seed, speed=wanted.speed, database_url=url)
        async with world.running():
            await play(world, duration_s=wanted.duration, names=wanted.only or sorted(ALL), calm=wanted.calm)
            want, have = await settle(world)
    verdict = compare(want, have, world.guardian.events, world.guardian.absences)
    text = report(verdict, world)
    wanted.report.write_text(json.dumps(text, indent=2) + "\n")
    for example in verdict.examples[:SHOWN]:
        say(f"WRONG {example}")
    if never := sorted(set(wanted.only or ALL) - set(world.faults)):
        say(f"not reached in this time: {', '.join(never)}")
    for event in verdict.events_lost[:SHOWN]:
        say(f"WRONG journal entry {event} is not in the database")
    longest_s = max((a.to_s - a.from_s for a in world.guardian.absences if a.to_s is not None), default=0.0)
    say(
        f"{verdict.rows_made} rows made, {verdict.rows_committed} committed "
        f"({verdict.rows_apart} of them lived twice and kept apart), {verdict.lost} lost, "
        f"{verdict.duplicated} twice, {verdict.explained_by_tombstone} explained; "
        f"{len(world.guardian.events)} journal entries, {len(verdict.events_lost)} lost; "
        f"{sum(world.faults.values())} faults, {have.duplicate_batches} batches came again, "
        f"{world.agent.starts} lives of the agent, longest absence {longest_s:.0f} s; "
        f"report in {wanted.report}"
    )
    return 0 if verdict.good else 1


def main(argv: Sequence[str]) -> int:
    """Play, compare, report. Exit code 0 where nothing was lost, 1 where something was, 2 for wrong use."""
    wanted = arguments(argv)
    missing = cloud_broker.why_not() or (None if wanted.sqlite else postgres.why_not())
    if missing is not None:
        print(f"chaos_run: {missing}; --sqlite runs without PostgreSQL", file=sys.stderr)
        return 2
    if wanted.sqlite:
        say("SQLite in place of PostgreSQL: asked for with --sqlite")
    folder = wanted.keep or Path(tempfile.mkdtemp(prefix="minewarden-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return asyncio.run(run(wanted, folder))
    finally:
        if wanted.keep is None:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
