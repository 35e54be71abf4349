"""Tables of the agent's store and how they came about, as sqlite-utils migrations.

`rollup` holds one row per step (all devices, one deflated body: a row per device would cost its natural
key on flash each time), `outbox` one row per batch that the cloud has not confirmed, `ledger` what was ever
recorded per (epoch, stream), `meta` small values that must change together with rows (cursors, counters).
"""

import sqlite3

from sqlite_utils import Database, Migrations

migrations = Migrations("minewarden-store")


@migrations(name="0001-first")
def _first(db: Database) -> None:
    db.table("meta").create({"key": str, "value": bytes}, pk="key", not_null={"value"})
    db.table("rollup").create(
        {"id": int, "at_ms": int, "step_s": int, "count": int, "body": bytes},
        pk="id",
        not_null={"at_ms", "step_s", "count", "body"},
    ).create_index(["at_ms"])
    outbox = db.table("outbox").create(
        {
            "id": int,
            "epoch": str,
            "stream": str,
            "seq": int,
            "priority": int,
            "tombstone": int,
            "first_seq": int,
            "last_seq": int,
            "from_ms": int,
            "to_ms": int,
            "count": int,
            "body": bytes,
        },
        pk="id",
        not_null={
            "epoch",
            "stream",
            "seq",
            "priority",
            "tombstone",
            "first_seq",
            "last_seq",
            "from_ms",
            "to_ms",
            "count",
            "body",
        },
    )
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


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a connection's file to the newest schema; each migration is one transaction."""
    migrations.apply(Database(connection, recursive_triggers=False, execute_plugins=False))
