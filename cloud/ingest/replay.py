"""Use a quarantined message after all: after an upgrade that knows its columns, or a repaired clock.

The message takes the way of any other and leaves the quarantine in the same transaction. A batch whose number
the ledger holds as taken over in quarantine counts as received from then on.
"""

from sqlalchemy.exc import StatementError

from cloud.ingest import quarantine
from cloud.ingest.committer import Committed, Committer
from cloud.ingest.decoding import Answer, Batched, Born, Decoded, GivenUp, Refused, decode
from cloud.kit.database import Database
from cloud.kit.problems import Conflict, NotFound
from shared.clock import Clock


async def replay(database: Database, committer: Committer, clock: Clock, number: int) -> Committed:
    """Commit the message; raises `NotFound`, and `Conflict` with the reason why it still cannot be used."""
    async with database.read() as session:
        row = await quarantine.one(session, number)
    if row is None:
        raise NotFound(f"there is no message {number} in the quarantine")
    if row.size != len(row.payload):
        raise Conflict(
            f"only the first {len(row.payload)} of {row.size} bytes were kept, because nobody was told to "
            "forget them; the site sends the message again"
        )
    message = decode(row.topic, row.payload, now_ms=clock.utc_ms(), retained=True)
    if isinstance(message, Refused):
        async with database.write() as session:
            await quarantine.still_refused(session, number, message.reason)
        raise Conflict(f"still not usable: {message.reason}")
    if not isinstance(message, Batched | GivenUp | Born | Answer):
        raise Conflict("what this message says was true at its moment only; there is nothing to store")
    return await _commit(committer, message, number)


async def _commit(committer: Committer, message: Decoded, number: int) -> Committed:
    try:
        return await committer.redeem(message, number)
    except (StatementError, ValueError, TypeError, OverflowError) as error:
        raise Conflict(f"the database still refuses it: {type(error).__name__}: {error}") from error
