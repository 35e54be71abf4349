"""`minewarden scan CIDR`: find the miners of a network and propose a site file, without changing anything.

Exit code: 0 found or imported; 1 machines of the site file are missing or not recognised any more, or the
password was refused;
2 bad input; 3 nothing answers.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from firmware_adapters.discovery import password, proposal, ranges, rescan, running_site, table, via_guardian
from firmware_adapters.discovery.ask import Asker
from firmware_adapters.discovery.logins import refusals
from firmware_adapters.discovery.machine import Machine, numbered
from firmware_adapters.discovery.probe import Look
from firmware_adapters.discovery.progress import Progress
from firmware_adapters.discovery.running_site import KnownSite
from firmware_adapters.discovery.scan import MOST_AT_ONCE, Scan, Scanned, nothing_found, same_macs
from firmware_adapters.identify import recogniser
from shared.clock import Clock, SystemClock
from shared.errors import ConfigError
from shared.ids import DeviceId

FOUND, INCOMPLETE, BAD_INPUT, NOTHING = 0, 1, 2, 3
INTERRUPTED = 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="minewarden scan", description=__doc__)
    parser.add_argument("network", nargs="?", metavar="CIDR", help="such as 10.0.1.0/24; private ranges only")
    parser.add_argument("--force", action="store_true", help="scan a public range all the same")
    parser.add_argument("--port", type=int, metavar="N", help="ask at this port (emulated machines)")
    parser.add_argument("--adapter", metavar="NAME", help="take whatever answers for this firmware")
    password.add_arguments(parser)
    parser.add_argument("--at-once", type=int, default=128, metavar="N", help="addresses at a time, 128")
    parser.add_argument("--timeout", type=float, default=3.0, metavar="S", help="per request, 3 s")
    parser.add_argument("--connect-timeout", type=float, default=1.0, metavar="S", help="per connection, 1 s")
    parser.add_argument(
        "--deadline", type=float, default=600.0, metavar="S", help="for the whole scan, 600 s"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the proposed site file there")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the machines there as a table")
    parser.add_argument(
        "--import", type=Path, metavar="FILE", dest="table", help="no scan: read such a table"
    )
    parser.add_argument(
        "--site", type=Path, metavar="FILE", help="site file: show what moved, is new, is missing"
    )
    parser.add_argument(
        "--via-guardian",
        action="store_true",
        help="leave a running site's hosts to its guardian, ask the rest",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """See the module's text."""
    options = _parser().parse_args(argv)
    try:
        return _import(options, SystemClock()) if options.table is not None else _scan(options, SystemClock())
    except ConfigError as error:
        print(f"minewarden scan: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED


# ---------------------------------------------------------------- a table instead of a network


def _import(options: argparse.Namespace, clock: Clock) -> int:
    if options.network is not None:
        raise ConfigError("--import reads a table instead of a network: give one of them")
    try:
        raw = options.table.read_bytes()
    except OSError as error:
        raise ConfigError(f"{options.table}: cannot be read: {error.strerror}") from error
    if len(raw) > table.MAX_BYTES:
        raise ConfigError(f"{options.table}: larger than {table.MAX_BYTES} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{options.table}: is not UTF-8 text") from error
    machines = table.from_csv(text, str(options.table))
    site = running_site.load(options.site) if options.site is not None else None
    _write(options, machines, str(options.table.name), site, clock)
    return FOUND


# ---------------------------------------------------------------- a network


def _scan(options: argparse.Namespace, clock: Clock) -> int:
    _check(options)
    asked = ranges.network(options.network, force=options.force)
    look = Look(
        credential=password.credential(options),
        adapter=options.adapter,
        timeout_s=options.timeout,
        sample=False,
    )
    site = running_site.load(options.site) if options.site is not None else None
    hosts = list(ranges.addresses(asked))
    left_alone: frozenset[str] = frozenset()
    if site is not None:
        why = running_site.refusal(site, frozenset(hosts))
        if why is not None and not options.via_guardian:
            raise ConfigError(why)
        left_alone = site.hosts & frozenset(hosts) if why is not None else frozenset()
    scanned = asyncio.run(_ask(options, [host for host in hosts if host not in left_alone], look, clock))
    return _tell(options, scanned, asked, site, left_alone, clock)


def _check(options: argparse.Namespace) -> None:
    if options.network is None:
        raise ConfigError("which network? Such as 10.0.1.0/24, or --import FILE for a table")
    if options.port is not None and not 0 < options.port < 65536:
        raise ConfigError(f"--port {options.port}: expected 1 to 65535")
    if not 1 <= options.at_once <= MOST_AT_ONCE:
        raise ConfigError(f"--at-once {options.at_once}: expected 1 to {MOST_AT_ONCE}")
    for name, low, high in (
        ("timeout", 0.05, 60.0),
        ("connect_timeout", 0.02, 60.0),
        ("deadline", 0.1, 86_400.0),
    ):
        value = getattr(options, name)
        if not low <= value <= high:
            raise ConfigError(f"--{name.replace('_', '-')} {value:g}: expected {low:g} to {high:g} s")
    if options.adapter is not None:
        recogniser(options.adapter)


async def _ask(options: argparse.Namespace, hosts: list[str], look: Look, clock: Clock) -> Scanned:
    progress = Progress(sys.stderr, len(hosts), clock, what="machines")
    async with Asker(connect_s=options.connect_timeout, reply_s=options.timeout) as asker:
        scan = Scan(asker, look, clock, port=options.port)
        scanned = await scan.run(
            hosts, at_once=options.at_once, deadline_s=options.deadline, on_progress=progress
        )
    progress.end()
    return scanned


def _tell(
    options: argparse.Namespace,
    scanned: Scanned,
    asked: ranges.Network,
    site: KnownSite | None,
    left_alone: frozenset[str],
    clock: Clock,
) -> int:
    say = _to_stderr
    if scanned.unasked:
        say(f"the deadline came first: {scanned.unasked} addresses were not asked (--deadline, --at-once)")
    if left_alone:
        say(f"{len(left_alone)} hosts of the running site were left to its guardian")
    for host in scanned.unknown[:20]:
        say(f"{host}: something answers, but no firmware that we know; minewarden probe shows what")
    for machine in scanned.machines:
        for warning in machine.warnings:
            say(f"{machine.place}: {warning}")
    for sentence in (*same_macs(scanned.machines), *refusals(scanned.refused, scanned.left_out)):
        say(sentence)
    if not scanned.machines and not left_alone:
        say(f"minewarden scan: {nothing_found(scanned, str(asked))}")
        return NOTHING
    machines, code = scanned.machines, INCOMPLETE if scanned.refused else FOUND
    if site is not None:
        looked = rescan.Looked(
            asked=asked,
            unrecognised=frozenset(scanned.unknown),
            left_alone=left_alone,
            silent=_silent(site, left_alone),
            names=site.names,
        )
        changes = rescan.compare(site.devices, machines, looked)
        if scanned.unasked:
            changes = msgspec.structs.replace(changes, missing=())
        told = rescan.lines(changes)
        for line in told or [f"nothing changed: {len(changes.same)} machines stand where the site file says"]:
            print(line)
        machines = changes.new
        code = INCOMPLETE if changes.missing or changes.unrecognised else code
    if machines or site is None:
        _write(options, machines, str(asked), site, clock)
    return code


def _silent(site: KnownSite, left_alone: frozenset[str]) -> frozenset[DeviceId]:
    if not left_alone:
        return frozenset()
    try:
        return via_guardian.silent(site, left_alone)
    except ConfigError as error:
        _to_stderr(f"which of its machines the guardian misses is not known: {error}")
        return frozenset()


def _write(
    options: argparse.Namespace,
    machines: tuple[Machine, ...],
    asked: str,
    site: KnownSite | None,
    clock: Clock,
) -> None:
    taken = frozenset(str(entry.id) for entry in site.devices) if site is not None else frozenset()
    named = numbered(machines, taken)
    at = (
        datetime.fromtimestamp(clock.utc_ms() / 1000, UTC)
        .isoformat(timespec="seconds")
        .replace("+00:00", "Z")
    )
    text = proposal.fragment(named, at=at, asked=asked)
    if options.csv is not None:
        _save(options.csv, table.to_csv(named))
    if options.out is not None:
        _save(options.out, text)
    elif options.csv is None:
        print(text, end="")


def _save(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{path}: is there already; nothing is written over it") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    _to_stderr(f"written: {path}")


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
