"""Which store goes with which database."""

from cloud.kit.database import Database
from cloud.timeseries.postgres import PostgresSeries
from cloud.timeseries.sqlite import SqliteSeries
from cloud.timeseries.store import TimeSeriesStore


def store_for(database: Database) -> TimeSeriesStore:
    """The time-series store of this database."""
    return SqliteSeries() if database.is_sqlite else PostgresSeries()
