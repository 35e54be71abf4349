"""Which store goes with which database, and who keeps it."""

from importlib.util import find_spec

from cloud.config import CloudConfig
from cloud.kit.database import Database
from cloud.timeseries.postgres import PostgresSeries
from cloud.timeseries.retention import ColdTier, Keeper, Policy
from cloud.timeseries.sqlite import SqliteSeries
from cloud.timeseries.store import TimeSeriesStore
from shared.clock import Clock
from shared.errors import ConfigError


def store_for(database: Database) -> TimeSeriesStore:
    """The time-series store of this database."""
    return SqliteSeries() if database.is_sqlite else PostgresSeries()


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
