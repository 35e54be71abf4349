"""`minewarden profile lint FILE... | schema | list`: for the one who writes the data file of a device.

Nothing here speaks to a device. Exit status: 0 all is well, 1 a file does not hold, 2 wrong use.
"""

import argparse
import sys
from collections.abc import Sequence
from inspect import cleandoc
from pathlib import Path

import msgspec

from firmware_adapters.site.modbus_words import spans_of
from firmware_adapters.site.profile import Profile, load_profile, profile_names, read_profile
from firmware_adapters.transport.modbus_plan import merge_spans
from shared.errors import ConfigError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the three; returns the exit status."""
    options = _parser().parse_args(argv)
    match options.what:
        case "lint":
            return _lint(options.files)
        case "schema":
            print(schema_text())
        case "list":
            print(_as_json() if options.json else _as_table())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minewarden profile", description="Check and list the data files of device models."
    )
    what = parser.add_subparsers(dest="what", required=True)
    lint = what.add_parser("lint", help="check profile files; each problem names file, line and key")
    lint.add_argument("files", nargs="+", type=Path, metavar="FILE")
    what.add_parser("schema", help="print the JSON schema of a profile, for editors")
    listed = what.add_parser("list", help="print the profiles that ship")
    listed.add_argument("--json", action="store_true", help="for programs")
    return parser


def _lint(files: Sequence[Path]) -> int:
    failed = 0
    for file in files:
        try:
            profile = read_profile(file)
        except ConfigError as error:
            failed += 1
            print(error, file=sys.stderr)
            continue
        print(f"{file}: {summary(profile)}")
    return 1 if failed else 0


def schema_text() -> str:
    """The JSON schema of a profile file, made from the structs that read it."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Profile)}
    for defined in schema["$defs"].values():
        if "description" in defined:
            defined["description"] = cleandoc(defined["description"])
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode()


def summary(profile: Profile) -> str:
    """One line on a sound profile."""
    writable = dict.fromkeys(point.name.split(".")[0] for point in profile.writable)
    writes = f"writes {', '.join(writable)}" if writable else "writes nothing"
    requests = requests_per_read(profile)
    cost = f", {_counted(requests, 'request')} a read" if requests is not None else ""
    return f"{profile.model} ({profile.kind.value}): {_counted(len(profile.points), 'point')}{cost}, {writes}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def requests_per_read(profile: Profile) -> int | None:
    """How many Modbus requests one read of the device costs; None for other protocols."""
    rules = profile.modbus
    if rules is None:
        return None
    spans = (span for point in profile.points for span in spans_of(point, rules))
    return len(merge_spans(spans, gap=rules.gap, max_registers=rules.max_registers, max_bits=rules.max_bits))


def protocol_of(profile: Profile) -> str:
    """How the device is spoken to."""
    spoken = {"Modbus": profile.modbus, "SNMP": profile.snmp, "BACnet": profile.bacnet}
    return next(name for name, rules in spoken.items() if rules is not None)


def _as_table() -> str:
    rows = [("profile", "kind", "protocol", "points", "writable", "model")]
    for name in profile_names():
        profile = load_profile(name)
        points = str(len(profile.points)) if profile.points else "as found"
        writable = str(len(profile.writable))
        rows.append((name, profile.kind.value, protocol_of(profile), points, writable, profile.model))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _as_json() -> str:
    told = [
        {
            "profile": name,
            "kind": profile.kind.value,
            "protocol": protocol_of(profile),
            "model": profile.model,
            "source": profile.source,
            "points": [point.name for point in profile.points],
            "writable": [point.name for point in profile.writable],
            "interval_s": profile.interval_s,
            "retention_days": profile.retention_days,
        }
        for name in profile_names()
        for profile in (load_profile(name),)
    ]
    return msgspec.json.format(msgspec.json.encode(told), indent=2).decode()


if __name__ == "__main__":
    sys.exit(main())
