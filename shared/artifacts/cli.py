"""`minewarden keys`: make a signing key, or a keyring of public halves."""

import argparse
import sys
from pathlib import Path

from shared.artifacts.signing import Keyring, PublicKeyEntry, Role, SigningKey
from shared.errors import ConfigError


def main(args: list[str]) -> int:
    """Run `minewarden keys ...`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="minewarden keys", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="make a private key file (readable by its owner only)")
    new.add_argument("file", type=Path)
    new.add_argument("--id", required=True, help="the key's name, as it will stand in keyrings")
    ring = commands.add_parser("keyring", help="print a keyring of the public halves of key files")
    ring.add_argument("keys", nargs="+", metavar="ROLE=FILE", help=f"roles: {', '.join(Role)}")
    options = parser.parse_args(args)
    try:
        return _new(options.file, options.id) if options.command == "new" else _keyring(options.keys)
    except ConfigError as error:
        print(f"minewarden keys: {error}", file=sys.stderr)
        return 2


def _new(path: Path, key_id: str) -> int:
    if path.exists():
        raise ConfigError(f"{path} exists; a key is never overwritten, choose another file")
    key = SigningKey.generate(key_id)
    key.save(path)
    print(f"{path}: new key {key_id!r}, public half {key.public_text}")
    return 0


def _keyring(pairs: list[str]) -> int:
    entries = []
    for pair in pairs:
        role, _, file = pair.partition("=")
        if role not in list(Role) or not file:
            raise ConfigError(f"{pair!r} is not ROLE=FILE with a role of {', '.join(Role)}")
        key = SigningKey.load(Path(file))
        entries.append(PublicKeyEntry(id=key.key_id, role=Role(role), public=key.public_text))
    print(Keyring.dump(tuple(entries)), end="")
    return 0
