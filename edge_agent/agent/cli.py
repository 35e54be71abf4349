"""`minewarden agent run|model`: the process, and a look at its models."""

import argparse
import asyncio
import sys
import urllib.error
import urllib.request
from pathlib import Path

import msgspec

from edge_agent import config
from edge_agent.agent.app import configure_logging, serve
from edge_agent.agent.inference.slots import Slots
from edge_agent.agent.local_api.server import HOST, TOKEN_FILE, TOKEN_HEADER
from edge_agent.config import SiteFile
from shared.artifacts.manifest import Assignment, Manifest
from shared.errors import ArtifactError, MinewardenError, WireError


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code (1 = refused or failed, 2 = wrong use or unusable site file)."""
    args = _parser().parse_args(argv)
    try:
        site = config.load(Path(args.site))
        if args.command == "run":
            configure_logging()
            asyncio.run(serve(site))
            return 0
        return _list(site) if args.action == "list" else _rollback(site)
    except MinewardenError as error:
        print(f"minewarden agent: {error}", file=sys.stderr)
        return 2 if error.code == "config" else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="minewarden agent")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run the agent until SIGTERM")
    run.add_argument("--site", required=True, help="the site file")
    model = commands.add_parser("model", help="which models this gateway has; back to the previous one")
    model.add_argument("action", choices=["list", "rollback"])
    model.add_argument("--site", required=True, help="the site file")
    return parser


def _list(site: SiteFile) -> int:
    slots = Slots(Path(site.paths.agent_state) / "models")
    found = [(name, sha) for name, sha in msgspec.structs.asdict(slots.current()).items() if sha is not None]
    if not found:
        print("no model: the site runs on rules")
    for name, sha256 in found:
        try:
            assignment = msgspec.msgpack.decode(slots.load(sha256).signed.payload, type=Assignment)
            manifest = msgspec.msgpack.decode(assignment.manifest.payload, type=Manifest)
        except (ArtifactError, WireError, msgspec.DecodeError, UnicodeDecodeError) as error:
            print(f"{name:<10} {sha256[:12]}  unreadable: {error}")
            continue
        print(
            f"{name:<10} {sha256[:12]}  {manifest.name} v{manifest.version} ({manifest.algorithm}), "
            f"assigned for {assignment.stage}"
        )
    return 0


def _rollback(site: SiteFile) -> int:
    """Ask the running agent; it owns the slots."""
    token_file = Path(site.paths.agent_state) / TOKEN_FILE
    url = f"http://{HOST}:{site.agent.status_port}/model/rollback"
    try:
        token = token_file.read_text()
        request = urllib.request.Request(url, method="POST", headers={TOKEN_HEADER: token})  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=30):  # noqa: S310 - the URL is built above, on loopback
            print("rolled back")
            return 0
    except urllib.error.HTTPError as error:
        text = "no model is active" if error.code == 409 else error.read().decode(errors="replace")
        print(f"minewarden agent: {text}", file=sys.stderr)
    except OSError as error:
        print(f"minewarden agent: no agent here that you may ask: {error}", file=sys.stderr)
    return 1
