"""Looks at every campaign again and again, and moves those that are due.

Everything it knows is in the database, so it may die at any moment: what was decided stands with the
signed assignments in one transaction, and what was not published yet is published at the next connect.
"""

import logging
from collections.abc import Callable

from cloud.kit.changes import Changes
from cloud.kit.database import Database
from cloud.kit.problems import Unavailable
from cloud.rollouts import renewal
from cloud.rollouts.approvals import service as approvals
from cloud.rollouts.campaigns import repository
from cloud.rollouts.campaigns.hands import Signer
from cloud.rollouts.campaigns.moves import Moves
from cloud.rollouts.publishing import AssignmentPublisher
from shared.clock import Clock

TICK_S = 2.0
RENEW_EVERY_S = 600.0
_log = logging.getLogger(__name__)


class CampaignWorker:
    """One per cloud; a second one on the same database only waits for the row locks."""

    def __init__(
        self,
        database: Database,
        signer: Signer,
        clock: Clock,
        publisher: AssignmentPublisher,
        *,
        on_changes: Callable[[Changes], None],
    ) -> None:
        self._database = database
        self._signer = signer
        self._clock = clock
        self._publisher = publisher
        self._on_changes = on_changes
        self._renew_due_s = clock.monotonic()

    async def run(self) -> None:
        """Work for ever; ends only by cancellation."""
        while True:
            await self._clock.sleep(TICK_S)
            try:
                await self.tick()
                if self._clock.monotonic() >= self._renew_due_s:
                    self._renew_due_s = self._clock.monotonic() + RENEW_EVERY_S
                    await self.renew()
            except Exception:  # noqa: BLE001 - supervisor: a database that is away comes back
                _log.exception("roll-outs cannot be looked at")

    async def tick(self) -> None:
        """Decide once on each campaign that may move, each in a transaction of its own."""
        now_ms = self._clock.utc_ms()
        async with self._database.read() as session:
            due = await repository.to_work_on(session, now_ms)
            overdue = await approvals.any_overdue(session, now_ms)
        if overdue:
            async with self._database.write() as session:
                await approvals.expire(session, now_ms)
        for campaign in due:
            try:
                await self._step(campaign)
            except Exception:  # noqa: BLE001 - supervisor: one campaign must not hold up the others
                _log.exception("roll-out %s cannot be moved", campaign)

    async def renew(self) -> int:
        """Sign anew what would end soon and still stands; how many."""
        now_ms, life_days = self._clock.utc_ms(), self._signer.life_days
        async with self._database.read() as session:
            if not (rows := await renewal.due(session, now_ms, life_days)):
                return 0
        async with self._database.write() as session:
            moves = Moves(session, self._signer, now_ms)
            renewed = await renewal.renew(session, rows, self._signer.key, now_ms=now_ms, life_days=life_days)
            moves.to_publish.extend(renewed)
        await publish(moves, self._publisher, self._on_changes)
        return len(moves.to_publish)

    async def _step(self, campaign: str) -> None:
        async with self._database.write() as session:
            moves = Moves(session, self._signer, self._clock.utc_ms())
            row = await repository.campaign(session, campaign, lock=True)
            if row is not None:
                await moves.step(row)
        await publish(moves, self._publisher, self._on_changes)


async def publish(
    moves: Moves, publisher: AssignmentPublisher, on_changes: Callable[[Changes], None]
) -> None:
    """After the commit: send what was assigned and show what changed; a broker that is away gets it later."""
    for row in moves.to_publish:
        try:
            await publisher.publish(row)
        except Unavailable as error:
            _log.warning("assignment %s of site %s waits for the broker: %s", row.counter, row.site, error)
            break  # the publisher sends the newest of every site once the broker is there
    if moves.changes:
        on_changes(moves.changes)
