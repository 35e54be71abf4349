"""`minewarden simulate --site site.toml`: serve a simulated site until told to stop."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from firmware_adapters.simulator.app import Simulator
from firmware_adapters.simulator.site_file import SimulatedSite, load_site
from shared.errors import ConfigError


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 stopped on request, 1 a port is taken, 2 the site file cannot be simulated."""
    parser = argparse.ArgumentParser(
        prog="minewarden simulate", description="Serve every device of a simulated site over real protocols."
    )
    parser.add_argument("--site", type=Path, required=True, help="site file with simulated = true")
    parser.add_argument("--verbose", action="store_true", help="log more")
    options = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
    )
    try:
        site = load_site(options.site)
        return asyncio.run(_serve(site))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"cannot listen: {error}", file=sys.stderr)
        return 1


async def _serve(site: SimulatedSite) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    simulator = Simulator(site)
    await simulator.start()
    try:
        fault = f", faults on 127.0.0.1:{site.settings.fault_port}" if site.settings.fault_port else ""
        print(
            f"simulating {len(simulator.miners)} miners and {len(simulator.gear)} devices{fault}", flush=True
        )
        await simulator.serve_until(stopped)
    finally:
        await simulator.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
