"""The SQL for TimescaleDB, and when it is used. No server has it here: not exercised in CI beyond this."""

from typing import Any

import pytest

from cloud.timeseries import timescale
from cloud.timeseries.choose import open_store
from cloud.timeseries.postgres import PostgresSeries
from cloud.timeseries.sqlite import SqliteSeries
from cloud.timeseries.store import DAY_MS
from cloud.timeseries.timescale import TimescaleSeries
from shared.telemetry import COLUMN_NAMES
from support.cloud import Bench


class Session:
    """Notes what it is asked, and answers the questions as told."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def scalar(self, statement: object) -> Any:
        return self.answers.get(str(statement))

    async def execute(self, statement: object, _values: object = None) -> None:
        self.asked.append(str(statement))


def answers(*, hypertable: bool, empty: bool) -> Session:
    session = Session()
    session.answers = {timescale.IS_HYPERTABLE: 1 if hypertable else None, timescale.IS_EMPTY: empty}
    return session


async def test_an_empty_table_becomes_a_hypertable() -> None:
    session = answers(hypertable=False, empty=True)
    assert await timescale.set_up(session)  # type: ignore[arg-type]  # has what set_up uses
    assert session.asked == list(timescale.setup_statements())
    joined = " ".join(session.asked)
    assert f"by_range('at_ms', {DAY_MS})" in joined
    assert joined.index("RENAME TO rollup_partitioned") < joined.index("create_hypertable")
    assert joined.index("timescaledb.compress_segmentby = 'site, device'") < joined.index(
        "add_compression_policy"
    )


async def test_a_hypertable_is_left_alone_and_so_is_a_table_with_rows() -> None:
    there = answers(hypertable=True, empty=False)
    assert await timescale.set_up(there)  # type: ignore[arg-type]  # as above
    full = answers(hypertable=False, empty=False)
    assert not await timescale.set_up(full)  # type: ignore[arg-type]  # as above
    assert there.asked == full.asked == []


def test_the_aggregate_has_every_column() -> None:
    view, policy = timescale.aggregate_statements()
    assert all(f" AS {name}" in view for name in COLUMN_NAMES)
    assert "last(energy_kwh_last, at_ms) FILTER (WHERE energy_kwh_last IS NOT NULL)" in view
    assert "sum(hw_errors_delta) AS hw_errors_delta" in view
    assert "time_bucket(3600000::bigint, at_ms)" in view
    assert "'rollup_hourly'" in policy
    assert f"{3 * DAY_MS}::bigint" in policy


async def test_a_day_goes_by_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def count(*_: object) -> int:
        return 7

    monkeypatch.setattr(TimescaleSeries, "count_day", count)
    session = Session()
    assert await TimescaleSeries().drop_day(session, 20_000) == 7  # type: ignore[arg-type]  # as above
    assert "LOCK TABLE rollup" in session.asked[0], "nobody writes between the count and the drop"
    assert "drop_chunks('rollup'" in session.asked[1]
    assert "DELETE FROM rollup_again" in session.asked[2]


async def test_a_database_without_it_is_used_without_it(bench: Bench) -> None:
    async with bench.database.read() as session:
        if not bench.database.is_sqlite:
            assert await timescale.detect(session) is None
    assert type(await open_store(bench.database)) is (
        SqliteSeries if bench.database.is_sqlite else PostgresSeries
    )
