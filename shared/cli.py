"""`minewarden`: lists the commands that this distribution has, and runs one without importing the others.

Commands are entry points of the group `minewarden.commands`. Each may name the extra that brings what it
imports; where that is missing, the command says which `pip install` helps and exits with 2.
"""

import sys
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, packages_distributions, version

GROUP = "minewarden.commands"
DISTRIBUTION = "minewarden"
PACKAGES = ("shared", "firmware_adapters", "edge_agent", "cloud")

_ABOUT = {
    "agent": "run the agent, or look at its models",
    "check-config": "check a site file without starting anything",
    "cloud": "run the cloud service, or migrate its database",
    "command": "sign and send a command to a site with a key of your own",
    "demo": "a whole site in one command: simulator, broker, guardian, agent, cloud",
    "diagnostics": "keep what a device really says, without its secrets",
    "enroll": "get this gateway's certificate, with a person's help",
    "guardian": "run the guardian; status, reset, safe-stop, credentials, journal",
    "keys": "make signing keys and keyrings",
    "profile": "check, describe and list the data files of device models",
    "probe": "identify one device and read it once, changing nothing",
    "scan": "find the miners of a network and propose a site file",
    "simulate": "serve an emulated site that answers real protocols",
    "store": "look into the agent's store",
}


def main(argv: list[str] | None = None) -> int:
    """Run `minewarden <command> ...`; returns the exit code."""
    args = sys.argv[1:] if argv is None else argv
    commands = {point.name: point for point in entry_points(group=GROUP)}
    if not args or args[0] in ("-h", "--help", "help"):
        print(_usage(commands))
        return 0 if args else 2
    if args[0] in ("-V", "--version"):
        print(f"minewarden {version(DISTRIBUTION)}")
        return 0
    point = commands.get(args[0])
    if point is None:
        print(f"minewarden: no command {args[0]!r}\n\n{_usage(commands)}", file=sys.stderr)
        return 2
    return _run(point, args[1:])


def foreign_owners() -> list[str]:
    """Import names of ours that another installed distribution also claims (PyPI has a `shared`)."""
    owners = packages_distributions()
    return [name for name in PACKAGES if set(owners.get(name, [DISTRIBUTION])) != {DISTRIBUTION}]


def _run(point: EntryPoint, args: list[str]) -> int:
    if mixed := foreign_owners():
        names = ", ".join(mixed)
        print(
            f"minewarden: another package overwrote {names}; use a virtual environment of its own",
            file=sys.stderr,
        )
        return 2
    try:
        function = getattr(import_module(point.module), point.attr)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in PACKAGES:
            raise
        extra = ",".join(point.extras) or "all"
        print(
            f"minewarden {point.name}: {error.name} is not installed; "
            f"'pip install minewarden[{extra}]' brings it",
            file=sys.stderr,
        )
        return 2
    try:
        code = int(function(args) or 0)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        sys.stdout = None
        return 0
    return code


def _usage(commands: dict[str, EntryPoint]) -> str:
    lines = [f"  {name:<14}{_ABOUT.get(name, '')}" for name in sorted(commands)]
    return "usage: minewarden <command> [options]\n\ncommands:\n" + "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
