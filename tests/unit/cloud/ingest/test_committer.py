"""One transaction for a handful of messages, on both engines."""

import msgspec
import pytest

from cloud.ingest.decoding import Decoded, decode
from shared.alarms import EventKind, Severity
from shared.ids import SiteId
from shared.wire import codec, topics
from shared.wire.envelope import Ack
from support.cloud import (
    NOW_MS,
    SITE,
    Bench,
    batch,
    birth,
    born,
    device,
    event,
    row,
    said,
    score,
    state,
    told,
    tombstone,
)


async def test_rows_arrive_with_all_they_say(bench: Bench) -> None:
    sent = row("m-01", power_w_mean=3000.5, hashrate_ths_mean=200.0)
    committed = await bench.commit(said(batch([sent])))
    assert (committed.rows, committed.new_rows, committed.duplicates) == (1, 1, 0)
    assert committed.acks == ((SITE, Ack(epoch="e1", stream="rollup", upto=1)),)
    async with bench.database.read() as session:
        stored = [found async for found in bench.series.export(session, SITE, 0, NOW_MS)]
    assert stored == [sent]


async def test_a_repeated_batch_is_acknowledged_and_not_stored(bench: Bench) -> None:
    message = said(batch([row()]))
    await bench.commit(message)
    again = await bench.commit(message)
    assert (again.rows, again.duplicates) == (0, 1)
    assert again.acks == ((SITE, Ack(epoch="e1", stream="rollup", upto=1)),)
    assert await bench.one("SELECT count(*) FROM rollup") == 1
    assert await bench.all("SELECT batches, rows, duplicate_batches FROM ledger") == [(1, 1, 1)]


async def test_a_repetition_inside_one_transaction_counts_once(bench: Bench) -> None:
    message = said(batch([row()]))
    committed = await bench.commit(message, message, message)
    assert (committed.new_rows, committed.duplicates) == (1, 2)


async def test_the_same_row_in_another_epoch_is_not_stored_twice(bench: Bench) -> None:
    """A restored store sends old rows under a new epoch."""
    await bench.commit(said(batch([row(power_w_mean=1.0)])))
    committed = await bench.commit(said(batch([row(power_w_mean=1.0)], epoch="e2")))
    assert (committed.rows, committed.new_rows) == (1, 0)
    assert await bench.one("SELECT count(*) FROM rollup") == 1


async def test_f28_rows_of_a_time_that_was_lived_twice_are_kept_apart_and_counted(bench: Bench) -> None:
    """The batch number is new, so nobody sends them again: a clock that was set back must not lose them."""
    first, second = row(power_w_mean=1.0), row(power_w_mean=2.0)
    await bench.commit(said(batch([first], 1)))
    committed = await bench.commit(said(batch([second, row("m-02")], 2)))
    assert (committed.rows, committed.new_rows, committed.apart) == (2, 1, {SITE: 1})
    assert committed.acks == ((SITE, Ack(epoch="e1", stream="rollup", upto=2)),)
    async with bench.database.read() as session:
        assert [found async for found in bench.series.apart(session, SITE, 0, NOW_MS)] == [second]
    assert await bench.one("SELECT received_ms FROM rollup_again") == NOW_MS
    repeated = await bench.commit(said(batch([second], epoch="e2")))
    assert (repeated.new_rows, repeated.apart) == (0, {})


async def test_two_sites_do_not_mix(bench: Bench) -> None:
    south = SiteId("south")
    committed = await bench.commit(said(batch([row()])), said(batch([row()]), site=south))
    assert committed.new_rows == 2
    assert {site for site, _ in committed.acks} == {SITE, south}


async def test_a_gap_is_acknowledged_around(bench: Bench) -> None:
    rows = [row(at_ms=NOW_MS - 60_000 * n) for n in range(1, 5)]
    committed = await bench.commit(*(said(batch([rows[n]], seq)) for n, seq in enumerate((1, 3, 4))))
    assert committed.acks == ((SITE, Ack(epoch="e1", stream="rollup", upto=1, ranges=((3, 4),))),)


async def test_a_tombstone_fills_its_numbers(bench: Bench) -> None:
    await bench.commit(said(batch([row()], 1)))
    committed = await bench.commit(said(tombstone(9, 2, 8, count=70)))
    assert committed.acks == ((SITE, Ack(epoch="e1", stream="rollup", upto=9)),)
    assert await bench.all("SELECT batches, rows, tombstoned_rows FROM ledger") == [(1, 1, 70)]
    again = await bench.commit(said(tombstone(9, 2, 8, count=70)))
    assert again.duplicates == 1
    assert await bench.one("SELECT tombstoned_rows FROM ledger") == 70


async def test_a_batch_that_was_given_up_but_arrives_after_all_is_stored(bench: Bench) -> None:
    await bench.commit(said(tombstone(9, 2, 8)))
    committed = await bench.commit(said(batch([row()], 5)))
    assert committed.new_rows == 1
    assert await bench.one("SELECT count(*) FROM rollup") == 1


async def test_the_newest_row_of_a_device_stays_whatever_comes_late(bench: Bench) -> None:
    new, old = row(power_w_mean=2.0), row(at_ms=NOW_MS - 600_000, power_w_mean=1.0)
    await bench.commit(said(batch([new], 2)))
    await bench.commit(said(batch([old], 1)))
    assert await bench.all("SELECT device, at_ms FROM device_latest") == [("m-01", new.at_ms)]
    assert await bench.one("SELECT count(*) FROM rollup") == 2


async def test_with_more_to_come_the_newest_rows_wait_for_a_later_commit(bench: Bench) -> None:
    async def latest() -> list[tuple[object, ...]]:
        return await bench.all("SELECT device, at_ms FROM device_latest ORDER BY device")

    first, second = row("m-01", at_ms=NOW_MS - 120_000), row("m-01", at_ms=NOW_MS - 60_000)
    await bench.committer.commit([said(batch([second], 1))], more=True)
    await bench.committer.commit([said(batch([first, row("m-02")], 2))], more=True)
    assert (await latest(), bench.committer.owes) == ([], True)
    assert await bench.one("SELECT count(*) FROM rollup") == 3, "the rows themselves never wait"
    await bench.commit(said(batch([row("m-03")], 3)))
    newest = [("m-01", second.at_ms), ("m-02", row().at_ms), ("m-03", row().at_ms)]
    assert (await latest(), bench.committer.owes) == (newest, False)


async def test_newest_rows_that_wait_are_settled_when_nothing_more_comes(bench: Bench) -> None:
    await bench.committer.commit([said(batch([row("m-01")], 1))], more=True)
    await bench.committer.settle()
    assert await bench.all("SELECT device FROM device_latest") == [("m-01",)]
    assert not bench.committer.owes


async def test_birth_makes_site_and_inventory(bench: Bench) -> None:
    await bench.commit(born())
    assert await bench.all("SELECT id, name, step_s FROM sites") == [(SITE, "North hall", 60)]
    devices = await bench.all("SELECT id, kind, model, host FROM devices ORDER BY id")
    assert devices[0] == ("m-01", "miner", "s21pro", "127.0.1.1:8080")
    assert devices[2] == ("meter-1", "meter", "em340", "127.0.1.1:5020")


PRESENT = "SELECT id, rack FROM devices WHERE present ORDER BY id"


def kept(payload: bytes) -> Decoded:
    """A birth that the broker had kept, or the quarantine."""
    return decode(topics.birth(SITE), payload, now_ms=NOW_MS, retained=True)


async def test_a_later_birth_replaces_the_inventory_and_a_kept_older_one_does_not(bench: Bench) -> None:
    await bench.commit(born())
    await bench.commit(born(birth([device("m-02", rack="B")], at_ms=NOW_MS)))
    await bench.commit(kept(birth([device("m-03")], at_ms=NOW_MS - 500_000, boot="b0")))
    assert await bench.all(PRESENT) == [("m-02", "B")]


async def test_what_a_site_says_now_is_its_newest_word_also_after_its_clock_was_set_back(
    bench: Bench,
) -> None:
    """Or a rack that was rewired and started with an hour less on the clock would be unknown for an hour."""
    before, after = (
        birth([device("m-01")], boot="b1"),
        birth([device("m-02", rack="B")], at_ms=NOW_MS - 3_600_000, boot="b2"),
    )
    await bench.commit(born(before))
    await bench.commit(born(after))
    assert await bench.all(PRESENT) == [("m-02", "B")]
    assert await bench.one("SELECT boot FROM sites") == "b2"
    for kept_meanwhile in (before, after, birth([device("m-03")], at_ms=NOW_MS - 1_800_000, boot="b0")):
        await bench.commit(kept(kept_meanwhile))
        assert await bench.all(PRESENT) == [("m-02", "B")], "nothing that was kept overtakes it"


async def test_a_birth_that_the_broker_kept_while_we_were_away_is_taken(bench: Bench) -> None:
    await bench.commit(kept(birth([device("m-01")])))
    await bench.commit(kept(birth([device("m-02", rack="B")], at_ms=NOW_MS, boot="b2")))
    assert await bench.all(PRESENT) == [("m-02", "B")]


async def test_a_site_is_known_from_its_first_word(bench: Bench) -> None:
    await bench.commit(said(batch([row()])))
    ((site, birth_ms, seen_ms),) = await bench.all("SELECT id, birth_ms, last_seen_ms FROM sites")
    assert (site, birth_ms, seen_ms) == (SITE, None, NOW_MS)


async def test_presence_follows_the_agent_and_its_will(bench: Bench) -> None:
    async def online() -> object:
        return await bench.one("SELECT online FROM sites")

    await bench.commit(told(topics.state(SITE), state(online=True)))
    assert await online()
    await bench.commit(told(topics.state(SITE), state(online=False)))
    assert not await online()
    await bench.commit(told(topics.state(SITE), state(online=True, boot="b2")))
    await bench.commit(told(topics.state(SITE), state(online=False, boot="b1")))
    assert await online(), "the will of an earlier boot says nothing about this one"


async def test_scores_are_kept_and_the_newest_stands(bench: Bench) -> None:
    new, old = score(value=5.0), score(at_ms=NOW_MS - 600_000, value=1.0)
    await bench.commit(said(batch([new], 1), stream="score"))
    await bench.commit(said(batch([old, new], 2), stream="score"))
    assert await bench.all("SELECT score, version FROM device_score") == [(5.0, 1)]
    assert await bench.one("SELECT count(*) FROM scores") == 2


async def test_an_alarm_opens_repeats_and_clears(bench: Bench) -> None:
    opened = [event(1), event(2, severity=Severity.URGENT)]
    committed = await bench.commit(said(batch(opened, 1), stream="ev"))
    assert len(committed.changes.alarms) == 1
    assert await bench.all("SELECT count, severity, cleared_ms FROM alarms") == [(2, "urgent", None)]
    await bench.commit(said(batch([event(3, EventKind.ALARM_CLEARED)], 2), stream="ev"))
    assert await bench.all("SELECT count, cleared_ms FROM alarms") == [(2, event(3).at_ms)]
    await bench.commit(said(batch([event(4)], 3), stream="ev"))
    assert await bench.one("SELECT count(*) FROM alarms") == 2


async def test_an_event_that_came_in_another_batch_too_counts_once(bench: Bench) -> None:
    await bench.commit(said(batch([event(1)], 1), stream="ev"))
    committed = await bench.commit(said(batch([event(1)], 2), stream="ev"))
    assert not committed.changes.events
    assert await bench.all("SELECT count FROM alarms") == [(1,)]


async def test_a_zone_status_is_state(bench: Bench) -> None:
    def status(number: int, mode: str) -> object:
        data: dict[str, str | int | float | bool | None] = {"mode": mode, "tripped": False}
        return event(number, EventKind.SYSTEM, key="zone-status/hall-a", data=data)

    await bench.commit(said(batch([status(2, "safe")], 1), stream="ev"))
    await bench.commit(said(batch([status(1, "manual")], 2), stream="ev"))
    ((zone, at_ms),) = await bench.all("SELECT zone, at_ms FROM zone_status")
    assert (zone, at_ms) == ("hall-a", event(2).at_ms)


async def test_a_model_report_becomes_history_once(bench: Bench) -> None:
    data: dict[str, str | int | float | bool | None] = {
        "name": "miner-anomaly",
        "version": 3,
        "state": "shadow",
    }
    message = batch([event(1, EventKind.MODEL, data=data), event(2, EventKind.MODEL, data={"why": "x"})], 1)
    await bench.commit(said(message, stream="ev"))
    await bench.commit(said(message, stream="ev"))
    assert await bench.all("SELECT name, version, state FROM model_reports") == [
        ("miner-anomaly", 3, "shadow")
    ]


async def test_an_unusable_message_is_kept_with_its_reason(bench: Bench) -> None:
    bad = told("mw/1/north/up/t/rollup", b"\x07nonsense")
    committed = await bench.commit(bad, said(batch([row()])), bad)
    assert (committed.refused, committed.new_rows) == (2, 1)
    ((topic, reason, size, count),) = await bench.all("SELECT topic, reason, size, count FROM quarantine")
    assert (topic, size, count) == ("mw/1/north/up/t/rollup", 9, 2)
    assert "format byte 07" in reason


async def test_a_batch_with_unusable_rows_is_taken_over(bench: Bench) -> None:
    """The bytes are here and the site cannot mend them, so it may forget them; nothing is silent."""
    payload = batch([row(power_w_mean=float("nan"))], 1)
    committed = await bench.commit(said(payload))
    assert committed.acks == ((SITE, Ack(epoch="e1", stream="rollup", upto=1)),)
    assert await bench.all("SELECT batches, rows, quarantined_batches FROM ledger") == [(0, 0, 1)]
    owed = "SELECT CAST(owed AS INTEGER), size FROM quarantine"
    assert await bench.all(owed) == [(1, len(payload))]


async def test_a_word_on_an_unknown_command_is_quarantined(bench: Bench) -> None:
    body = {"id": "c-1", "state": "done", "detail": "", "at_ms": NOW_MS}
    payload = b"\x00" + msgspec.msgpack.encode(body)
    committed = await bench.commit(told("mw/1/north/up/res/c-1", payload))
    assert committed.refused == 1


async def test_nothing_of_a_failed_transaction_stays(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise ConnectionError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr("cloud.devices.intake.newest_rows", fail)
        with pytest.raises(ConnectionError):
            await bench.commit(said(batch([event(1)], 1), stream="ev"), said(batch([row()])))
    for table in ("rollup", "ledger", "events", "alarms", "sites"):
        assert await bench.one(f"SELECT count(*) FROM {table}") == 0
    assert (await bench.commit(said(batch([row()])))).new_rows == 1


async def test_more_ranges_than_one_ack_carries_are_sent_in_several(bench: Bench) -> None:
    seqs = range(3, 3 + 2 * 40, 2)
    rows = {seq: row(at_ms=NOW_MS - 60_000 * seq) for seq in seqs}
    committed = await bench.commit(*(said(batch([rows[seq]], seq)) for seq in seqs))
    covered = {
        seq for _, ack in committed.acks for first, last in ack.ranges for seq in range(first, last + 1)
    }
    assert covered == set(seqs)
    assert all(len(ack.ranges) <= 32 for _, ack in committed.acks)
    codec.encode(committed.acks[0][1])


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (topics.state(SITE), state(boot="b\0t")),
        (topics.birth(SITE), birth([device("meter-1", profile="em\x00340")])),
    ],
    ids=["boot", "profile"],
)
async def test_a_text_that_a_database_cannot_hold_is_refused_before_it(
    bench: Bench, topic: str, payload: bytes
) -> None:
    """On PostgreSQL it would fail at each try, and everything behind it would wait for ever."""
    committed = await bench.commit(told(topic, payload))
    assert committed.refused == 1
    assert "NUL" in await bench.one("SELECT reason FROM quarantine")


async def test_only_the_sites_own_live_word_counts_as_seen(bench: Bench) -> None:
    """After a restart of the cloud the broker hands over what dead sites once left there."""
    await bench.commit(told(topics.state(SITE), state(online=True)))
    bench.clock.advance(600)
    kept = decode(topics.birth(SITE), birth(), now_ms=NOW_MS, retained=True)
    await bench.commit(kept, told(topics.state(SITE), state(online=False)))
    assert await bench.one("SELECT last_seen_ms FROM sites") == NOW_MS
    assert await bench.one("SELECT name FROM sites") == "North hall", (
        "what it says is taken over all the same"
    )
    await bench.commit(said(batch([row()])))
    assert await bench.one("SELECT last_seen_ms FROM sites") == NOW_MS + 600_000


async def test_a_birth_from_a_clock_far_ahead_does_not_shut_out_later_ones(bench: Bench) -> None:
    await bench.commit(born(birth([device("m-01")], at_ms=NOW_MS + 10 * 365 * 86_400_000)))
    bench.clock.advance(60)
    await bench.commit(born(birth([device("m-02")], at_ms=NOW_MS + 60_000, boot="b2")))
    assert await bench.all("SELECT id FROM devices WHERE present") == [("m-02",)]
