"""Columns of the store's tables in the order in which lines are copied from one file to another."""

from typing import Final

LEDGER_COLUMNS: Final = (
    "epoch",
    "stream",
    "opened_ms",
    "rows",
    "batches",
    "published",
    "acked",
    "dropped_rows",
    "sent",
)
META_COLUMNS: Final = ("key", "value")
BATCH_COLUMNS: Final = (
    "id",
    "epoch",
    "stream",
    "seq",
    "priority",
    "tombstone",
    "of_epoch",
    "first_seq",
    "last_seq",
    "from_ms",
    "to_ms",
    "count",
    "body",
    "step_s",
)
ROLLUP_COLUMNS: Final = ("id", "at_ms", "step_s", "count", "body")
