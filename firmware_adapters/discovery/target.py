"""The device that a person named, looked at by ourselves, or by the guardian whose device it is."""

import argparse
import asyncio
from pathlib import Path

from firmware_adapters.discovery import ranges, running_site, via_guardian
from firmware_adapters.discovery.ask import Asker
from firmware_adapters.discovery.probe import Look, probe
from firmware_adapters.discovery.report import Probed
from shared.clock import Clock
from shared.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--site`, `--via-guardian`."""
    parser.add_argument("--site", type=Path, metavar="FILE", help="site file whose guardian may be running")
    parser.add_argument(
        "--via-guardian", action="store_true", help="ask the running guardian what it knows, not its devices"
    )


def look_at(options: argparse.Namespace, look: Look, clock: Clock) -> Probed:
    """Look at `options.target`. Raises `ConfigError` for bad input, and for a running site's own device."""
    if options.via_guardian:
        if options.site is None:
            raise ConfigError("--via-guardian needs --site: which guardian?")
        site = running_site.load(options.site)
        return via_guardian.as_probed(via_guardian.ask(site, via_guardian.meant(site, options.target)))
    host, port = ranges.target(options.target)
    if options.site is not None:
        site = running_site.load(options.site)
        why = running_site.refusal(site, frozenset({host}))
        if why is not None:
            raise ConfigError(why)
    return asyncio.run(_look(host, port, look, clock))


async def _look(host: str, port: int | None, look: Look, clock: Clock) -> Probed:
    async with Asker(connect_s=min(1.0, look.timeout_s), reply_s=look.timeout_s) as asker:
        return await probe(asker, host, port, look, clock)
