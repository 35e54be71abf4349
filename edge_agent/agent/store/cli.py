"""`minewarden store`: look into a gateway's store, take data out of it, look after the file.

Whatever looks opens the file read-only, so that a person at the container cannot damage what the cloud has
not got yet. Only `vacuum` writes, and only while no agent has the store open.
"""

import argparse
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sqlite_utils import Database

from edge_agent import config
from edge_agent.agent.store import cli_care, cli_export, cli_inspect
from edge_agent.agent.store.opening import FILE_NAME
from shared.clock import SystemClock
from shared.errors import ConfigError, MinewardenError, StoreError

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_ABOUT: Final = {
    "inspect": "what was recorded, what waits for the cloud and since when, how large it is",
    "info": "the same as inspect",
    "tables": "tables with columns and row counts",
    "integrity": "check the whole file and every batch in it; exit 1 if something is damaged",
    "export": "roll-ups or raw samples as CSV or Parquet",
    "vacuum": "make the file as small as its contents; the agent must be stopped",
    "salvage": "copy what still opens of a damaged store into a folder",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code (1 = damaged or refused, 2 = wrong use)."""
    try:
        return _run(_parser().parse_args(argv))
    except BrokenPipeError:
        # Whoever reads has read enough (`| head`); Python would complain of it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except sqlite3.DatabaseError as error:
        damaged = (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGED
        advice = ": the store is damaged; start the agent anew, it sets the file aside and saves what opens"
        print(f"minewarden store: {error}{advice if damaged else ''}", file=sys.stderr)
        return 1
    except (MinewardenError, sqlite3.Error, OSError) as error:
        print(f"minewarden store: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1


def _run(args: argparse.Namespace) -> int:
    if args.command == "salvage":
        return cli_care.salvage_into(Path(args.file), Path(args.into), SystemClock())
    state = Path(args.state) if args.state else Path(config.load(Path(args.site)).paths.agent_state)
    if args.command == "vacuum":
        return cli_care.vacuum(state)
    if args.command == "export":
        return cli_export.export(state, args)
    with open_read_only(state / FILE_NAME) as database:
        return _LOOKS[args.command](database, state)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="minewarden store")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about in _ABOUT.items():
        command = commands.add_parser(name, help=about, description=about)
        if name == "salvage":
            command.add_argument("file", help="the damaged file, such as agent.sqlite.corrupt.1780000000000")
            command.add_argument(
                "--into", required=True, help="a folder without a store; it is made if missing"
            )
            continue
        where = command.add_mutually_exclusive_group(required=True)
        where.add_argument("--site", help="the site file")
        where.add_argument("--state", help="the agent's state folder")
        if name == "export":
            cli_export.arguments(command)
    return parser


def open_read_only(path: Path) -> Database:
    """The store's file, which may be in use; raises `StoreError` where there is none."""
    if not path.is_file():
        raise StoreError(f"{path}: there is no store here")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    return Database(connection, recursive_triggers=False, execute_plugins=False)


def _inspect(database: Database, state: Path) -> int:
    return cli_inspect.inspect(database, state, SystemClock().utc_ms())


_LOOKS: Final[dict[str, Callable[[Database, Path], int]]] = {
    "inspect": _inspect,
    "info": _inspect,
    "tables": cli_inspect.tables,
    "integrity": cli_inspect.integrity,
}
