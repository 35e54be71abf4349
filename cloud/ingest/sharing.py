"""Who listens to what when several ingest processes share the work.

Only telemetry is shared: its batches are numbered, so the ledger makes their order and their number of
deliveries meaningless. What has an order (presence, answers, events) or is kept by the broker (births; kept
messages never reach a shared subscription) goes to the first process, which is `minewarden cloud run`.
"""

import msgspec

from shared.errors import ConfigError
from shared.wire import topics

SHARED = f"$share/minewarden-ingest/{topics.ROOT}/+/up/t/+"
FIRST_ONLY = tuple(f"{topics.ROOT}/+/up/{rest}" for rest in ("birth", "state", "ev", "res/+", "get", "csr"))


class Subscriptions(msgspec.Struct, frozen=True, kw_only=True):
    """What one process subscribes to, and what its kept session may still hold from another setting."""

    topics: tuple[str, ...]
    dropped: tuple[str, ...]


ALONE = Subscriptions(topics=(topics.ALL_UP,), dropped=(SHARED, *FIRST_ONLY))


def subscriptions(worker: int, workers: int, *, sqlite: bool) -> Subscriptions:
    """Of worker `worker` (from 1) of `workers`; raises `ConfigError` where that cannot be."""
    if workers > 1 and sqlite:
        raise ConfigError(
            f"ingest_workers = {workers} needs PostgreSQL: SQLite has one writer, so more processes would "
            "only wait for each other; set database_url to postgresql://..., or ingest_workers to 1"
        )
    if worker > 1 and workers == 1:
        raise ConfigError("set ingest_workers to 2 or more first: `cloud run` has all the telemetry now")
    if not 1 <= worker <= workers:
        raise ConfigError(
            f"worker {worker} is not in 1..{workers}; ingest_workers in the configuration says how many "
            "there are"
        )
    if workers == 1:
        return ALONE
    if worker == 1:
        return Subscriptions(topics=(SHARED, *FIRST_ONLY), dropped=(topics.ALL_UP,))
    return Subscriptions(topics=(SHARED,), dropped=())
