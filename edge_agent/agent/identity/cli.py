"""`minewarden enroll`: get this gateway's certificate, with a person's help.

Exit codes: 0 the certificate is here (or the request file is written), 1 refused or failed, 2 wrong use,
3 nobody has decided yet (run it again).
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from edge_agent import config
from edge_agent.agent.identity.cloud_desk import CloudDesk
from edge_agent.agent.identity.enrolment import POLL_S, Enrolment, check_owner
from edge_agent.agent.identity.files import IdentityFiles
from edge_agent.agent.identity.pair import Pair, when
from edge_agent.config import SiteFile
from shared.clock import Clock, SystemClock
from shared.errors import ConfigError, MinewardenError
from shared.identity import spoken

STILL_WAITING = 3


def main(argv: list[str] | None = None, clock: Clock | None = None) -> int:
    """Run `minewarden enroll ...`; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        site = config.load(Path(args.site))
        state = Path(site.paths.agent_state)
        check_owner(state, os.geteuid())
        files = IdentityFiles(state)
        enrolment = Enrolment(site.site.id, files, clock or SystemClock())
        return _run(args, site, files, enrolment)
    except MinewardenError as error:
        print(f"minewarden enroll: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        print("\nthe request stays; run the command again to go on waiting", file=sys.stderr)
        return STILL_WAITING


def _run(args: argparse.Namespace, site: SiteFile, files: IdentityFiles, enrolment: Enrolment) -> int:
    if args.accept is not None:
        return _done(site, files, enrolment.accept(_read(args.accept)))
    enrolment.refuse_if_enrolled(replace=args.replace)
    desk = CloudDesk(args.cloud, args.cloud_ca) if args.cloud is not None else None
    print(f"site         {site.site.id}")
    print(f"fingerprint  {enrolment.fingerprint}")
    print(f"read it out  {spoken(enrolment.fingerprint)}")
    sys.stdout.flush()
    if desk is None:
        _write(args.offline, enrolment.offline_request(replace=args.replace))
        print(f"{args.offline}: upload it with 'minewarden cloud enrolments add', have it confirmed,")
        print("and bring the certificate back: 'minewarden enroll --site ... --accept FILE'")
        return 0
    pair = asyncio.run(
        enrolment.ask_and_wait(
            desk, print, replace=args.replace, wait_s=args.wait, poll_s=max(0.2, args.poll)
        )
    )
    if pair is None:
        print("nobody has confirmed it yet; run the same command again to go on waiting", file=sys.stderr)
        return STILL_WAITING
    return _done(site, files, pair)


def _done(site: SiteFile, files: IdentityFiles, pair: Pair) -> int:
    print(f"the authority's fingerprint, to compare: {files.ca_fingerprint()}")
    print(f"enrolled: certificate {pair.serial} for {pair.name}, valid until {when(pair.span.end_ms)}")
    wanted = {"ca_file": files.ca_file, "cert_file": files.pair_file}
    if any(getattr(site.uplink, key) != str(path) for key, path in wanted.items()) or site.uplink.key_file:
        print("now let [uplink] of the site file name it, without key_file (the key is in the same file):")
        for key, path in wanted.items():
            print(f'  {key} = "{path}"')
        print("and restart the agent: systemctl restart minewarden-agent")
    else:
        print("the agent uses it from its next connection on")
    return 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data + b"\n")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="minewarden enroll", description="Get this gateway's certificate.")
    parser.add_argument("--site", required=True, help="the site file")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--cloud", metavar="URL", help="ask this cloud, https://...")
    way.add_argument("--offline", metavar="FILE", type=Path, help="write the request to a file to be carried")
    way.add_argument("--accept", metavar="FILE", type=Path, help="take the certificate that was carried back")
    parser.add_argument("--cloud-ca", metavar="FILE", type=Path, help="trust the cloud by this authority")
    parser.add_argument("--replace", action="store_true", help="a new key though a certificate is valid")
    parser.add_argument(
        "--wait", type=float, default=900.0, metavar="S", help="wait for a person (default 900 s)"
    )
    parser.add_argument("--poll", type=float, default=POLL_S, metavar="S", help="look every S seconds")
    return parser
