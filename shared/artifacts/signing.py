"""Ed25519 signatures over exact bytes, with a role for each key.

What is signed is the payload as transported, under a purpose prefix, so nothing needs a canonical
re-encoding and a signature for one purpose never passes for another. Roles (contracts, Keys): `command`
and `assignment` are online, `release` blesses model versions, `operator` keys belong to persons, `control`
keys to third parties that may send commands, and `root` keys, kept offline, sign which other keys count.
"""

import base64
import hashlib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.commands import ACTION_WORDS, ORDER_WORDS
from shared.errors import ConfigError, SecurityError
from shared.ids import DeviceId, ZoneId

MAY_WORDS = (ORDER_WORDS | ACTION_WORDS) - {"reset-trip", "preview"}
"""What a third party's key may be allowed: never a reset; a preview of what it may do is always allowed."""


class Role(StrEnum):
    """What a key may sign."""

    COMMAND = "command"
    ASSIGNMENT = "assignment"
    RELEASE = "release"
    OPERATOR = "operator"
    CONTROL = "control"
    ROOT = "root"


class Purpose(StrEnum):
    """What a signature is about; part of what is signed."""

    COMMAND = "command"
    ASSIGNMENT = "assignment"
    MANIFEST = "manifest"
    KEYRING = "keyring"


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """One key's signature."""

    key_id: str
    value: bytes


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """Exact payload bytes with signatures over them."""

    payload: bytes
    signatures: tuple[Signature, ...]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over payload and signatures: names this message, whatever id it claims inside."""
        return hashlib.sha256(msgspec.msgpack.encode(self)).hexdigest()


def _message(purpose: Purpose, payload: bytes) -> bytes:
    return b"minewarden/1/" + purpose.value.encode() + b"\x00" + payload


class SigningKey:
    """A private key with its id. Never logged, never encoded by msgspec."""

    def __init__(self, key_id: str, private: Ed25519PrivateKey) -> None:
        self.key_id = key_id
        self._private = private

    @classmethod
    def generate(cls, key_id: str) -> "SigningKey":
        return cls(key_id, Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> "SigningKey":
        """Read `<key id> <base64 seed>` from a file; raises `ConfigError`."""
        try:
            key_id, seed = path.read_text().split()
            return cls(key_id, Ed25519PrivateKey.from_private_bytes(base64.b64decode(seed, validate=True)))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{path}: not a signing key; make one with 'minewarden keys new' ({error})"
            ) from error

    def save(self, path: Path) -> None:
        """Write the key, readable by its owner only."""
        path.touch(mode=0o600)
        path.write_text(f"{self.key_id} {base64.b64encode(self._private.private_bytes_raw()).decode()}\n")

    @property
    def public_text(self) -> str:
        """The public half as base64."""
        return base64.b64encode(self._private.public_key().public_bytes_raw()).decode()

    def sign(self, purpose: Purpose, payload: bytes) -> Signed:
        return Signed(
            payload=payload,
            signatures=(Signature(key_id=self.key_id, value=self._private.sign(_message(purpose, payload))),),
        )

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id!r}, *****)"


class PublicKeyEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of a keyring file.

    The last three limit a `control` key and are for such keys only. `may` names orders (`curtail`) and
    actions (`set-preset`; `actions` stands for all of them); what is not named is refused, so without it the
    key may nothing. `zones` and `devices` narrow it further: with either, only these are within reach, and
    orders that touch the whole site are not.
    """

    id: str
    role: Role
    public: str
    may: tuple[str, ...] = ()
    zones: tuple[ZoneId, ...] = ()
    devices: tuple[DeviceId, ...] = ()


def _check_limits(entry: PublicKeyEntry) -> None:
    limited = bool(entry.may or entry.zones or entry.devices)
    if limited and entry.role is not Role.CONTROL:
        raise ConfigError(f"key {entry.id!r}: may, zones and devices are for the role 'control' only")
    unknown = sorted(set(entry.may) - MAY_WORDS)
    if unknown:
        raise ConfigError(
            f"key {entry.id!r}: may names {', '.join(unknown)}, known are {', '.join(sorted(MAY_WORDS))}"
        )


def _block(entry: PublicKeyEntry) -> str:
    lines = ["[[keys]]", f'id = "{entry.id}"', f'role = "{entry.role}"', f'public = "{entry.public}"']
    limits = {"may": entry.may, "zones": entry.zones, "devices": entry.devices}
    lines += [f"{name} = {msgspec.json.encode(words).decode()}" for name, words in limits.items() if words]
    return "\n".join(lines) + "\n"


class _KeyringFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: tuple[PublicKeyEntry, ...]


class Keyring:
    """The public keys that a process trusts, each for one role."""

    def __init__(self, entries: tuple[PublicKeyEntry, ...]) -> None:
        self._trust(entries)

    def _trust(self, entries: tuple[PublicKeyEntry, ...]) -> None:
        """Trust these keys and no others; raises `ConfigError` and then changes nothing."""
        keys: dict[str, tuple[PublicKeyEntry, Ed25519PublicKey]] = {}
        for entry in entries:
            _check_limits(entry)
            try:
                public = Ed25519PublicKey.from_public_bytes(base64.b64decode(entry.public, validate=True))
            except ValueError as error:
                raise ConfigError(f"key {entry.id!r}: not a base64 Ed25519 public key") from error
            if entry.id in keys:
                raise ConfigError(f"key {entry.id!r} is listed twice")
            keys[entry.id] = (entry, public)
        self._keys: Mapping[str, tuple[PublicKeyEntry, Ed25519PublicKey]] = MappingProxyType(keys)

    def entry(self, key_id: str) -> PublicKeyEntry | None:
        """What is known of a key, limits included; None where it is not in the ring."""
        known = self._keys.get(key_id)
        return None if known is None else known[0]

    @classmethod
    def load(cls, path: Path) -> "Keyring":
        """Read a keyring file (`[[keys]] id, role, public`); raises `ConfigError`."""
        return cls(cls.read(path))

    @staticmethod
    def read(path: Path) -> tuple[PublicKeyEntry, ...]:
        """The lines of a keyring file; raises `ConfigError`."""
        try:
            return msgspec.toml.decode(path.read_bytes(), type=_KeyringFile).keys
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from error

    @staticmethod
    def dump(entries: tuple[PublicKeyEntry, ...]) -> str:
        """A keyring file's text."""
        return "\n".join(_block(entry) for entry in entries)

    def verify(self, purpose: Purpose, signed: Signed, role: Role) -> str:
        """Check that a known key of `role` signed these bytes; returns its id, raises `SecurityError`."""
        for signature in signed.signatures:
            known = self._keys.get(signature.key_id)
            if known is None or known[0].role is not role:
                continue
            try:
                known[1].verify(signature.value, _message(purpose, signed.payload))
            except InvalidSignature:
                raise SecurityError(f"signature of key {signature.key_id!r} does not match") from None
            return signature.key_id
        names = ", ".join(signature.key_id for signature in signed.signatures) or "nobody"
        raise SecurityError(f"signed by {names}, but a key with the role {role.value!r} is needed")
