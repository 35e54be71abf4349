"""The quarantine: seen, shown, and used after all once that is possible."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from cloud import cli
from cloud.ingest import decoding, quarantine
from cloud.ingest.decoding import Refused
from cloud.ingest.replay import replay
from cloud.ingest.service import Arrival, Ingest
from cloud.kit.database import Database
from cloud.kit.problems import Conflict, NotFound
from cloud.timeseries import timescale
from cloud.timeseries.retention import Keeper, Policy
from shared.ids import SiteId
from shared.telemetry import COLUMN_NAMES
from shared.wire import codec, topics
from shared.wire.envelope import Ack, Batch
from support import postgres
from support.cloud import NOW_MS, SITE, Bench, Service, batch, configure, row, said, service, state, told


def of_tomorrow(seq: int = 1) -> bytes:
    """A batch of a newer agent: it has a column that this cloud does not know."""
    wide = msgspec.structs.replace(row(), values=(*row().values, 7.0))
    body = Batch(
        epoch="e1",
        stream="rollup",
        seq=seq,
        from_ms=NOW_MS,
        to_ms=NOW_MS,
        count=1,
        columns=(*COLUMN_NAMES, "humour_pct_mean"),
        rows=msgspec.Raw(msgspec.msgpack.encode((wide,))),
    )
    return codec.encode(body, compress=True)


def after_the_upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next version of the cloud knows the column (and here drops it)."""

    def rollups(site: str, sent: Batch, now_ms: int) -> list[decoding.Record]:
        rows = msgspec.msgpack.decode(sent.rows)
        cut = [{**fields, "values": fields["values"][:36]} for fields in rows]
        sound = msgspec.structs.replace(
            sent, columns=COLUMN_NAMES, rows=msgspec.Raw(msgspec.msgpack.encode(cut))
        )
        return honest(SITE, sound, now_ms)

    honest = decoding._rollups
    monkeypatch.setattr(decoding, "_rollups", rollups)


async def only(bench: Bench) -> int:
    return int(await bench.one("SELECT id FROM quarantine"))


async def test_a_batch_is_used_after_the_fix(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The site has long forgotten it: what the quarantine holds is the only copy."""
    committed = await bench.commit(said(of_tomorrow()))
    assert committed.acks == ((SITE, Ack(epoch="e1", stream="rollup", upto=1)),)
    number = await only(bench)
    with pytest.raises(Conflict, match="humour_pct_mean"):
        await replay(bench.database, bench.committer, bench.clock, number)
    assert await bench.one("SELECT count(*) FROM quarantine") == 1
    after_the_upgrade(monkeypatch)
    done = await replay(bench.database, bench.committer, bench.clock, number)
    assert (done.new_rows, done.duplicates) == (1, 0)
    ledger = "SELECT batches, rows, quarantined_batches, duplicate_batches FROM ledger"
    assert await bench.all(ledger) == [(1, 1, 0, 0)]
    assert await bench.one("SELECT count(*) FROM quarantine") == 0
    with pytest.raises(NotFound):
        await replay(bench.database, bench.committer, bench.clock, number)


async def test_a_replay_that_fails_changes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.commit(said(of_tomorrow()))
    number = await only(bench)
    after_the_upgrade(monkeypatch)

    async def fail(*_: object) -> None:
        raise ValueError("no such page")

    with monkeypatch.context() as patch:
        patch.setattr("cloud.devices.intake.newest_rows", fail)
        with pytest.raises(Conflict, match="no such page"):
            await replay(bench.database, bench.committer, bench.clock, number)
    assert await bench.one("SELECT count(*) FROM rollup") == 0
    assert await bench.all("SELECT quarantined_batches, batches FROM ledger") == [(1, 0)]
    assert (await replay(bench.database, bench.committer, bench.clock, number)).new_rows == 1


async def test_what_the_site_sent_again_meanwhile_is_not_stored_twice(bench: Bench) -> None:
    """A batch whose clock was wrong: nobody was told to forget it."""
    payload = batch([row()], 1)
    stray = Refused(topic=topics.telemetry(SITE), payload=payload, reason="the clock was wrong")
    await bench.commit(stray)
    await bench.commit(said(payload))
    done = await replay(bench.database, bench.committer, bench.clock, await only(bench))
    assert (done.new_rows, done.duplicates) == (0, 1)
    assert await bench.one("SELECT count(*) FROM rollup") == 1


async def test_a_head_cannot_be_replayed(bench: Bench) -> None:
    await bench.commit(Refused(topic="mw/1/north/up/t/rollup", payload=b"\x07" * 70_000, reason="noise"))
    with pytest.raises(Conflict, match="first 65536 of 70000 bytes"):
        await replay(bench.database, bench.committer, bench.clock, await only(bench))


async def test_presence_of_last_week_is_not_presence(bench: Bench) -> None:
    await bench.commit(Refused(topic=topics.state(SITE), payload=state(), reason="a fault of ours"))
    with pytest.raises(Conflict, match="its moment"):
        await replay(bench.database, bench.committer, bench.clock, await only(bench))


# ---------------------------------------------------------------- its bounds

IN_2019 = 1_560_000_000_000
ALARM = "SELECT key, cleared_ms FROM alarms"


def of_2019(seq: int, epoch: str = "e1") -> bytes:
    """A batch of a gateway whose clock stands in 2019: a sound envelope, rows that cannot be used."""
    return batch([row("m-01", IN_2019 + seq * 60_000)], seq, epoch=epoch)


def room_for(messages: int) -> int:
    return messages * quarantine.weight(max(len(of_2019(seq)) for seq in range(1, 30))) + 64


async def test_a_site_that_sends_nothing_usable_does_not_fill_the_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is over the budget is not taken over: without an ack the site keeps it, within its own bounds."""
    monkeypatch.setattr(quarantine, "SITE_BYTES", room_for(3))
    for seq in range(1, 21):
        committed = await bench.commit(said(of_2019(seq)))
    assert committed.acks == ((SITE, Ack(epoch="e1", stream="rollup", upto=3)),)
    assert committed.refused == 0
    assert await bench.one("SELECT count(*) FROM quarantine") == 3
    assert await bench.all("SELECT held, turned_away FROM quarantine_sites") == [(3, 17)]
    assert await bench.all("SELECT received, quarantined_batches FROM ledger") in (
        [("[[1,3]]", 3)],
        [([[1, 3]], 3)],
    )


async def test_a_spent_budget_is_one_alarm_until_there_is_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "SITE_BYTES", room_for(3))
    for seq in range(1, 10):
        await bench.commit(said(of_2019(seq)))
    assert await bench.all(ALARM) == [("cloud/quarantine-full", None)]
    bench.clock.advance(3_600.0)
    monkeypatch.setattr(quarantine, "SITE_BYTES", room_for(30))
    committed = await bench.commit(said(of_2019(9)))
    assert committed.acks[0][1].ranges == ((9, 9),)
    assert await bench.all(ALARM) == [("cloud/quarantine-full", NOW_MS + 3_600_000)]
    assert await bench.one("SELECT full_since_ms FROM quarantine_sites") is None


async def test_one_sites_spent_budget_is_no_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it touch what the site sends that can be used."""
    monkeypatch.setattr(quarantine, "SITE_BYTES", room_for(2))
    for seq in range(1, 6):
        await bench.commit(said(of_2019(seq)))
    other = SiteId("south")
    committed = await bench.commit(said(of_2019(1), site=other), said(batch([row()], 6)))
    assert committed.new_rows == 1
    assert dict(committed.acks)[other].upto == 1
    assert dict(committed.acks)[SITE].ranges == ((6, 6),)


async def test_all_sites_share_one_budget_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "ALL_BYTES", room_for(4))
    for seq in range(1, 4):
        for site in ("east", "north", "south"):
            await bench.commit(said(of_2019(seq), site=SiteId(site)))
    assert await bench.one("SELECT count(*) FROM quarantine") == 4
    assert await bench.one("SELECT count(*) FROM alarms") == 3, "each site is told"


async def test_the_same_bytes_again_need_no_room(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ack was lost: the batch is here, and the site may forget it however full the quarantine is."""
    monkeypatch.setattr(quarantine, "SITE_BYTES", room_for(1))
    await bench.commit(said(of_2019(1)))
    await bench.commit(said(of_2019(2)))
    committed = await bench.commit(said(of_2019(1)))
    assert committed.acks[0][1].upto == 1
    assert await bench.all("SELECT held, turned_away FROM quarantine_sites") == [(1, 1)]


async def test_what_is_used_after_all_makes_room(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.commit(said(of_tomorrow()))
    assert await bench.one("SELECT held FROM quarantine_sites") == 1
    after_the_upgrade(monkeypatch)
    await replay(bench.database, bench.committer, bench.clock, await only(bench))
    assert await bench.all("SELECT held, held_bytes, expired FROM quarantine_sites") == [(0, 0, 0)]


async def test_what_nobody_used_for_as_long_as_rows_are_kept_is_dropped_and_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "SITE_BYTES", room_for(2))
    for seq in range(1, 4):
        await bench.commit(said(of_2019(seq)))
    keeper = Keeper(bench.database, bench.series, bench.clock, Policy(rows_days=10.0))
    bench.clock.advance(9 * 86_400.0)
    await keeper.round()
    assert await bench.one("SELECT count(*) FROM quarantine") == 2
    bench.clock.advance(2 * 86_400.0)
    await keeper.round()
    assert await bench.one("SELECT count(*) FROM quarantine") == 0
    lost = sum(len(of_2019(seq)) for seq in (1, 2))
    books = "SELECT held, held_bytes, full_since_ms, expired, expired_bytes, expired_ms FROM quarantine_sites"
    assert await bench.all(books) == [(0, 0, None, 2, lost, bench.clock.utc_ms())]
    ((_, cleared_ms),) = await bench.all(ALARM)
    assert cleared_ms == bench.clock.utc_ms(), "there is room again, and the alarm says so by itself"


async def test_the_broker_is_told_although_the_site_is_not(
    sqlite_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unacknowledged at the broker, the message would come again at once, and hold a place in its window."""
    monkeypatch.setattr(quarantine, "SITE_BYTES", 0)
    link = Told()
    ingest = Ingest(
        link,  # type: ignore[arg-type]  # it has what ingest uses
        sqlite_bench.committer,
        sqlite_bench.clock,
        on_changes=lambda _: None,
        on_wanted=lambda _: None,
    )
    topic = topics.telemetry(SITE)
    await ingest.handle([Arrival(topic=topic, payload=of_2019(1), mid=7, qos=1, generation=1)])
    assert link.pubacks == [7]
    assert [(ack.upto, ack.ranges) for ack in link.acks] == [(0, ())]
    assert ingest.trouble is None, "ingest itself is well"


class Told:
    """Stands for the broker's link."""

    generation = 1

    def __init__(self) -> None:
        self.pubacks: list[int] = []
        self.acks: list[Ack] = []

    def acknowledge(self, mid: int, _qos: int, _generation: int) -> None:
        self.pubacks.append(mid)

    def post(self, _topic: str, payload: bytes) -> None:
        self.acks.append(codec.decode(payload, Ack))


async def test_owed_messages_are_not_looked_through_for_strays(sqlite_bench: Bench) -> None:
    plan = await sqlite_bench.all("EXPLAIN QUERY PLAN DELETE FROM quarantine WHERE id <= 5 AND owed IS 0")
    assert "ix_quarantine_owed_id" in plan[0][3]


# ---------------------------------------------------------------- API and command line


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Service]:
    async with service(tmp_path) as running:
        yield running


async def test_over_the_api(cloud: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    await cloud.bench.commit(said(of_tomorrow()))
    (listed,) = (await cloud.get("/quarantine"))["items"]
    shown = await cloud.get(f"/quarantine/{listed['id']}")
    assert (shown["owed"], shown["whole"]) == (True, True)
    assert shown["head"].startswith("01")
    refused = await cloud.post(f"/quarantine/{listed['id']}/replay", {}, 409)
    assert "humour_pct_mean" in refused["detail"]
    after_the_upgrade(monkeypatch)
    done = await cloud.post(f"/quarantine/{listed['id']}/replay", {}, 200)
    assert done == {"id": listed["id"], "rows": 1, "new_rows": 1, "duplicate": False}
    await cloud.get(f"/quarantine/{listed['id']}", 404)
    await cloud.post(f"/quarantine/{listed['id']}/replay", {}, 404)
    reply = await cloud.client.post("/api/v1/quarantine/1/replay")
    assert reply.status_code == 401


async def _spoil(folder: Path) -> None:
    async with service(folder) as running:
        await running.bench.commit(said(of_tomorrow()))
        await running.bench.commit(told("mw/1/north/up/nowhere", b"\x00\xc0"))


def test_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(_spoil(tmp_path))
    config = ["--config", str(configure(tmp_path))]
    assert cli.main(["quarantine", "list", *config]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == 4
    assert "nothing is expected on up/nowhere" in listed[0]
    assert listed[2:] == [
        "held for sites: 1 messages, 0.0 of 4096 MB",
        "  north: 1 messages, 0.0 of 256 MB",
    ]
    assert cli.main(["quarantine", "show", "1", *config]) == 0
    assert "kept: whole; the site has forgotten it" in capsys.readouterr().out
    assert cli.main(["quarantine", "show", "99", *config]) == 1
    assert cli.main(["quarantine", "replay", *config]) == 2
    capsys.readouterr()
    after_the_upgrade(monkeypatch)
    # The command's clock is the machine's, before which 2026 may or may not lie.
    monkeypatch.setattr(decoding, "AHEAD_MS", 2**60)
    monkeypatch.setattr("cloud.ingest.records.AHEAD_MS", 2**60)
    assert cli.main(["quarantine", "replay", "--all", *config]) == 1
    told_ = capsys.readouterr()
    assert "1: used, 1 new rows" in told_.out
    assert "2: still not usable" in told_.err
    assert cli.main(["quarantine", "replay", "1", *config]) == 1


async def _as_a_hypertable(url: str) -> None:
    """`rollup` as TimescaleDB has it for PostgreSQL's eyes: one table, no partitions of PostgreSQL's own."""
    database = Database(url)
    async with database.write() as session:
        for statement in timescale.setup_statements()[:3]:
            await session.execute(text(statement))
    await database.close()


def test_on_the_command_line_the_store_is_the_services_own(
    tmp_path: Path,
    postgres_server: postgres.Server,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With TimescaleDB a replay may not make partitions; only the detection is played, the table is real."""
    url = postgres_server.create()
    (tmp_path / "cloud").mkdir()
    config = configure(tmp_path / "cloud", extra=f'database_url = "{url}"')

    async def prepare() -> None:
        async with service(tmp_path / "cloud", url=url) as running:
            stray = Refused(topic=topics.telemetry(SITE), payload=batch([row()]), reason="a fault of ours")
            await running.bench.commit(stray)
        await _as_a_hypertable(url)

    async def found(_session: object) -> str:
        return "2.17.0"

    async def is_one(_session: object) -> bool:
        return True

    asyncio.run(prepare())
    monkeypatch.setattr(timescale, "detect", found)
    monkeypatch.setattr(timescale, "set_up", is_one)
    monkeypatch.setattr(timescale, "aggregate_statements", tuple)
    monkeypatch.setattr(decoding, "AHEAD_MS", 2**60)
    monkeypatch.setattr("cloud.ingest.records.AHEAD_MS", 2**60)
    assert cli.main(["quarantine", "replay", "1", "--config", str(config)]) == 0, capsys.readouterr().err
    assert "1: used, 1 new rows" in capsys.readouterr().out
