"""What every endpoint may need, made once at start and handed in by FastAPI."""

from typing import Annotated

import msgspec
from fastapi import Depends, Request

from cloud.config import CloudConfig
from cloud.identity.broker_log import BrokerLog
from cloud.identity.registrar import Registrar
from cloud.ingest.service import Ingest
from cloud.kit.broker import Link
from cloud.kit.database import Database
from cloud.kit.keys import Keys
from cloud.kit.refusals import Refusals
from cloud.live.hub import Hub
from cloud.live.service import LiveReader
from cloud.models.blobs import BlobStore
from cloud.models.training import Trainer
from cloud.rollouts.publishing import AssignmentPublisher
from cloud.timeseries.store import TimeSeriesStore
from shared.clock import Clock


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The process's parts."""

    config: CloudConfig
    clock: Clock
    database: Database
    series: TimeSeriesStore
    keys: Keys
    blobs: BlobStore
    ingest_link: Link
    command_link: Link
    ingest: Ingest
    hub: Hub
    live: LiveReader
    trainer: Trainer
    assignments: AssignmentPublisher
    registrar: Registrar
    refusals: Refusals
    broker_log: BrokerLog | None
    """None: this cloud does not read its broker's log."""


def _context(request: Request) -> Context:
    context = request.app.state.context
    assert isinstance(context, Context)  # noqa: S101 - set by the lifespan before any request
    return context


Here = Annotated[Context, Depends(_context)]
"""Parameter type of endpoints that need the process's parts."""
