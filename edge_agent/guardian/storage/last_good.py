"""The site file, or the last good copy of it (S20).

A file that was edited badly must not leave a site without its guardian after the next power cut: the guardian
then starts with the copy that it ran on last, in SAFE, with an urgent alarm, and says which line is wrong.
The copy lies in the guardian's own folder, where nobody else can write.
"""

import hashlib
import logging
from pathlib import Path

import msgspec

from edge_agent import config
from edge_agent.config import SiteFile
from edge_agent.guardian.storage import durable
from shared.errors import ConfigError, StoreError

log = logging.getLogger(__name__)

NAME = "site.last-good.toml"


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A site file to run on. `bad` says what is wrong with the present one, where a copy stands in."""

    site: SiteFile
    sha256: str
    bad: str | None = None


def load(path: Path, folder: Path | None) -> Loaded:
    """The site file, or the copy in `folder` where the file cannot be used.

    Raises `ConfigError` with the words of the present file where there is no copy (or no folder).
    """
    try:
        site = config.load(path)
        return Loaded(site=site, sha256=_sha256(path.read_bytes()))
    except ConfigError as error:
        copy = None if folder is None else folder / NAME
        if copy is None or not copy.exists():
            raise
        text = copy.read_text()
        log.error("%s; running on the last good copy", error)  # noqa: TRY400 - the text says it all
        return Loaded(site=config.parse(text, path), sha256=_sha256(text.encode()), bad=str(error))


def keep(path: Path, folder: Path) -> None:
    """Note that the site file at `path` is one that the guardian runs on. Logs where the disk refuses."""
    try:
        durable.replace(folder / NAME, path.read_bytes())
    except (OSError, StoreError) as error:
        log.warning("no copy of the site file is kept: %s", error)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
