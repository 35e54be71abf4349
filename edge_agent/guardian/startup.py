"""What must hold before a guardian starts: it is the only one, and it has every credential it needs."""

import fcntl
from pathlib import Path

from edge_agent.config import SiteFile
from edge_agent.guardian.storage.credentials import CredentialStore, read_key
from firmware_adapters.capabilities import Credential
from shared.errors import ConfigError


class OnlyOne:
    """Two guardians of one site would fight over its devices."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise ConfigError(f"{path}: another guardian of this site is running") from error

    def close(self) -> None:
        self._file.close()


def credentials_of(site: SiteFile, state: Path) -> dict[str, Credential]:
    """The credentials that the site file names. Raises `ConfigError` naming each that is missing."""
    wanted = {entry.credential for entry in site.devices if entry.credential is not None}
    if not wanted:
        return {}
    found = CredentialStore(state, read_key(Path(site.paths.credentials_key))).all()
    missing = sorted(wanted - set(found))
    if missing:
        raise ConfigError(
            f"credentials {', '.join(missing)} are not stored; "
            "'minewarden guardian credential set NAME' adds one"
        )
    return found
