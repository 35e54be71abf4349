"""`minewarden guardian`: run it, its keys and journal; the operator's tools stand in `operators`."""

import argparse
import asyncio
import getpass
import logging
import os
import sys
from pathlib import Path

from edge_agent import config
from edge_agent.guardian.app import run
from edge_agent.guardian.operators import cli as operator_cli
from edge_agent.guardian.storage import journal, last_good
from edge_agent.guardian.storage.credentials import CredentialStore, new_key, read_key
from firmware_adapters.capabilities import Credential
from shared.errors import MinewardenError


def main(args: list[str]) -> int:
    """Exit code: 0 done, 1 refused or not reachable, 2 wrong use or an unusable site file."""
    options = _parser().parse_args(args)
    try:
        if options.do is _run:
            return int(_run(options))
        return int(options.do(_site(options.site), options))
    except MinewardenError as error:
        print(error, file=sys.stderr)
        return 2 if error.code == "config" else 1


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--site", type=Path, required=True, metavar="FILE", help="the site file")
    parser = argparse.ArgumentParser(prog="minewarden guardian", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("run", parents=[common], help="run until told to stop")
    command.add_argument("--verbose", action="store_true", help="log every detail")
    command.set_defaults(do=_run)

    operator_cli.add(commands, common)

    command = commands.add_parser("verify-journal", parents=[common], help="check the journal's hash chain")
    command.set_defaults(do=_verify)

    credential = commands.add_parser("credential", help="the encrypted store of device credentials")
    actions = credential.add_subparsers(required=True, metavar="ACTION")
    command = actions.add_parser("set", parents=[common], help="store one; the secret is read from stdin")
    command.add_argument("name")
    command.add_argument("--user")
    command.set_defaults(do=_credential_set)
    command = actions.add_parser("list", parents=[common], help="names only")
    command.set_defaults(do=_credential_list)
    return parser


def _site(path: Path) -> config.SiteFile:
    """The site file, or the guardian's last good copy of it: the tools must work when it runs on that."""
    folder = _state_folder()
    loaded = last_good.load(path, folder)
    if loaded.bad is not None:
        print(f"{loaded.bad}\nusing the last good copy", file=sys.stderr)
    return loaded.site


def _state_folder() -> Path | None:
    """Where systemd keeps the guardian's state; None where we were not started by it."""
    folder = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    return Path(folder) if folder else None


def _run(options: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    asyncio.run(run(options.site, folder=_state_folder()))
    return 0


def _verify(site: config.SiteFile, _: argparse.Namespace) -> int:
    good, broken = journal.verify(Path(site.paths.guardian_state) / "journal")
    for place in broken:
        print(f"{place.where}: {place.why}", file=sys.stderr)
    print(f"{good} entries hold, {len(broken)} do not")
    return 1 if broken else 0


def _store(site: config.SiteFile) -> CredentialStore:
    return CredentialStore(Path(site.paths.guardian_state), read_key(Path(site.paths.credentials_key)))


def _credential_set(site: config.SiteFile, options: argparse.Namespace) -> int:
    key = Path(site.paths.credentials_key)
    if not key.exists():
        new_key(key)
        print(f"made a master key: {key}")
    if sys.stdin.isatty():
        secret = getpass.getpass(f"secret of {options.name}: ")
    else:
        secret = sys.stdin.readline().rstrip("\n")
    if not secret:
        print("no secret on stdin", file=sys.stderr)
        return 2
    _store(site).set(options.name, Credential(user=options.user, secret=secret))
    print(f"stored {options.name}")
    return 0


def _credential_list(site: config.SiteFile, _: argparse.Namespace) -> int:
    for name, credential in sorted(_store(site).all().items()):
        print(name if credential.user is None else f"{name} (user {credential.user})")
    return 0
