"""Keyrings that sites are to take over: kept here, and put on the broker again when it lost its memory.

The cloud cannot check one for a site, and need not: every gateway verifies it against the roots that it
holds.
"""

import hashlib
import logging
from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.broker import Link
from cloud.kit.database import Database
from cloud.kit.problems import Unavailable
from cloud.tables import KeyringRow, SiteRow
from shared.artifacts.keyring_update import KeyringUpdate
from shared.artifacts.signing import Signed
from shared.clock import Clock
from shared.errors import ConfigError
from shared.ids import SiteId
from shared.wire import codec, topics

LOOK_S: Final = 10.0
"""How soon a site that is new, or a broker that came back, gets what it should have."""
_log = logging.getLogger(__name__)


async def keep(
    session: AsyncSession, signed: Signed, update: KeyringUpdate, sites: Sequence[str], now_ms: int
) -> None:
    """Store a keyring for these sites, for all where none is named; the same one again adds the sites.

    Raises `ConfigError` where one of them has a newer one already: it would refuse this one as a replay.
    """
    sha256 = hashlib.sha256(signed.payload).hexdigest()
    targets, same = frozenset(sites), None
    for row in await session.scalars(select(KeyringRow).order_by(KeyringRow.row).with_for_update()):
        if row.sha256 == sha256:
            same = row
        elif row.version >= update.version and (not row.sites or not targets or targets & set(row.sites)):
            whom = ", ".join(row.sites) or "every site"
            raise ConfigError(
                f"version {update.version} is not above version {row.version}, which is kept for {whom}; "
                "nothing was published"
            )
    if same is not None:
        targets = targets | set(same.sites) if targets and same.sites else frozenset()
        same.sites, same.signed = sorted(targets), codec.encode(signed)
    else:
        session.add(
            KeyringRow(
                version=update.version,
                sha256=sha256,
                sites=sorted(targets),
                stored_ms=now_ms,
                signed=codec.encode(signed),
            )
        )
    await _drop_covered(session, update.version, targets)


async def _drop_covered(session: AsyncSession, version: int, targets: frozenset[str]) -> None:
    """Forget the older ones that no site would get any more."""
    found = await session.execute(
        select(KeyringRow.row, KeyringRow.sites).where(KeyringRow.version < version)
    )
    covered = [row for row, sites in found if not targets or (sites and targets.issuperset(sites))]
    await session.execute(delete(KeyringRow).where(KeyringRow.row.in_(covered)))


async def newest(session: AsyncSession) -> dict[str, KeyringRow]:
    """For each known site the highest version that is kept for it; sites without one are left out."""
    rows = list(await session.scalars(select(KeyringRow).order_by(KeyringRow.version, KeyringRow.row)))
    if not rows:
        return {}
    found: dict[str, KeyringRow] = {}
    for site in await session.scalars(select(SiteRow.id).order_by(SiteRow.id)):
        for row in rows:
            if not row.sites or site in row.sites:
                found[site] = row
    return found


class KeyringPublisher:
    """Publishes each site's keyring after each connect, to new sites, and again until the broker has it."""

    def __init__(self, link: Link, database: Database, clock: Clock) -> None:
        self._link = link
        self._database = database
        self._clock = clock
        self._generation = link.generation
        self._published: dict[str, str] = {}
        """Site → payload that this connection brought to the broker."""

    async def run(self) -> None:
        """Look again and again; ends only by cancellation."""
        while True:
            try:
                await self.look()
            except Unavailable as error:
                _log.warning("keyrings are not published yet: %s", error)
            except Exception:  # noqa: BLE001 - supervisor: a database that is away must not end this
                _log.exception("keyrings cannot be read")
            await self._clock.sleep(LOOK_S)

    async def look(self) -> None:
        """Publish what this connection has not brought yet; raises `Unavailable`."""
        if not self._link.is_up:
            return
        if self._link.generation != self._generation:  # another connection, perhaps another broker's memory
            self._generation = self._link.generation
            self._published.clear()
        async with self._database.read() as session:
            rows = await newest(session)
        for site, row in rows.items():
            if self._published.get(site) != row.sha256:
                await self._link.send(topics.keyring(SiteId(site)), row.signed, retain=True)
                self._published[site] = row.sha256
