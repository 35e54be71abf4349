"""What this cloud needs to issue certificates, made once at start: authority, limits, broker, renewals."""

import asyncio
import logging
from pathlib import Path
from typing import Final

from cloud.config import CloudConfig, IdentitySettings
from cloud.identity import service
from cloud.identity.authority import Authority
from cloud.identity.broker import BrokerKeeper, TakeOver
from cloud.ingest.decoding import Renewal
from cloud.kit.broker import Link
from cloud.kit.database import Database
from cloud.kit.problems import Conflict, TooMany, Unavailable
from shared.clock import Clock
from shared.errors import SecurityError
from shared.wire import codec, topics
from shared.wire.envelope import Certificate

BURST: Final = 20
REFILL_S: Final = 6.0
"""Enrolments are asked for by strangers: twenty at once, then one every six seconds, for all together."""
_MAX_QUEUE: Final = 256
_log = logging.getLogger(__name__)


class Bucket:
    """A token bucket over the monotonic clock."""

    def __init__(self, clock: Clock, *, burst: int = BURST, refill_s: float = REFILL_S) -> None:
        self._clock = clock
        self._burst = burst
        self._refill_s = refill_s
        self._full_at_s = clock.monotonic()

    def take(self) -> None:
        """Count one; raises `TooMany`."""
        now_s = self._clock.monotonic()
        full_at_s = max(self._full_at_s, now_s) + self._refill_s
        if full_at_s - now_s > self._burst * self._refill_s:
            raise TooMany("too many enrolments were asked for; try again in a minute")
        self._full_at_s = full_at_s


class Registrar:
    """`authority` is None where this cloud issues no certificates; then nothing else here does anything."""

    def __init__(self, config: CloudConfig, database: Database, clock: Clock, link: Link) -> None:
        """Raises `ConfigError` where the authority's files cannot be used."""
        settings = config.identity
        self._settings = settings
        self._database = database
        self._clock = clock
        self._link = link
        # A broker without TLS knows nobody; what it says a site has asked for may come from anyone.
        self._trusts_broker = config.broker.ca_file is not None
        self._queue: asyncio.Queue[Renewal] = asyncio.Queue(_MAX_QUEUE)
        self.bucket = Bucket(clock)
        self.renewals = 0
        self.refused_renewals = 0
        self.authority: Authority | None = None
        self.broker: BrokerKeeper | None = None
        if settings is not None:
            self.authority = Authority.load(Path(settings.ca_cert), Path(settings.ca_key))
            self.broker = BrokerKeeper(settings, self.authority, database, clock, TakeOver(config.broker))

    def must(self) -> tuple[Authority, IdentitySettings]:
        """The authority and its settings; raises `Conflict` where this cloud has none."""
        if self.authority is None or self._settings is None:
            raise Conflict(
                "this cloud issues no certificates: its configuration has no [identity] (docs/install.md)"
            )
        return self.authority, self._settings

    def poke(self) -> None:
        """A certificate was made or revoked; the broker must hear of it."""
        if self.broker is not None:
            self.broker.poke()

    def ask(self, renewal: Renewal) -> None:
        """Take a site's request; dropped where too many wait, because the site asks again."""
        if self._queue.full():
            _log.warning("certificate request of site %s is dropped: too many wait", renewal.site)
            return
        self._queue.put_nowait(renewal)

    async def run(self) -> None:
        """Keep the broker in step and answer renewals; ends only by cancellation."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew())
            if self.broker is not None:
                group.create_task(self.broker.run())

    async def _renew(self) -> None:
        while True:
            renewal = await self._queue.get()
            try:
                await self.serve(renewal)
            except (SecurityError, Conflict) as error:
                self.refused_renewals += 1
                _log.warning("certificate request of site %s is refused: %s", renewal.site, error)
            except Unavailable as error:
                _log.warning("certificate of site %s could not be sent: %s", renewal.site, error)
            except Exception:  # noqa: BLE001 - supervisor: one bad request must not end the answers to others
                _log.exception("certificate request of site %s", renewal.site)

    async def serve(self, renewal: Renewal) -> None:
        """Answer one request; raises `SecurityError`, `Conflict` or `Unavailable`."""
        authority, settings = self.must()
        if not self._trusts_broker:
            raise SecurityError("the broker is reached without TLS, so it does not know who asks")
        async with self._database.write() as session:
            row = await service.renew(
                session,
                renewal.site,
                renewal.request.request_pem,
                renewal.request.proof,
                authority,
                self._clock.utc_ms(),
                days=settings.site_days,
            )
        self.renewals += 1
        answer = Certificate(certificate_pem=row.pem, ca_pem=authority.pem)
        await self._link.send(topics.certificate(renewal.site), codec.encode(answer))
        _log.info("site %s has its next certificate, serial %s", renewal.site, row.serial)
