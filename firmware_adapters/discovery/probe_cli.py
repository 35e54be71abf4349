"""`minewarden probe HOST[:PORT]`: identify one device and read it once, without changing anything on it.

Exit code: 0 read; 1 identified but not readable, or the password was refused; 2 bad input; 3 unreachable.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from firmware_adapters.discovery import password, target
from firmware_adapters.discovery.probe import Look
from firmware_adapters.discovery.report import Probed, as_json
from firmware_adapters.discovery.saving import save
from firmware_adapters.discovery.words import lines
from shared.clock import Clock, SystemClock
from shared.errors import ConfigError, DeviceTimeout, Unreachable

READ, UNREADABLE, BAD_INPUT, UNREACHABLE = 0, 1, 2, 3
_SILENT = (Unreachable.code, DeviceTimeout.code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="minewarden probe", description=__doc__)
    parser.add_argument("target", metavar="HOST[:PORT]", help="the device; a port is for emulated machines")
    parser.add_argument(
        "--adapter", metavar="NAME", help="speak to it as this firmware, whatever it looks like"
    )
    password.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object (docs/discovery.md)")
    parser.add_argument("--timeout", type=float, default=3.0, metavar="S", help="per request, 3 s")
    parser.add_argument("--again", type=float, metavar="S", help="look again after so long: what was counted")
    parser.add_argument("--chips", action="store_true", help="tell of every chip, not only of each board's")
    parser.add_argument("--save", type=Path, metavar="DIR", help="keep the replies there as a recording")
    target.add_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """See the module's text."""
    options = _parser().parse_args(argv)
    try:
        return _run(options, SystemClock())
    except ConfigError as error:
        print(f"minewarden probe: {error}", file=sys.stderr)
        return BAD_INPUT


def _run(options: argparse.Namespace, clock: Clock) -> int:
    if not 0.05 <= options.timeout <= 60:
        raise ConfigError(f"--timeout {options.timeout:g}: expected 0.05 to 60 s")
    if options.again is not None and not 0.05 <= options.again <= 3600:
        raise ConfigError(f"--again {options.again:g}: expected 0.05 to 3600 s")
    secret = password.credential(options)
    look = Look(
        credential=secret,
        adapter=options.adapter,
        timeout_s=options.timeout,
        again_after_s=options.again,
        chips=True,
    )
    found = target.look_at(options, look, clock)
    if options.json:
        print(json.dumps(as_json(found, chips=options.chips), indent=2, ensure_ascii=False))
    else:
        print("\n".join(lines(found, chips=options.chips)))
    if options.save is not None:
        save(found, options.save, secret.secret if secret is not None else "")
    return exit_code(found)


def exit_code(found: Probed) -> int:
    """See the module's text."""
    examined = found.examined
    if examined is None:
        return UNREADABLE if found.answered else UNREACHABLE
    if examined.password_refused:
        return UNREADABLE
    if examined.observation is not None:
        return READ
    silent = all(one.code in _SILENT for one in examined.not_read)
    return UNREACHABLE if silent and not found.answered else UNREADABLE


if __name__ == "__main__":
    sys.exit(main())
