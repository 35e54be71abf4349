"""The guardian's encrypted store of device credentials (S02): the site file holds names only.

One file, ChaCha20-Poly1305 under the key in `paths.credentials_key` (systemd: LoadCredential), folder
0700, file 0600. Nothing here is ever logged, and a `Credential` does not print its secret.
"""

import base64
import os
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from edge_agent.guardian.storage import durable
from firmware_adapters.capabilities import Credential
from shared.errors import ConfigError, StoreError

FILE_NAME = "credentials.bin"
_AAD = b"minewarden/credentials/1"
_NONCE_BYTES = 12
_KEY_BYTES = 32


def new_key(path: Path) -> None:
    """Make a master key, readable by its owner only. Raises `StoreError`; never replaces one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(os.urandom(_KEY_BYTES)) + b"\n")
    except OSError as error:
        raise StoreError(f"{path}: the master key cannot be made: {error.strerror}") from error


def read_key(path: Path) -> bytes:
    """The master key. Raises `ConfigError` where it is missing, malformed or readable by others."""
    try:
        if path.stat().st_mode & 0o007:
            raise ConfigError(f"{path}: the master key is readable by everybody; chmod 0600 it")
        data = path.read_bytes()
        # A key may stand there as it is (systemd-creds, dd) or as one line of base64 (ours).
        key = data if len(data) == _KEY_BYTES else base64.b64decode(data.strip(), validate=True)
    except OSError as error:
        raise ConfigError(
            f"{path}: no master key ({error.strerror}); 'minewarden guardian credential set' makes one"
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"{path}: not a master key, expected {_KEY_BYTES} bytes, plain or as base64"
        ) from error
    if len(key) != _KEY_BYTES:
        raise ConfigError(f"{path}: not a master key, expected {_KEY_BYTES} bytes, plain or as base64")
    return key


class CredentialStore:
    """Name → user and secret. Small: read whole, written whole."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self._path = folder / FILE_NAME
        self._cipher = ChaCha20Poly1305(key)

    def all(self) -> dict[str, Credential]:
        """Everything that is stored. Raises `ConfigError` where the key is not the one that sealed it."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be read: {error.strerror}") from error
        try:
            plain = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _AAD)
        except (InvalidTag, ValueError) as error:
            raise ConfigError(f"{self._path}: damaged, or sealed with another master key") from error
        return msgspec.msgpack.decode(plain, type=dict[str, Credential])

    def set(self, name: str, credential: Credential) -> None:
        """Add or replace one. Raises `StoreError`, `ConfigError`."""
        entries = {**self.all(), name: credential}
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, msgspec.msgpack.encode(entries), _AAD)
        durable.private_folder(self._path.parent)
        durable.replace(self._path, nonce + sealed, mode=0o600)
