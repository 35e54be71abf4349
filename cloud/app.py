"""The cloud's process: its parts, how they start and end, and the web application over them."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

import cloud.alarms.endpoints
import cloud.commands.endpoints
import cloud.devices.endpoints
import cloud.events.endpoints
import cloud.health.endpoints
import cloud.history.endpoints
import cloud.identity.endpoints
import cloud.ingest.endpoints
import cloud.live.endpoints
import cloud.models.endpoints
import cloud.rollouts.approvals.endpoints
import cloud.rollouts.blob_endpoints
import cloud.rollouts.campaigns.endpoints
import cloud.rollouts.endpoints
import cloud.sites.endpoints
from cloud import openapi
from cloud.commands import service as commands
from cloud.config import CloudConfig, read_secret
from cloud.identity.broker_log import BrokerLog
from cloud.identity.keyrings import KeyringPublisher
from cloud.identity.registrar import Registrar
from cloud.ingest.committer import Committer
from cloud.ingest.decoding import Wanted
from cloud.ingest.service import WINDOW, Ingest
from cloud.ingest.sharing import subscriptions
from cloud.kit import guard, problems
from cloud.kit.broker import Link, command_login, ingest_login
from cloud.kit.changes import Changes
from cloud.kit.context import Context
from cloud.kit.database import Database
from cloud.kit.keys import Keys
from cloud.kit.refusals import Refusals
from cloud.live.hub import Hub
from cloud.live.service import LiveReader
from cloud.migrations import runner
from cloud.models.blobs import BlobStore
from cloud.models.training import Trainer
from cloud.rollouts.campaigns.hands import Signer
from cloud.rollouts.campaigns.worker import CampaignWorker
from cloud.rollouts.chunks import ChunkServer
from cloud.rollouts.publishing import AssignmentPublisher
from cloud.timeseries.choose import keeper_for, open_store
from cloud.timeseries.store import TimeSeriesStore
from cloud.web import pages
from shared.clock import Clock
from shared.ids import SiteId

HOUSEKEEPING_S = 5.0
_log = logging.getLogger(__name__)


def open_database(config: CloudConfig) -> Database:
    """The configured database; raises `ConfigError` where its password file cannot be read."""
    password = None
    if config.database_password_file is not None:
        password = read_secret(config.database_password_file, "database_password_file")
    return Database(config.database_url, password=password)


@asynccontextmanager
async def running(config: CloudConfig, clock: Clock, *, connect: bool = True) -> AsyncIterator[Context]:
    """All parts but the web server, from migrated database to live hub; ended in reverse order.

    Without `connect` the broker is left alone: whatever needs it says that it is not connected.
    """
    keys = Keys.load(config.keys)
    database = open_database(config)
    try:
        listens = subscriptions(1, config.ingest_workers, sqlite=database.is_sqlite)
        await runner.upgrade(database)
        series = await open_store(database)
        context, work = _assemble(config, clock, database, keys, series)
        if connect:
            context.ingest.start(listens)
            context.command_link.start()
        tasks = [_start(name, job) for name, job in work.items()]
        try:
            yield context
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(context.ingest_link.stop(), context.command_link.stop())
    finally:
        await database.close()


def _assemble(
    config: CloudConfig, clock: Clock, database: Database, keys: Keys, series: TimeSeriesStore
) -> tuple[Context, dict[str, Coroutine[Any, Any, None]]]:
    blobs = BlobStore(config.data_dir / "models")
    ingest_link = Link(config.broker, ingest_login(config.broker), keep_session=True, window=WINDOW)
    command_link = Link(config.broker, command_login(config.broker))
    live = LiveReader(database, clock)
    hub = Hub(clock, live.read)
    chunks = ChunkServer(command_link, database, blobs)
    registrar = Registrar(config, database, clock, command_link)
    ingest = Ingest(
        ingest_link,
        Committer(database, series, clock),
        clock,
        on_changes=hub.publish,
        on_wanted=lambda wanted: (
            chunks.ask(wanted) if isinstance(wanted, Wanted) else registrar.ask(wanted)
        ),
    )
    trainer = Trainer(
        database,
        series,
        blobs,
        keys,
        clock,
        config.training,
        config.data_dir / "training",
        on_changes=hub.publish,
    )
    assignments = AssignmentPublisher(command_link, database, clock)
    signer = Signer(key=keys.assignment, life_days=config.training.assignment_life_days)
    campaigns = CampaignWorker(database, signer, clock, assignments, on_changes=hub.publish)
    broker_log = None
    if config.identity is not None and config.identity.broker_log is not None:
        broker_log = BrokerLog(Path(config.identity.broker_log), database, clock, on_changes=hub.publish)
    context = Context(
        config=config,
        clock=clock,
        database=database,
        series=series,
        keys=keys,
        blobs=blobs,
        ingest_link=ingest_link,
        command_link=command_link,
        ingest=ingest,
        hub=hub,
        live=live,
        trainer=trainer,
        assignments=assignments,
        registrar=registrar,
        refusals=Refusals(clock),
        broker_log=broker_log,
    )
    work = {
        "ingest": ingest.run(),
        "hub": hub.run(),
        "chunks": chunks.run(),
        "training": trainer.run(),
        "assignments": assignments.run(),
        "keyrings": KeyringPublisher(command_link, database, clock).run(),
        "campaigns": campaigns.run(),
        "identity": registrar.run(),
        "housekeeping": _keep_house(context),
        "retention": keeper_for(config, database, series, clock).run(),
    }
    if broker_log is not None:
        work["broker log"] = broker_log.run()
    return context, work


def _start(name: str, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.create_task(job, name=name)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[None]) -> None:
    """A part that ends by itself is a fault of ours; a half-dead service is worse than a restart."""
    if task.cancelled() or task.exception() is None:
        return
    _log.critical("%s ended, the process stops", task.get_name(), exc_info=task.exception())
    signal.raise_signal(signal.SIGTERM)


async def _keep_house(context: Context) -> None:
    """Mark unanswered commands, and show the age of sites anew even when nothing comes from them."""
    while True:
        await context.clock.sleep(HOUSEKEEPING_S)
        try:
            async with context.database.write() as session:
                await commands.expire(session, context.clock.utc_ms())
            if context.hub.is_watched:
                changes = Changes()
                changes.sites.update(SiteId(site) for site in await context.live.site_ids())
                context.hub.publish(changes)
        except Exception:  # noqa: BLE001 - supervisor: a database that is away comes back
            _log.exception("housekeeping")


def make_app(context: Context | None = None, *, token: str = "") -> FastAPI:
    """The web application; without a context it can only describe itself."""
    app = FastAPI(
        title="Minewarden cloud",
        version=version("minewarden"),
        summary="Sites, devices, telemetry, alarms, commands and models of a mining fleet",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.context = context
    problems.install(app)
    for module in (
        cloud.sites.endpoints,
        cloud.history.endpoints,
        cloud.ingest.endpoints,
        cloud.devices.endpoints,
        cloud.alarms.endpoints,
        cloud.events.endpoints,
        cloud.models.endpoints,
        cloud.rollouts.endpoints,
        cloud.rollouts.blob_endpoints,
        cloud.rollouts.campaigns.endpoints,
        cloud.rollouts.approvals.endpoints,
        cloud.commands.endpoints,
        cloud.identity.endpoints,
        cloud.live.endpoints,
        cloud.health.endpoints,
    ):
        app.include_router(module.router)
    pages.install(app)
    app.openapi = partial(openapi.describe, app)  # type: ignore[method-assign]  # FastAPI's documented way
    if context is not None:
        app.add_middleware(
            guard.Guard,
            token=token,
            hosts=context.config.allowed_hosts,
            people=context.config.people_tokens(),
            refusals=context.refusals,
        )
    return app


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, which would end the process before our parts are ended."""

    def __init__(self, config: uvicorn.Config, context: Context) -> None:
        super().__init__(config)
        self._context = context

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            host = self._context.config.http_host
            _log.info("listening on http://%s:%s/", f"[{host}]" if ":" in host else host, port)

    def stop(self) -> None:
        """Let the live viewers go first: an open stream would hold the server until its time-out."""
        self._context.hub.close()
        self.should_exit = True


async def serve(config: CloudConfig, clock: Clock) -> None:
    """Run until SIGTERM or SIGINT; raises `ConfigError` and what the database raises at start."""
    token = config.token()
    async with running(config, clock) as context:
        app = make_app(context, token=token)
        server = _Server(
            uvicorn.Config(
                app,
                host=config.http_host,
                port=config.http_port,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=3,
            ),
            context,
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        await server._serve()  # noqa: SLF001 - `serve` adds signal handling that re-raises before we clean up
