"""Where the gateway keeps its identity: `<agent_state>/identity/`, mode 0700.

========================  ====================================================================================
`site.pem`                certificate and key in one file (0600), so that one rename replaces both
`ca.pem`                  what the broker is trusted by
`enrol.key`               key of an enrolment that a person has not decided yet
`next.key`                key of a renewal that was asked for
`next.pem`                the renewed pair, before the broker has taken it
========================  ====================================================================================

Every file is written beside its place, synced and renamed. A kill at any moment leaves `site.pem` as one
whole pair, the old one or the new one; what else lies there only means that a step is done again.
"""

import os
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from edge_agent.agent.identity.pair import Pair, key_pem, read_certificate, read_pair, read_private
from shared.errors import ConfigError, SecurityError
from shared.identity import authority_fingerprint

FOLDER: Final = "identity"
PAIR, CA = "site.pem", "ca.pem"
ENROL_KEY = "enrol.key"
NEXT_KEY, NEXT_PAIR = "next.key", "next.pem"


class IdentityFiles:
    """The folder. All writing of it is here."""

    def __init__(self, agent_state: Path) -> None:
        self.folder = agent_state / FOLDER

    @property
    def pair_file(self) -> Path:
        """What `uplink.cert_file` names; `uplink.key_file` stays away, the key is in the same file."""
        return self.folder / PAIR

    @property
    def ca_file(self) -> Path:
        """What `uplink.ca_file` names."""
        return self.folder / CA

    def pair(self, name: str = PAIR) -> Pair | None:
        """The pair in that file; None where there is none. Raises `SecurityError` for a damaged one."""
        data = self._read(name)
        try:
            return None if data is None else read_pair(data)
        except SecurityError as error:
            raise SecurityError(f"{self.folder / name}: {error}") from error

    def key(self, name: str) -> ec.EllipticCurvePrivateKey | None:
        """The key in that file; None where there is none. Raises `SecurityError` for a damaged one."""
        data = self._read(name)
        try:
            return None if data is None else read_private(data)
        except SecurityError as error:
            raise SecurityError(f"{self.folder / name}: {error}") from error

    def text(self, name: str) -> str | None:
        data = self._read(name)
        return None if data is None else data.decode(errors="replace")

    def ca_fingerprint(self) -> str:
        """The first authority's, as the cloud shows it to people; empty where there is none."""
        text = self.text(CA)
        return "" if text is None else authority_fingerprint(read_certificate(text))

    def keep_key(self, name: str, key: ec.EllipticCurvePrivateKey) -> None:
        self.write(name, key_pem(key))

    def adopt(self, pair: Pair, ca_pem: str) -> None:
        """Make this the site's pair, and this the authority that brokers are trusted by."""
        self.write(CA, ca_pem.encode())
        self.write(PAIR, pair.pem())

    def drop(self, *names: str) -> None:
        """Forget what a finished step no longer needs."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
        if self.folder.exists():
            self._sync()

    def write(self, name: str, data: bytes) -> None:
        """Whole or not at all, 0600 from the first byte on; raises `ConfigError` where that fails."""
        fresh = self.folder / f".{name}.new"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(self.folder / name)
            self._sync()
        except OSError as error:
            raise ConfigError(f"{self.folder / name}: cannot be written: {error.strerror}") from error

    def _read(self, name: str) -> bytes | None:
        path = self.folder / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error

    def _sync(self) -> None:
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
