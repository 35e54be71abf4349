"""`minewarden check-config`: says what is wrong with a site file without starting anything."""

import argparse
import sys
from pathlib import Path

from edge_agent import config
from edge_agent.guardian import action_limits
from edge_agent.guardian.points import check_points
from shared.errors import ConfigError


def check_config(args: list[str]) -> int:
    """Exit code 0 with a summary, or 2 with each problem as `file:line: key: what is expected`."""
    parser = argparse.ArgumentParser(prog="minewarden check-config", description=__doc__)
    parser.add_argument("--site", type=Path, required=True, metavar="FILE", help="the site file")
    options = parser.parse_args(args)
    try:
        site = config.load(options.site)
        check_points(site)
        action_limits.load(site.site.action_limits)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    print(summary(site, options.site))
    return 0


def summary(site: config.SiteFile, path: Path) -> str:
    """One line on what was read, for people."""
    nominal_kw = sum(miner.nominal_w or 0.0 for miner in site.miners) / 1000.0
    others = len(site.devices) - len(site.miners)
    return (
        f"{path}: OK: site {site.site.id}, {len(site.zones)} zones, {len(site.miners)} miners "
        f"({nominal_kw:.1f} kW nominal), {others} other devices"
        + (", simulated" if site.site.simulated else "")
    )
