"""The password that a user gives to a commissioning tool: from a file, or on the command line."""

import argparse
from pathlib import Path

from firmware_adapters.capabilities import Credential
from shared.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--user`, `--password`, `--password-file`."""
    parser.add_argument("--user", help="user name, where the firmware has one")
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--password", help="password; other users of this computer can see it while the command runs"
    )
    either.add_argument("--password-file", type=Path, metavar="FILE", help="file whose first line is it")


def credential(options: argparse.Namespace) -> Credential | None:
    """What the user gave, or None; an empty password is one too (Braiins OS ships with it).

    Raises `ConfigError` for a file that cannot be read.
    """
    secret: str | None = options.password
    if options.password_file is not None:
        try:
            text = options.password_file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{options.password_file}: cannot be read: {error}") from error
        secret = text.partition("\n")[0].rstrip("\r")
    if secret is None:
        if options.user is not None:
            raise ConfigError("--user needs --password or --password-file")
        return None
    return Credential(user=options.user, secret=secret)
