"""`minewarden agent run|model`: the process, and a look at its models."""

import argparse
import asyncio
import sys
from pathlib import Path

from edge_agent import config
from edge_agent.agent.app import configure_logging, serve
from edge_agent.agent.inference.cli import ACTIONS
from edge_agent.agent.inference.cli import run as model
from shared.errors import MinewardenError


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code (1 = refused or failed, 2 = wrong use or unusable site file)."""
    args = _parser().parse_args(argv)
    try:
        site = config.load(Path(args.site))
        if args.command == "run":
            configure_logging(verbose=args.verbose)
            asyncio.run(serve(site))
            return 0
        return model(args.action, site)
    except MinewardenError as error:
        print(f"minewarden agent: {error}", file=sys.stderr)
        return 2 if error.code == "config" else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="minewarden agent")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run the agent until SIGTERM")
    run.add_argument("--site", required=True, help="the site file")
    run.add_argument("--verbose", action="store_true", help="log every detail")
    model = commands.add_parser(
        "model", help="the models of this gateway: look, check again, keep one, go back"
    )
    model.add_argument("action", choices=ACTIONS)
    model.add_argument("--site", required=True, help="the site file")
    return parser
