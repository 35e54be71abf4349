"""Tables of the agent's store and how they came about, as sqlite-utils migrations.

`rollup` holds one row per step (all devices, one deflated body: a row per device would cost its natural
key on flash each time), `outbox` one row per batch that the cloud has not confirmed, `ledger` what was ever
recorded per (epoch, stream), `meta` small values that must change together with rows (cursors, counters).

In `outbox`, (`epoch`, `seq`) is the batch's own number and (`of_epoch`, `first_seq`..`last_seq`) what it
stands for: itself, or what a tombstone gives up. `step_s` is the shortest step of a telemetry batch, 0
elsewhere.
"""

import sqlite3

from sqlite_utils import Database, Migrations

from edge_agent.agent.store.rows import priority_of
from shared.wire.topics import EVENT_STREAM, SCORE_STREAM, TELEMETRY_STREAM

migrations = Migrations("minewarden-store")


@migrations(name="0001-first")
def _first(db: Database) -> None:
    db.table("meta").create({"key": str, "value": bytes}, pk="key", not_null={"value"})
    db.table("rollup").create(
        {"id": int, "at_ms": int, "step_s": int, "count": int, "body": bytes},
        pk="id",
        not_null={"at_ms", "step_s", "count", "body"},
    ).create_index(["at_ms"])
    # AUTOINCREMENT, which sqlite-utils has no word for: without it the id of a deleted row is given out
    # again, and a lane that has already passed that id would never send the new batch.
    db.execute(
        "CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, epoch TEXT NOT NULL, "
        "stream TEXT NOT NULL, seq INTEGER NOT NULL, priority INTEGER NOT NULL, tombstone INTEGER NOT NULL, "
        "first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, from_ms INTEGER NOT NULL, "
        "to_ms INTEGER NOT NULL, count INTEGER NOT NULL, body BLOB NOT NULL)"
    )
    outbox = db.table("outbox")
    outbox.create_index(["epoch", "stream", "seq"], unique=True)
    outbox.create_index(["priority", "id"])
    db.table("ledger").create(
        {
            "epoch": str,
            "stream": str,
            "opened_ms": int,
            "rows": int,
            "batches": int,
            "published": int,
            "acked": int,
            "dropped_rows": int,
        },
        pk=("epoch", "stream"),
        not_null={"opened_ms", "rows", "batches", "published", "acked", "dropped_rows"},
    )


@migrations(name="0002-thinning")
def _thinning(db: Database) -> None:
    db.execute("ALTER TABLE outbox ADD COLUMN of_epoch TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE outbox ADD COLUMN step_s INTEGER NOT NULL DEFAULT 0")
    db.execute("UPDATE outbox SET of_epoch = epoch")
    for stream in (SCORE_STREAM, TELEMETRY_STREAM, EVENT_STREAM):
        db.execute("UPDATE outbox SET priority = ? WHERE stream = ?", (priority_of(stream), stream))


@migrations(name="0003-sent")
def _sent(db: Database) -> None:
    # Which numbers were handed out, as intervals: what may be on its way is known over a restart as well.
    db.execute("ALTER TABLE ledger ADD COLUMN sent BLOB NOT NULL DEFAULT x''")


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a connection's file to the newest schema; each migration is one transaction."""
    migrations.apply(Database(connection, recursive_triggers=False, execute_plugins=False))
