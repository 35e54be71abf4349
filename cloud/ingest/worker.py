"""`minewarden cloud ingest`: one more process that takes telemetry off the broker, beside `cloud run`.

It has no API and no memory of its own: what it was doing when it died is sent again by the sites, because
nobody acknowledged it, and goes to whoever is there.
"""

import asyncio
import logging
import signal

import msgspec

from cloud.config import CloudConfig
from cloud.ingest.committer import Committer
from cloud.ingest.service import WINDOW, Ingest
from cloud.ingest.sharing import subscriptions
from cloud.kit.broker import Link, ingest_login
from cloud.kit.database import Database
from cloud.migrations import runner
from cloud.timeseries.choose import open_store
from shared.clock import Clock

_log = logging.getLogger(__name__)


async def serve(config: CloudConfig, database: Database, clock: Clock, worker: int) -> None:
    """Run until SIGTERM or SIGINT; raises `ConfigError` where this worker cannot be."""
    listens = subscriptions(worker, config.ingest_workers, sqlite=database.is_sqlite)
    await runner.upgrade(database)
    login = msgspec.structs.replace(ingest_login(config.broker), role=f"ingest-{worker}")
    # No session is kept: a worker that never comes back must not hold its share of the messages.
    link = Link(config.broker, login, window=WINDOW)
    ingest = Ingest(
        link,
        Committer(database, await open_store(database), clock),
        clock,
        on_changes=lambda _changes: None,
        on_wanted=lambda _wanted: None,
    )
    ingest.start(listens)
    task = asyncio.create_task(ingest.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    _log.info("ingest worker %s of %s", worker, config.ingest_workers)
    try:
        await task
    except asyncio.CancelledError:
        _log.info("ingest worker %s ends: %s rows", worker, ingest.counters.new_rows)
    finally:
        await link.stop()
