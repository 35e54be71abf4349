"""`minewarden guardian`: run it, look at it, and the operator's tools on site."""

import argparse
import asyncio
import getpass
import logging
import sys
from pathlib import Path

from edge_agent import config
from edge_agent.guardian import journal
from edge_agent.guardian.app import run
from edge_agent.guardian.credentials import CredentialStore, new_key, read_key
from edge_agent.guardian.operator_client import ask
from edge_agent.ipc import (
    Done,
    FromOperator,
    Lines,
    Mode,
    PlanPreview,
    Refused,
    ResetTrip,
    SafeStop,
    SetMode,
    Status,
    StatusRequest,
)
from firmware_adapters.capabilities import Credential
from shared.errors import MinewardenError
from shared.ids import ZoneId


def main(args: list[str]) -> int:
    """Exit code: 0 done, 1 refused or not reachable, 2 wrong use or an unusable site file."""
    options = _parser().parse_args(args)
    try:
        site = config.load(options.site)
        return int(options.do(site, options))
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

    command = commands.add_parser("status", parents=[common], help="modes, trips, inhibits")
    command.set_defaults(do=_status)

    command = commands.add_parser("reset", parents=[common], help="reset the trips of a zone")
    command.add_argument("--zone", required=True)
    command.add_argument("--reason", required=True)
    command.set_defaults(do=_reset)

    command = commands.add_parser("safe-stop", parents=[common], help="stop a zone, or everything")
    command.add_argument("--zone")
    command.add_argument("--reason", required=True)
    command.set_defaults(do=_safe_stop)

    command = commands.add_parser("mode", parents=[common], help="take a zone over, or hand it back")
    command.add_argument("mode", choices=[Mode.MANUAL.value, Mode.LOCAL_AUTO.value])
    command.add_argument("--zone", required=True)
    command.add_argument("--reason", required=True)
    command.set_defaults(do=_mode)

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


def _run(_: config.SiteFile, options: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    asyncio.run(run(options.site))
    return 0


def _operator(site: config.SiteFile, request: FromOperator) -> int:
    answer = ask(Path(site.paths.operator_socket), request)
    match answer:
        case Done(detail=detail):
            print(detail)
            return 0
        case Refused(why=why):
            print(f"refused: {why}", file=sys.stderr)
            return 1
        case Status():
            _show(answer)
            return 0
        case Lines(lines=lines, good=good):
            print("\n".join(lines))
            return 0 if good else 1
        case PlanPreview():
            print(answer.detail)
            return 0


def _status(site: config.SiteFile, _: argparse.Namespace) -> int:
    return _operator(site, StatusRequest())


def _show(status: Status) -> None:
    lease = "never held" if status.lease_left_s is None else f"{status.lease_left_s:.0f} s left"
    print(f"lease {lease}, model {status.assignment or 'none'}, journal {status.journal_head}")
    for zone, state in status.zones.items():
        cooling = "proven" if state.cooling_proven else "NOT proven"
        print(f"{zone}: {state.mode}, cooling {cooling}{', restarting' if state.restarting else ''}")
        for trip in state.trips:
            where = trip.device or "whole zone"
            cause = "cause present" if trip.cause_present else "cause gone, can be reset"
            print(f"  TRIP {trip.interlock} ({where}): {trip.first_out}; {cause}")
        for device, why in state.inhibited.items():
            print(f"  {device} inhibited: {why}")


def _reset(site: config.SiteFile, options: argparse.Namespace) -> int:
    request = ResetTrip(zone=ZoneId(options.zone), reason=options.reason, operator=getpass.getuser())
    return _operator(site, request)


def _safe_stop(site: config.SiteFile, options: argparse.Namespace) -> int:
    zone = ZoneId(options.zone) if options.zone else None
    return _operator(site, SafeStop(zone=zone, reason=options.reason))


def _mode(site: config.SiteFile, options: argparse.Namespace) -> int:
    request = SetMode(
        zone=ZoneId(options.zone),
        mode=Mode(options.mode),
        operator=getpass.getuser(),
        reason=options.reason,
    )
    return _operator(site, request)


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
