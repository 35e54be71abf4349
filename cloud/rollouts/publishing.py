"""Puts assignments on the broker, and keeps them there: a broker that lost its memory gets them again."""

import asyncio
import logging

import msgspec

from cloud.kit.broker import Link
from cloud.kit.database import Database
from cloud.kit.problems import Unavailable
from cloud.rollouts import repository
from cloud.tables import AssignmentRow
from shared.artifacts.signing import Signed
from shared.clock import Clock
from shared.ids import SiteId
from shared.wire import codec, topics

RETRY_S = 5.0
_log = logging.getLogger(__name__)


class AssignmentPublisher:
    """Publishes the newest assignment of every site after each connect, and again until the broker has it."""

    def __init__(self, link: Link, database: Database, clock: Clock) -> None:
        self._link = link
        self._database = database
        self._clock = clock
        self._wake = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._newest: dict[str, int] = {}
        link.on_up = self._wake.set

    async def publish(self, row: AssignmentRow) -> None:
        """Publish one now; raises `Unavailable`, and then `run` tries again until the broker has it.

        One that is older than what went out already is left away: what stands retained must be the newest.
        """
        signed = msgspec.msgpack.decode(row.signed, type=Signed)
        async with self._one_at_a_time:
            if row.counter < self._newest.get(row.site, row.counter):
                return
            self._newest[row.site] = row.counter
            try:
                await self._link.send(topics.model(SiteId(row.site)), codec.encode(signed), retain=True)
            except Unavailable:
                self._wake.set()  # no answer in time is no disconnect: no connect would bring it out later
                raise

    async def run(self) -> None:
        """Publish again after each connect; ends only by cancellation."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                async with self._database.read() as session:
                    rows = await repository.newest_assignments(session)
                for row in rows:
                    await self.publish(row)
            except Unavailable as error:
                _log.warning("assignments are not published yet: %s", error)
                await self._clock.sleep(RETRY_S)
            except Exception:  # noqa: BLE001 - supervisor: a database that is away must not end this
                _log.exception("assignments cannot be read")
                await self._clock.sleep(RETRY_S)
                self._wake.set()
