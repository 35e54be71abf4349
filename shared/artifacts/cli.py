"""`minewarden keys`: signing keys, keyrings, a third party's entry, and keyrings signed by a root."""

import argparse
import sys
from pathlib import Path

from shared.artifacts.keyring_update import KeyringUpdate, sign_update
from shared.artifacts.signing import MAY_WORDS, Keyring, PublicKeyEntry, Role, SigningKey
from shared.clock import SystemClock
from shared.errors import ConfigError
from shared.ids import DeviceId, ZoneId, checked_id
from shared.wire import codec

DAY_MS = 86_400_000


def main(args: list[str]) -> int:
    """Run `minewarden keys ...`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="minewarden keys", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="make a private key file (readable by its owner only)")
    new.add_argument("file", type=Path)
    new.add_argument("--id", required=True, help="the key's name, as it will stand in keyrings")
    ring = commands.add_parser("keyring", help="print a keyring of the public halves of key files")
    ring.add_argument("keys", nargs="+", metavar="ROLE=FILE", help=f"roles: {', '.join(Role)}")
    entry = commands.add_parser(
        "entry",
        help="print the keyring entry of somebody else's public half",
        description="Third parties keep their private half; what they may do stands in the entry. Without "
        "--may a control key may nothing; --zone and --device narrow it further.",
    )
    entry.add_argument("--id", required=True)
    entry.add_argument("--role", required=True, choices=list(Role))
    entry.add_argument("--public", required=True, metavar="BASE64", help="as 'keys new' printed it")
    entry.add_argument(
        "--may", action="append", default=[], metavar="WORD", help=", ".join(sorted(MAY_WORDS))
    )
    entry.add_argument("--zone", action="append", default=[])
    entry.add_argument("--device", action="append", default=[])
    sign = commands.add_parser(
        "root-sign",
        help="sign a whole new keyring with a root key, for sites to take over",
        description="The file that comes out is the message for 'mw/1/<site>/dn/keys' (retained). Every key "
        "that the keyring does not name stops counting. A new root signs together with the old one.",
    )
    sign.add_argument(
        "keyring", type=Path, help="the new keyring, as 'keys keyring' and 'keys entry' print it"
    )
    sign.add_argument("--root", type=Path, action="append", required=True, help="a root key file; repeatable")
    sign.add_argument("--version", type=int, required=True, help="above that of every keyring before")
    sign.add_argument("--days", type=float, default=30.0, help="how long sites may take it over (default 30)")
    sign.add_argument("--site", action="append", default=[], help="only for this site; repeatable")
    sign.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(args)
    try:
        if options.command == "root-sign":
            return _root_sign(options)
        if options.command == "entry":
            return _entry(options)
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


def _entry(options: argparse.Namespace) -> int:
    made = PublicKeyEntry(
        id=options.id,
        role=Role(options.role),
        public=options.public,
        may=tuple(options.may),
        zones=tuple(ZoneId(checked_id(zone, "zone")) for zone in options.zone),
        devices=tuple(DeviceId(checked_id(device, "device")) for device in options.device),
    )
    Keyring((made,))  # says what is wrong with it
    print(Keyring.dump((made,)), end="")
    return 0


def _root_sign(options: argparse.Namespace) -> int:
    entries = Keyring.read(options.keyring)
    Keyring(entries)  # says what is wrong with it
    roots = [SigningKey.load(path) for path in options.root]
    if not any(
        (key.id, key.role, key.public) == (r.key_id, Role.ROOT, r.public_text)
        for r in roots
        for key in entries
    ):
        raise ConfigError(f"{options.keyring}: none of its root keys signs here; no site would take it over")
    if options.version < 1 or not options.days > 0:
        raise ConfigError("--version counts from 1, and --days must be above 0")
    now_ms = SystemClock().utc_ms()
    update = KeyringUpdate(
        version=options.version,
        issued_ms=now_ms,
        expires_ms=now_ms + round(options.days * DAY_MS),
        keys=entries,
        sites=tuple(str(checked_id(site, "site id")) for site in options.site),
    )
    options.out.write_bytes(codec.encode(sign_update(update, *roots)))
    print(
        f"{options.out}: keyring version {update.version} with {len(entries)} keys, to be taken over within "
        f"{options.days:g} days"
    )
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
