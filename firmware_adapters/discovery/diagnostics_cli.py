"""`minewarden diagnostics HOST[:PORT]`: keep what a device really says, so that a failure can be looked at.

The device is asked everything that a probe asks, and for its logs; or with `--via-guardian` the running
guardian hands out what the device said when its last read failed, its chips, and the log that it kept; it
may then be named by its id in the site file, as units behind one gateway have to be. Each reply is written as
it came, with passwords, tokens and the users of pools taken out; SNMP and BACnet answers as they were
decoded. The folder can be dropped in beside other recordings. Exit code: 0 written (also where the device
could not be understood: that is what this is for); 2 bad input; 3 nothing was answered.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from firmware_adapters.discovery import password, target
from firmware_adapters.discovery.examine import NotRead
from firmware_adapters.discovery.probe import Look
from firmware_adapters.discovery.report import Probed
from firmware_adapters.discovery.saving import save
from shared.clock import Clock, SystemClock
from shared.errors import ConfigError

WRITTEN, BAD_INPUT, NOTHING = 0, 2, 3


def main(argv: Sequence[str] | None = None) -> int:
    """See the module's text."""
    parser = argparse.ArgumentParser(prog="minewarden diagnostics", description=__doc__)
    parser.add_argument("target", metavar="HOST[:PORT]", help="the device; a port is for emulated machines")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the recording")
    parser.add_argument("--adapter", metavar="NAME", help="speak to it as this firmware")
    password.add_arguments(parser)
    parser.add_argument("--timeout", type=float, default=5.0, metavar="S", help="per request, 5 s")
    target.add_arguments(parser)
    options = parser.parse_args(argv)
    try:
        return _run(options, SystemClock())
    except ConfigError as error:
        print(f"minewarden diagnostics: {error}", file=sys.stderr)
        return BAD_INPUT


def _run(options: argparse.Namespace, clock: Clock) -> int:
    if not 0.05 <= options.timeout <= 60:
        raise ConfigError(f"--timeout {options.timeout:g}: expected 0.05 to 60 s")
    secret = password.credential(options)
    look = Look(credential=secret, adapter=options.adapter, timeout_s=options.timeout, chips=True, logs=True)
    found = target.look_at(options, look, clock)
    for one in failures(found):
        print(f"{one.part}: {one.code}: {one.why}")
    place = save(found, options.out, secret.secret if secret is not None else "")
    return WRITTEN if place is not None else NOTHING


def failures(found: Probed) -> tuple[NotRead, ...]:
    """The parts of the look that failed."""
    return found.examined.not_read if found.examined is not None else ()


if __name__ == "__main__":
    sys.exit(main())
