"""`minewarden cloud ca | enrolments | certificates | revoke | admit | broker-config | publish-keyring`.

`ca` and `broker-config` work on files, `publish-keyring` on database and broker; everything else asks the
running cloud, as the dashboard does.
"""

import argparse
import asyncio
import getpass
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cloud.config import CloudConfig, load
from cloud.identity import desk_cli, files_cli, keyring_cli
from cloud.identity.broker import ACL, CRL
from cloud.identity.broker_config import CONF, BrokerPlan
from cloud.identity.desk_client import DeskClient
from cloud.kit.database import Database
from shared.clock import Clock, SystemClock

ROLES: Final = ("broker", "ingest", "command")
Open = Callable[[CloudConfig], Database]


def add_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this module's commands to those of `minewarden cloud`."""
    authority = commands.add_parser("ca", help="make the certificate authority, and certificates for roles")
    steps = authority.add_subparsers(dest="step", required=True)
    _common(steps.add_parser("init", help="make the authority's key and certificate, once"))
    issue = _common(
        steps.add_parser("issue", help="a certificate for the broker or one of the cloud's roles")
    )
    issue.add_argument("role", choices=ROLES)
    issue.add_argument("--out", type=Path, required=True, help="folder for <role>.crt and <role>.key")
    issue.add_argument("--host", action="append", default=[], help="the broker's name or address; repeat it")
    desk = commands.add_parser("enrolments", help="gateways that ask for a certificate")
    steps = desk.add_subparsers(dest="step", required=True)
    _person(steps.add_parser("list", help="who waits, and what was decided"))
    add = _person(steps.add_parser("add", help="upload a request that 'minewarden enroll --offline' wrote"))
    add.add_argument("file", type=Path)
    confirm = _person(
        steps.add_parser("confirm", help="sign, after somebody there has read the fingerprint out")
    )
    confirm.add_argument("which", help="the site or the request's id")
    confirm.add_argument("fingerprint", help="as it was read out, e.g. K7QM-2XF9-AB3D-W8HT")
    confirm.add_argument("--replace", action="store_true", help="revoke the certificate that the site has")
    refuse = _person(steps.add_parser("refuse", help="say no"))
    refuse.add_argument("which", help="the site or the request's id")
    refuse.add_argument("--reason", default="")
    fetch = _person(
        steps.add_parser("certificate", help="write an issued certificate to a file to be carried")
    )
    fetch.add_argument("which", help="the site or the request's id")
    fetch.add_argument("--out", type=Path, required=True)
    shown = _person(
        commands.add_parser("certificates", help="all certificates, with the days they have left")
    )
    shown.add_argument("--name", help="only this CN")
    revoke = _person(
        commands.add_parser("revoke", help="take a site's certificates back and cut its connection")
    )
    revoke.add_argument("site", help="the site, or the CN of a role or third party")
    revoke.add_argument("--reason", default="")
    admit = _person(
        commands.add_parser("admit", help="a certificate for a third party that may send commands")
    )
    admit.add_argument("name", help="a short name; the CN becomes minewarden-control-<name>")
    admit.add_argument("--request", type=Path, required=True, help="its certificate request, PEM, P-256")
    admit.add_argument(
        "--site", action="append", required=True, help="a site it may command ('*': all); repeat"
    )
    admit.add_argument("--out", type=Path, required=True, help="file for the certificate")
    keyring = _common(
        commands.add_parser("publish-keyring", help="keep a root-signed keyring for sites, at the broker too")
    )
    keyring.add_argument("file", type=Path, help="what 'minewarden keys root-sign' wrote")
    keyring.add_argument("--site", action="append", default=[], help="only this site; repeat it")
    broker = _common(commands.add_parser("broker-config", help="write mosquitto's configuration"))
    _broker_options(broker)


def _broker_options(broker: argparse.ArgumentParser) -> None:
    plan = BrokerPlan()
    broker.add_argument(
        "--out", type=Path, required=True, help=f"folder for {CONF}, and a first {ACL} and {CRL}"
    )
    broker.add_argument(
        "--keys", type=Path, default=plan.keys, help="ca.crt, broker.crt, broker.key on the broker"
    )
    broker.add_argument("--port", type=int, default=plan.site_port, help="for sites")
    broker.add_argument("--address", default=plan.site_address, help="for sites; default all addresses")
    broker.add_argument("--cloud-port", type=int, default=plan.cloud_port, help="for the cloud's own roles")
    broker.add_argument("--cloud-address", default=plan.cloud_address, help="the same; default loopback")
    broker.add_argument("--pid-file", type=Path, help="mosquitto writes its process id here")
    broker.add_argument("--no-persistence", action="store_true", help="keep nothing over a restart")


def run(given: argparse.Namespace, open_database: Open, clock: Clock | None = None) -> int:
    """Run one of the commands; returns the exit code, raises what `cloud.cli` reports."""
    config, time = load(given.config), clock or SystemClock()
    if given.what == "broker-config":
        return files_cli.broker_config(config, given, time)
    if given.what == "publish-keyring":
        return asyncio.run(keyring_cli.publish(config, given, open_database(config), time))
    if given.what == "ca" and given.step == "init":
        return files_cli.init(config, time)
    if given.what == "ca":
        return asyncio.run(files_cli.issue(config, given, open_database(config), time))
    actor = given.actor or f"{getpass.getuser()} (command line)"
    return _ask_the_cloud(DeskClient(config, actor=actor, token_file=given.token_file), given, time)


def _ask_the_cloud(desk: DeskClient, given: argparse.Namespace, clock: Clock) -> int:
    match given.what:
        case "enrolments":
            return desk_cli.enrolments(desk, given.step, given)
        case "certificates":
            return desk_cli.certificates(desk, given.name)
        case "admit":
            return desk_cli.admit(desk, given)
        case _:
            return asyncio.run(desk_cli.revoke(desk, given, clock))


def is_ours(given: argparse.Namespace) -> bool:
    """Whether the parsed command is one of this module's."""
    return given.what in (
        "ca",
        "enrolments",
        "certificates",
        "revoke",
        "admit",
        "broker-config",
        "publish-keyring",
    )


def _common(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--config", type=Path, required=True, help="the cloud's TOML file")
    return parser


def _person(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--as", dest="actor", help="who decides, for the record; default: this login")
    parser.add_argument("--token-file", type=Path, help="that person's own token, where people have such")
    return _common(parser)
