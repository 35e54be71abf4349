"""Which keys count can change: a keyring signed by a root key replaces the one before it.

The root of trust is the keyring file that the site file names. A root key, kept offline, signs a whole new
keyring with a rising version; guardian and agent each verify it against the keys that *they* hold, store it
in their own folder, and from then on use it in place of the file. Three things follow from edge.md §6:

* An older keyring never comes back: the version is stored with it and only rises.
* Only a root key of the present keyring can replace the roots. A new root signs as well, which proves that
  somebody holds it; a keyring without a root would be the last one and is refused.
* `expires_ms` bounds when an update may be taken over, not how long its keys count: a site that is offline
  for a year must still know whom to trust.

Trust falls at once and rises late. What an update takes away stops counting as soon as a root's signature is
verified; what it adds counts once it is stored, and only if it came in time. So a full disk or a late
delivery never keeps a stolen key alive, and whoever replays an update that has run out wins no key by it:
only what a root had taken away by then can go. An update that came in time and could not be stored may be
stored later than `expires_ms`; the word of another process that it came in time does not count, because that
process may be the one that was taken over.

A person who writes another keyring *file* on the gateway starts anew from it (lost roots); the version stays,
so that an update from before cannot be replayed on top.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

import msgspec

from shared.artifacts.signing import Keyring, PublicKeyEntry, Purpose, Role, Signed, SigningKey
from shared.errors import ConfigError, SecurityError, StoreError
from shared.ids import SiteId

MAX_KEYS: Final = 256


class KeyringUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole keyring: keys that it does not name do not count any more. Times are UTC ms."""

    version: int
    issued_ms: int
    expires_ms: int
    keys: tuple[PublicKeyEntry, ...]
    sites: tuple[str, ...] = ()
    """Sites it is meant for; empty means every site that trusts the root."""


def sign_update(update: KeyringUpdate, *roots: SigningKey) -> Signed:
    """Sign with one root key or several: the old root and, where it changes, the new one."""
    payload = msgspec.msgpack.encode(update)
    signatures = tuple(s for root in roots for s in root.sign(Purpose.KEYRING, payload).signatures)
    return Signed(payload=payload, signatures=signatures)


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    base_sha256: str
    """SHA-256 of the keyring file that this update stands on."""
    version: int
    signed: Signed


class _Held(msgspec.Struct, frozen=True, kw_only=True):
    signed: Signed
    version: int
    in_time: bool
    """It came before `expires_ms`, and only the disk stood against it."""


class _File(msgspec.Struct, frozen=True):
    sha256: str
    body: bytes


class TrustedKeys(Keyring):
    """The keys that this process trusts now. Handed out once; an update changes it for every holder.

    Not for several processes: each has its own `path`, in a folder that only it writes.
    """

    def __init__(self, base: Path, path: Path, site: SiteId) -> None:
        """Read the keyring file and the update kept on top of it; raises `ConfigError` for a bad file.

        A kept update that is damaged leaves only the file's root keys: what had been removed must not
        count again because a disk forgot it. The next delivery of an update that has not run out heals it.
        """
        entries = Keyring.read(base)
        super().__init__(entries)
        self.version = 0
        self.newest: Signed | None = None
        """The update in force, for whoever must pass it on."""
        self.damaged = False
        self.changes = 0
        """Times that the keys in force changed since the start."""
        self._held: _Held | None = None
        self._path = path
        self._site = site
        self._base_sha256 = hashlib.sha256(Keyring.dump(entries).encode()).hexdigest()
        self._recall(entries)

    def _recall(self, base: tuple[PublicKeyEntry, ...]) -> None:
        try:
            kept = _unsealed(self._path.read_bytes())
            update = msgspec.msgpack.decode(kept.signed.payload, type=KeyringUpdate)
            self.version = kept.version
            if kept.base_sha256 == self._base_sha256:
                self._trust(update.keys)
                self.newest = kept.signed
        except FileNotFoundError:
            return
        except (OSError, ValueError, ConfigError):
            # msgspec's decode errors and bad UTF-8 are ValueErrors
            self.damaged = True
            self._trust(tuple(key for key in base if key.role is Role.ROOT))

    @property
    def held(self) -> Signed | None:
        """An update of a root that came too late or could not be stored: `take` it again, both may end."""
        return None if self._held is None else self._held.signed

    @property
    def count(self) -> int:
        """How many keys count now."""
        return len(self._keys)

    def take(self, signed: Signed, *, now_ms: int) -> KeyringUpdate | None:
        """Verify an update, store it, and use it from now on; None where it is the one in force already.

        Raises `SecurityError` with the reason of a refusal and `StoreError` where it cannot be kept. The
        present keys count on after either, but for those that a `held` update takes away.
        """
        if self.newest is not None and signed.payload == self.newest.payload:
            return None
        update = self._verified(signed)
        known = self._held is not None and self._held.signed.payload == signed.payload and self._held.in_time
        in_time = known or now_ms < update.expires_ms
        if not in_time:
            self._hold(signed, update, in_time=False)
            raise SecurityError(f"keyring version {update.version} had to be taken over earlier: expired")
        body = msgspec.msgpack.encode(
            _Kept(base_sha256=self._base_sha256, version=update.version, signed=signed)
        )
        file = _File(hashlib.sha256(body).hexdigest(), body)
        try:
            _replace(self._path, msgspec.msgpack.encode(file))
        except StoreError:
            self._hold(signed, update, in_time=True)
            raise
        self._trust(update.keys)
        self.changes += 1
        self.version, self.newest, self.damaged, self._held = update.version, signed, False, None
        return update

    def _hold(self, signed: Signed, update: KeyringUpdate, *, in_time: bool) -> None:
        """Let go of the keys that it takes away. Roots stay: without them it could not be verified again."""
        self._held = _Held(signed=signed, version=update.version, in_time=in_time)
        present = tuple(entry for entry, _ in self._keys.values())
        stay = tuple(entry for entry in present if entry.role is Role.ROOT or entry in update.keys)
        if len(stay) < len(present):
            self._trust(stay)
            self.changes += 1

    def _verified(self, signed: Signed) -> KeyringUpdate:
        """All but the time; raises `SecurityError`."""
        self.verify(Purpose.KEYRING, signed, Role.ROOT)
        try:
            update = msgspec.msgpack.decode(signed.payload, type=KeyringUpdate)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SecurityError(f"signed keyring does not decode: {error}") from error
        if update.version <= self.version:
            raise SecurityError(f"keyring version {update.version} is not above {self.version}: replayed")
        held = self._held
        if held is not None and update.version <= held.version and signed.payload != held.signed.payload:
            raise SecurityError(
                f"keyring version {update.version} is not above {held.version}, which waits: replayed"
            )
        if update.sites and self._site not in update.sites:
            raise SecurityError(f"keyring version {update.version} is not meant for site {self._site!r}")
        if len(update.keys) > MAX_KEYS:
            raise SecurityError(f"keyring has {len(update.keys)} keys, allowed are {MAX_KEYS}")
        try:
            keys = Keyring(update.keys)
        except ConfigError as error:
            raise SecurityError(f"keyring version {update.version}: {error}") from error
        if not any(key.role is Role.ROOT for key in update.keys):
            raise SecurityError(f"keyring version {update.version} has no root key and would be the last")
        try:
            keys.verify(Purpose.KEYRING, signed, Role.ROOT)
        except SecurityError as error:
            raise SecurityError(f"no root of keyring version {update.version} signed it: {error}") from error
        return update


def _unsealed(data: bytes) -> _Kept:
    """Raises `ValueError` for damaged bytes."""
    file = msgspec.msgpack.decode(data, type=_File)
    if hashlib.sha256(file.body).hexdigest() != file.sha256:
        raise ValueError("hash does not match")
    return msgspec.msgpack.decode(file.body, type=_Kept)


def _replace(path: Path, data: bytes) -> None:
    """The old file or the new one, whatever happens in between; durable on return."""
    beside = path.with_name(path.name + ".new")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from error
