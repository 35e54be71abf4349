"""Which store goes with which database, and who keeps it."""

import logging
from importlib.util import find_spec

from cloud.config import CloudConfig
from cloud.kit.database import Database
from cloud.timeseries import timescale
from cloud.timeseries.postgres import PostgresSeries
from cloud.timeseries.retention import ColdTier, Keeper, Policy
from cloud.timeseries.sqlite import SqliteSeries
from cloud.timeseries.store import TimeSeriesStore
from shared.clock import Clock
from shared.errors import ConfigError

_log = logging.getLogger(__name__)


def store_for(database: Database) -> TimeSeriesStore:
    """The store of a database without TimescaleDB, for tests and benchmarks; processes use `open_store`."""
    return SqliteSeries() if database.is_sqlite else PostgresSeries()


async def open_store(database: Database) -> TimeSeriesStore:
    """The same, with TimescaleDB used where this database has it; after the migrations."""
    if database.is_sqlite:
        return SqliteSeries()
    async with database.write() as session:
        version = await timescale.detect(session)
        used = version is not None and await timescale.set_up(session)
    if not used:
        if version is not None:
            _log.warning(
                "TimescaleDB %s is there, but rollup has rows in plain partitions; it stays so", version
            )
        return PostgresSeries()
    async with database.writer.connect() as connection:
        alone = await connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in timescale.aggregate_statements():
            await alone.exec_driver_sql(statement)
    _log.info("TimescaleDB %s holds the roll-up rows", version)
    return timescale.TimescaleSeries()


def keeper_for(config: CloudConfig, database: Database, series: TimeSeriesStore, clock: Clock) -> Keeper:
    """The keeper of its ladder; raises `ConfigError` where the cold tier cannot be used."""
    settings = config.retention
    cold = _cold(settings.cold) if settings.cold is not None else None
    policy = Policy(raw_days=settings.raw_days, rows_days=settings.rows_days)
    return Keeper(database, series, clock, policy, cold)


def _cold(url: str) -> ColdTier:
    if find_spec("pyarrow") is None or find_spec("fsspec") is None:
        raise ConfigError(
            "retention.cold needs pyarrow and fsspec: install minewarden[cold], or leave the key out and "
            "expired days are deleted"
        )
    from cloud.timeseries.cold import ParquetTier  # noqa: PLC0415 - an extra that few installations have

    return ParquetTier(url)
