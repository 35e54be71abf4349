"""`minewarden guardian`: run it, its keys and journal; the operator's tools stand in `operators`."""

import argparse
import asyncio
import getpass
import logging
import os
import sys
import tomllib
from pathlib import Path

from edge_agent import config
from edge_agent.guardian.app import run
from edge_agent.guardian.operators import cli as operator_cli
from edge_agent.guardian.storage import journal, last_good
from edge_agent.guardian.storage.credentials import CredentialStore, new_key, read_key
from firmware_adapters.capabilities import Credential
from shared.errors import ConfigError, MinewardenError

DEFAULT_SITE = Path("/etc/minewarden/site.toml")
DEFAULT_SOCKET = Path("/run/minewarden/operator.sock")


def main(args: list[str]) -> int:
    """Exit code: 0 done, 1 refused or not reachable, 2 wrong use or an unusable site file."""
    options = _parser().parse_args(args)
    try:
        if options.do is _run:
            return int(_run(options))
        if options.do.__module__ == operator_cli.__name__:
            return int(options.do(operators_socket(options), options))
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

    persons = argparse.ArgumentParser(add_help=False)
    persons.add_argument(
        "--site", type=Path, default=DEFAULT_SITE, metavar="FILE", help=f"the site file ({DEFAULT_SITE})"
    )
    persons.add_argument(
        "--socket", type=Path, metavar="PATH", help="the guardian's socket for persons, instead of --site"
    )
    operator_cli.add(commands, persons)

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


def operators_socket(options: argparse.Namespace) -> Path:
    """Where the guardian listens to persons: never a question of whether the site file is in order.

    A file that was just edited badly, or that this person may not read, must not keep anybody from a
    safe-stop while the guardian runs on.
    """
    if options.socket is not None:
        return Path(options.socket)
    try:
        return Path(config.load(options.site).paths.operator_socket)
    except ConfigError as error:
        found = _named_socket(options.site) or DEFAULT_SOCKET
        print(f"{str(error).splitlines()[0]}\nasking the guardian at {found} all the same", file=sys.stderr)
        return found


def _named_socket(site: Path) -> Path | None:
    """The socket that a site file names, whatever else is wrong with it."""
    try:
        named = tomllib.loads(site.read_text())["paths"]["operator_socket"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (site.parent / named).resolve() if isinstance(named, str) else None


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
