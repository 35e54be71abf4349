"""`minewarden cloud`: run the service, migrate its database, print its API's description.

Exit codes: 0 well, 1 the database or the port cannot be used, 2 the configuration is wrong.
"""

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from cloud import app, config
from cloud.identity import cli as identity
from cloud.ingest import cli as ingest_cli
from cloud.ingest import worker
from cloud.migrations import runner
from shared.clock import SystemClock
from shared.errors import ConfigError, MinewardenError


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(
        level=(logging.WARNING, logging.INFO, logging.DEBUG)[min(given.verbose, 2)],
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for name in ("cloud", "mosquitto"):  # the latter is the broker's own log (cloud/identity/broker_log.py)
        logging.getLogger(name).setLevel(logging.DEBUG if given.verbose > 1 else logging.INFO)
    try:
        return _run(given)
    except ConfigError as error:
        return _complain(error, 2)
    except (MinewardenError, SQLAlchemyError, OSError) as error:
        return _complain(error, 1)


def _complain(error: Exception, code: int) -> int:
    sys.stderr.write(f"minewarden cloud: {error}\n")
    return code


def _run(given: argparse.Namespace) -> int:
    if given.what == "openapi":
        text = json.dumps(app.make_app().openapi(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        if given.out is None:
            sys.stdout.write(text)
        else:
            given.out.write_text(text)
        return 0
    if identity.is_ours(given):
        return identity.run(given, app.open_database)
    settings = config.load(given.config)
    if given.what in ("ingest", "quarantine"):
        return asyncio.run(_with_database(given, settings))
    if given.what == "run":
        asyncio.run(app.serve(settings, SystemClock()))
        return 0
    return asyncio.run(_migrate(settings, given.direction, given.revision))


async def _with_database(given: argparse.Namespace, settings: config.CloudConfig) -> int:
    database = app.open_database(settings)
    try:
        if given.what == "quarantine":
            return await ingest_cli.run(given, settings, database, SystemClock())
        await worker.serve(settings, database, SystemClock(), given.worker)
    finally:
        await database.close()
    return 0


async def _migrate(settings: config.CloudConfig, direction: str, revision: str | None) -> int:
    database = app.open_database(settings)
    try:
        if direction == "up":
            await runner.upgrade(database, revision or "head")
        elif direction == "down":
            await runner.downgrade(database, revision or "base")
        else:
            differences = await runner.check(database)
            for difference in differences:
                sys.stdout.write(difference + "\n")
            return 1 if differences else 0
    finally:
        await database.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="minewarden cloud", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("-v", "--verbose", action="count", default=0, help="say more; twice: everything")
    commands = parser.add_subparsers(dest="what", required=True)
    run = commands.add_parser("run", help="run the service until it is stopped")
    run.add_argument("--config", type=Path, required=True, help="the cloud's TOML file")
    ingest = commands.add_parser("ingest", help="take telemetry off the broker beside `run` (ingest_workers)")
    ingest.add_argument("--config", type=Path, required=True, help="the cloud's TOML file")
    ingest.add_argument("--worker", type=int, default=2, help="which one, 2 to ingest_workers (default 2)")
    ingest_cli.add_arguments(
        commands.add_parser("quarantine", help="messages that could not be used: list, show, replay")
    )
    migrate = commands.add_parser("migrate", help="change the database's tables to another version's")
    migrate.add_argument("direction", choices=["up", "down", "check"])
    migrate.add_argument("--config", type=Path, required=True, help="the cloud's TOML file")
    migrate.add_argument("--revision", help="up to or down to this one (default: head, base)")
    identity.add_parsers(commands)
    describe = commands.add_parser("openapi", help="print the OpenAPI description")
    describe.add_argument("--out", type=Path, help="write to this file")
    return parser
