"""`minewarden cloud quarantine`: look at messages that could not be used, and use them after all."""

import argparse
import datetime
import sys
from pathlib import Path

from cloud.config import CloudConfig
from cloud.ingest import quarantine
from cloud.ingest.committer import Committer
from cloud.ingest.replay import replay
from cloud.kit.database import Database
from cloud.tables import QuarantineRow, QuarantineSiteRow
from cloud.timeseries.choose import open_store
from shared.clock import Clock
from shared.errors import MinewardenError

HEAD_BYTES = 512
MB = 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The words after `minewarden cloud quarantine`."""
    parser.add_argument("action", choices=["list", "show", "replay"])
    parser.add_argument("numbers", nargs="*", type=int, metavar="NUMBER", help="of messages, from the list")
    parser.add_argument("--all", action="store_true", help="replay everything that is kept whole")
    parser.add_argument("--limit", type=int, default=50, help="how many the list shows (default 50)")
    parser.add_argument("--config", type=Path, required=True, help="the cloud's TOML file")


async def run(given: argparse.Namespace, config: CloudConfig, database: Database, clock: Clock) -> int:
    """Do it; the exit code: 0 well, 1 something is still not usable, 2 wrong use."""
    if given.action != "list" and not given.numbers and not given.all:
        sys.stderr.write(f"minewarden cloud quarantine {given.action}: name the messages by their numbers\n")
        return 2
    if given.action == "list":
        async with database.read() as session:
            rows = await quarantine.newest(session, given.limit)
            books = await quarantine.books(session)
        sys.stdout.writelines(f"{_line(row)}\n" for row in rows)
        sys.stdout.writelines(f"{line}\n" for line in _held(books))
        return 0
    if given.action == "show":
        return await _show(database, given.numbers)
    return await _replay(database, clock, given.numbers or await _whole(database))


def _line(row: QuarantineRow) -> str:
    size = f"{row.count:>4} x  {row.size:>8} B"
    return f"{row.id:>6}  {_time(row.last_ms)}  {size}  {row.topic}  {row.reason}"


def _held(books: list[QuarantineSiteRow]) -> list[str]:
    """How much is kept because sites were told to forget it, in all and of each site."""
    messages = sum(row.held for row in books)
    total = sum(row.held_bytes for row in books)
    lines = [f"held for sites: {messages} messages, {_of(total, quarantine.ALL_BYTES)}"]
    for row in books:
        line = f"  {row.site}: {row.held} messages, {_of(row.held_bytes, quarantine.SITE_BYTES)}"
        if row.full_since_ms is not None:
            line += f"; FULL since {_time(row.full_since_ms)}, more of it stays on site"
        if row.turned_away:
            line += f"; {row.turned_away} deliveries turned away"
        if row.expired_ms is not None:
            line += f"; {row.expired} lost by age, the last at {_time(row.expired_ms)}"
        lines.append(line)
    return lines


def _of(held: int, budget: int) -> str:
    return f"{held / MB:.1f} of {budget / MB:.0f} MB"


def _time(at_ms: int) -> str:
    return f"{datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC):%Y-%m-%d %H:%M:%S}Z"


async def _show(database: Database, numbers: list[int]) -> int:
    code = 0
    for number in numbers:
        async with database.read() as session:
            row = await quarantine.one(session, number)
        if row is None:
            sys.stderr.write(f"minewarden cloud quarantine: there is no message {number}\n")
            code = 1
            continue
        kept = "whole" if row.size == len(row.payload) else f"first {len(row.payload)} bytes"
        owed = "the site has forgotten it" if row.owed else "the site was told nothing"
        sys.stdout.write(f"{_line(row)}\nkept: {kept}; {owed}\n{row.payload[:HEAD_BYTES].hex(' ')}\n")
    return code


async def _whole(database: Database) -> list[int]:
    async with database.read() as session:
        return await quarantine.whole(session)


async def _replay(database: Database, clock: Clock, numbers: list[int]) -> int:
    committer = Committer(database, await open_store(database), clock)
    code = 0
    for number in numbers:
        try:
            done = await replay(database, committer, clock, number)
        except MinewardenError as error:
            sys.stderr.write(f"{number}: {error}\n")
            code = 1
        else:
            what = "was there already" if done.duplicates else f"used, {done.new_rows} new rows"
            sys.stdout.write(f"{number}: {what}\n")
    return code
