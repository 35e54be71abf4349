"""The uplink over the in-memory broker: what is sent, what is believed, what survives a bad link."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from edge_agent.agent.notify import Watchdog
from edge_agent.agent.records import Records
from edge_agent.agent.store.database import Store
from edge_agent.agent.store.frames import RawStore
from edge_agent.agent.store.rows import AckOutcome, Commit, OutboxRow
from edge_agent.agent.store.writer import Writer
from edge_agent.agent.uplink.downlink import Downlink
from edge_agent.agent.uplink.lanes import RESEND_S
from edge_agent.agent.uplink.memory import MemoryBroker
from edge_agent.agent.uplink.transport import Message
from edge_agent.agent.uplink.uplink import Uplink
from edge_agent.agent.view import SiteView
from edge_agent.ipc import Order
from shared.artifacts.signing import Purpose, Signed
from shared.clock import ManualClock
from shared.commands import CommandBody, CommandState, CommandStatus, SafeStopOrder
from shared.errors import StoreError
from shared.ids import CommandId
from shared.wire import codec, topics
from shared.wire.envelope import (
    PROTOCOL,
    Ack,
    Batch,
    Birth,
    Certificate,
    CertificateRequest,
    Chunk,
    ChunkRequest,
    RawWanted,
    SiteState,
    Tombstone,
)
from shared.wire.intervals import IntervalSet
from support.agent import KEYS, SITE, STEP_S, T0, make_site, rollup_row, some_event

T = TypeVar("T")


class Bench:
    """An uplink with everything it leans on; time stands still unless the test moves it."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.broker = MemoryBroker()
        self.view = SiteView(make_site(folder))
        self.writer = Writer()
        self.store = Store(folder / "agent.sqlite", self.clock, outbox_bytes=2**30)
        raw = RawStore(folder / "raw", keep_bytes=2**30)
        self.records = Records(self.store, raw, self.writer, self.view)
        self.guardian_there = True
        self.orders: list[Order] = []
        self.models: list[Signed] = []
        self.chunks: list[Chunk] = []
        self.wanted: list[RawWanted] = []
        self.certificates: list[Certificate] = []
        self.keyrings: list[Signed] = []
        self.downlink = Downlink(
            SITE,
            self.clock,
            self.view,
            order=self._order,
            tell=lambda status: self.uplink.tell(status),
            model=self._model,
            chunk=self.chunks.append,
            want=self._takes(self.wanted),
            certificate=self._takes(self.certificates),
            keyring=self._takes(self.keyrings),
        )
        self.uplink = Uplink(
            self.clock,
            site=SITE,
            boot="boot-a",
            transport=self.broker,
            records=self.records,
            view=self.view,
            downlink=self.downlink,
            birth=self._birth,
        )

    async def _order(self, order: Order) -> bool:
        if self.guardian_there:
            self.orders.append(order)
        return self.guardian_there

    @staticmethod
    def _takes(into: list[T]) -> Callable[[T], Awaitable[None]]:
        async def take(message: T) -> None:
            into.append(message)

        return take

    async def _model(self, signed: Signed) -> None:
        self.models.append(signed)

    def _birth(self) -> Birth:
        return Birth(
            site=SITE,
            name="Test site",
            boot="boot-a",
            epoch=self.store.epoch,
            at_ms=T0,
            version="0",
            protocol=PROTOCOL,
            step_s=STEP_S,
            inventory_sha256="",
            inventory=msgspec.Raw(msgspec.msgpack.encode(())),
        )

    async def record(self, steps: int, *, first: int = 0) -> None:
        for step in range(first, first + steps):
            await self.records.commit(Commit(rollups=(rollup_row("m01", T0 + step * 5_000),)))

    def sent(self, stream: str = "rollup") -> list[int]:
        """Numbers of the batches and tombstones that the broker got, in order."""
        topic = topics.events(SITE) if stream == "ev" else topics.telemetry(SITE, stream)
        found = [m.payload for m in self.broker.published if m.topic == topic]
        return [codec.decode(body, Batch | Tombstone).seq for body in found]  # type: ignore[arg-type]  # msgspec takes unions

    def ack(self, upto: int, *, epoch: str | None = None, stream: str = "rollup") -> None:
        ack = Ack(epoch=epoch or self.store.epoch, stream=stream, upto=upto)
        self.broker.deliver(topics.ack(SITE), codec.encode(ack))

    def ack_all(self) -> None:
        """The cloud commits what the broker got so far."""
        numbers = IntervalSet((n, n) for n in set(self.sent()))
        ack = Ack(epoch=self.store.epoch, stream="rollup", upto=numbers.upto, ranges=numbers.ranges[:32])
        self.broker.deliver(topics.ack(SITE), codec.encode(ack))

    async def commit(self) -> None:
        """As a link's transit: a cloud that acks what it has whenever something comes."""
        self.ack_all()

    async def until(self, what: Callable[[], bool], *, advance_s: float = 0.0) -> None:
        async with asyncio.timeout(10):
            while not what():
                if advance_s:
                    self.clock.advance(advance_s)
                await asyncio.sleep(0.001)

    async def settle(self) -> None:
        """Let everything that can happen now happen."""
        for _ in range(30):
            await asyncio.sleep(0.001)

    def warnings(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    b = Bench(folder)
    task = asyncio.create_task(b.uplink.supervise())
    try:
        yield b
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        b.writer.close()
        b.store.close()


async def test_birth_and_state_are_retained_at_each_connect(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.until(lambda: b.uplink.connected)
        assert codec.decode(b.broker.retained[topics.birth(SITE)].payload, Birth).site == SITE
        assert codec.decode(b.broker.retained[topics.state(SITE)].payload, SiteState).online
        b.broker.cut()
        await b.until(lambda: not b.uplink.connected)
        assert not codec.decode(b.broker.retained[topics.state(SITE)].payload, SiteState).online
        await b.until(lambda: b.uplink.connected, advance_s=1)
        assert [m.topic for m in b.broker.published].count(topics.birth(SITE)) == 2


async def test_a_batch_leaves_the_outbox_on_its_ack_and_not_before(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.record(3)
        await b.until(lambda: len(b.sent()) == 3)
        await b.settle()
        assert len(b.store.waiting()) == 3, "a PUBACK means nothing"
        b.ack(2)
        await b.until(lambda: len(b.store.waiting()) == 1)


async def test_an_ack_above_the_highest_published_number_is_counted_and_ignored(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.record(1)
        await b.until(lambda: b.sent() == [1])
        b.ack(2)
        await b.until(lambda: b.view.quarantine.get("ack-refused") == 1)
        assert len(b.store.waiting()) == 1


async def test_after_an_outage_now_comes_first_and_the_past_follows(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.broker.down = True
        await b.until(lambda: b.uplink.since_ms is not None or b.uplink._complained)
        await b.record(40)
        b.broker.transit = b.commit
        b.broker.down = False
        await b.until(lambda: b.uplink.connected, advance_s=1)
        await b.record(1, first=40)
        await b.until(lambda: len(b.sent()) == 41, advance_s=0.2)
        order = b.sent()
        assert order.index(41) < 40, "the newest did not wait for the whole backlog"
        assert order.index(40) < 5, "nor did the newest of those that waited"
        now = [41, 40, 39, 38]
        assert [n for n in order if n not in now] == list(range(1, 38))


async def test_a_publish_of_unknown_outcome_is_sent_again_and_nothing_is_deleted(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.until(lambda: b.uplink.connected)
        b.broker.black_hole = True
        await b.record(2)
        await b.until(lambda: b.uplink.unknown > 0)
        assert len(b.store.waiting()) == 2
        b.broker.black_hole = False
        await b.until(lambda: set(b.sent()) == {1, 2}, advance_s=1)
        assert b.broker.connects >= 2, "a link that does not answer is given up"


async def test_without_an_ack_the_same_batch_comes_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.record(1)
        await b.until(lambda: b.sent() == [1])
        await b.settle()
        assert b.sent() == [1]
        b.clock.advance(RESEND_S + 1)
        await b.until(lambda: b.sent() == [1, 1])


async def test_rows_of_an_earlier_life_are_sent_under_their_own_epoch(tmp_path: Path) -> None:
    old = Store(tmp_path / "agent.sqlite", ManualClock(), outbox_bytes=2**30)
    old.commit(Commit(rollups=(rollup_row("m01", T0),)))
    epoch = old.epoch
    old.close()
    async with bench(tmp_path) as b:
        await b.until(lambda: b.sent() == [1])
        b.ack(1)
        await b.until(lambda: b.view.quarantine.get("ack-refused") == 1)
        b.ack(1, epoch=epoch)
        await b.until(lambda: not b.store.waiting())


async def test_events_overtake_telemetry(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.broker.down = True
        await b.record(20)
        await b.records.emit(some_event(1))
        b.broker.down = False
        await b.until(lambda: bool(b.sent("ev")), advance_s=1)
        topics_sent = [m.topic for m in b.broker.published]
        first_row = next((i for i, t in enumerate(topics_sent) if "/up/t/" in t), len(topics_sent))
        assert topics_sent.index(topics.events(SITE)) < first_row


async def test_batches_that_are_damaged_or_never_acked_hold_no_other_back(tmp_path: Path) -> None:
    """Two of the oldest do not decode any more, and the cloud cannot keep two more: the rest flows."""
    async with bench(tmp_path) as b:
        b.broker.down = True
        await b.record(60)
        b.store._db.execute("UPDATE outbox SET body = substr(body, 1, 50) WHERE seq IN (1, 2)")
        never = {3, 4}

        async def commit() -> None:
            kept = IntervalSet((n, n) for n in set(b.sent()) - never)
            ack = Ack(epoch=b.store.epoch, stream="rollup", upto=kept.upto, ranges=kept.ranges[:32])
            b.broker.deliver(topics.ack(SITE), codec.encode(ack))

        b.broker.transit = commit
        b.broker.down = False
        await b.until(lambda: len(b.store.waiting()) == len(never), advance_s=0.5)
        assert set(b.sent()) == set(range(3, 61)) | {61}, "61 is the tombstone of 1 and 2"
        assert b.broker.connects == 1


class TestTheDiskRefuses:
    async def test_the_link_stays_up_and_all_is_sent_when_it_takes_data_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with bench(tmp_path) as b:
            await b.until(lambda: b.uplink.connected)
            real, refusals = b.store.mark_published, [3]

            def mark(rows: Iterable[OutboxRow]) -> None:
                if refusals[0]:
                    refusals[0] -= 1
                    raise StoreError("no room")
                real(rows)

            monkeypatch.setattr(b.store, "mark_published", mark)
            await b.record(5)
            await b.until(lambda: len(b.sent()) == 5, advance_s=0.5)
            assert not refusals[0]
            assert sorted(b.sent()) == [1, 2, 3, 4, 5], "once each"
            assert b.broker.connects == 1
            assert b.uplink.restarts == 0

    async def test_an_ack_is_kept_until_it_can_be_applied(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with bench(tmp_path) as b:
            await b.record(3)
            await b.until(lambda: len(b.sent()) == 3)
            real, refusals = b.store.apply_acks, [2]

            def apply(acks: Iterable[Ack]) -> AckOutcome:
                if refusals[0]:
                    refusals[0] -= 1
                    raise StoreError("no room")
                return real(acks)

            monkeypatch.setattr(b.store, "apply_acks", apply)
            b.ack(3)
            await b.until(lambda: not b.store.waiting(), advance_s=0.5)
            assert b.broker.connects == 1
            assert sorted(b.sent()) == [1, 2, 3]


async def test_a_broker_that_hangs_up_at_once_is_not_called_without_a_pause(tmp_path: Path) -> None:
    """As when two gateways have one id: each connect pushes the other off."""
    async with bench(tmp_path) as b:
        for _ in range(600):  # a minute
            b.broker.cut()
            b.clock.advance(0.1)
            await asyncio.sleep(0.0005)
        assert 5 < b.broker.connects < 80


def no_telemetry(topic: str) -> str | None:
    return "Not authorized" if "/up/t/" in topic else None


class TestTheBrokerRefuses:
    """It takes each connect and the birth, and says no to our batches: nothing is lost, and all waits."""

    async def test_refusals_grow_the_wait_as_failed_connects_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        attempts: list[int] = []

        def longest(attempt: int, *, first_s: float, cap_s: float) -> float:
            attempts.append(attempt)
            return min(cap_s, first_s * 2.0**attempt)

        monkeypatch.setattr("edge_agent.agent.uplink.uplink.full_jitter", longest)
        async with bench(tmp_path) as b:
            b.broker.refusal = no_telemetry
            await b.record(2)
            await b.until(lambda: len(attempts) == 9, advance_s=0.5)
            assert attempts == list(range(1, 10))
            assert len(b.store.waiting()) == 2

    async def test_it_is_complained_of_once_with_its_reason_and_again_with_another(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with bench(tmp_path) as b:
            b.broker.refusal = no_telemetry
            await b.record(1)
            await b.until(lambda: b.broker.connects == 6, advance_s=1)
            (only,) = b.warnings(caplog)
            assert "refused a message: Not authorized" in only
            assert "Not authorized" in b.uplink.why
            b.broker.refusal = lambda topic: "Quota exceeded" if "/up/t/" in topic else None
            await b.until(lambda: "Quota exceeded" in b.uplink.why, advance_s=1)
            assert len(b.warnings(caplog)) == 2
            b.broker.down = True
            await b.until(lambda: b.uplink.why == "memory broker is down", advance_s=1)
            b.broker.down = False
            again = b.broker.connects + 3
            await b.until(lambda: b.broker.connects >= again, advance_s=1)
            assert len(b.warnings(caplog)) == 3, "one for each kind of trouble, however they take turns"

    async def test_it_is_over_when_a_connection_has_lasted_without_a_refusal(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        async with bench(tmp_path) as b:
            b.broker.refusal = no_telemetry
            await b.record(1)
            await b.until(lambda: b.broker.connects == 3, advance_s=1)
            assert "broker is back" not in caplog.messages
            b.broker.refusal = lambda _topic: None
            await b.until(lambda: not b.uplink.why, advance_s=1)
            assert b.uplink.connected
            assert b.sent()
            assert caplog.messages.count("broker is back") == 1
            b.broker.refusal = no_telemetry
            await b.record(1, first=1)
            await b.until(lambda: len(b.warnings(caplog)) == 2, advance_s=1)

    async def test_an_answer_that_is_late_on_a_thin_link_is_no_recovery(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        async with bench(tmp_path) as b:

            async def slow() -> None:
                await b.clock.sleep(20)

            b.broker.transit, b.broker.refusal = slow, no_telemetry
            await b.record(1)
            await b.until(lambda: b.broker.connects == 4, advance_s=1)
            assert "broker is back" not in caplog.messages
            assert len(b.warnings(caplog)) == 1


async def test_a_lost_link_tells_why_until_it_is_back(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.broker.down = True
        await b.until(lambda: b.uplink.why == "memory broker is down")
        b.broker.down = False
        await b.until(lambda: b.uplink.connected, advance_s=1)
        assert b.uplink.why == ""


async def test_f10_on_a_thin_link_the_newest_waits_for_two_batches_of_the_past_at_most(
    tmp_path: Path,
) -> None:
    """Each batch takes 2 s; the cloud acks what arrives."""
    async with bench(tmp_path) as b:
        b.broker.down = True
        await b.record(60)

        async def arrive() -> None:
            await b.clock.sleep(2.0)
            b.ack_all()

        b.broker.transit = arrive
        b.broker.down = False
        await b.until(lambda: len(b.sent()) >= 10, advance_s=0.5)
        for number in range(60, 65):
            past = len(b.sent())
            await b.record(1, first=number)
            await b.until(lambda number=number: number + 1 in b.sent(), advance_s=0.5)  # type: ignore[misc]  # the default binds the round
            assert b.sent().index(number + 1) - past <= 2
        await b.until(lambda: len(b.sent()) == 65, advance_s=0.5)


async def test_f11_a_link_that_flaps_all_the_time_still_empties_the_outbox(tmp_path: Path) -> None:
    """Up and down again and again, some batches confirmed, acks of one connection arriving in the next."""
    async with bench(tmp_path) as b:
        chance, rounds = random.Random(7), 0
        await b.record(120)
        async with asyncio.timeout(20):
            while b.store.waiting() or b.broker.connects <= 5:
                rounds += 1
                b.broker.down = chance.random() < 0.5
                b.clock.advance(chance.uniform(0.1, 3))
                await asyncio.sleep(0.003)
                b.ack_all()
                if rounds % 3 == 0:
                    b.broker.cut()
        assert not b.view.quarantine


async def test_f23_a_network_that_hangs_never_stops_the_watchdog(tmp_path: Path) -> None:
    """The watchdog is about this gateway; a connection that takes hours is no reason to restart it."""
    async with bench(tmp_path) as b:
        b.broker.transit = lambda: b.clock.sleep(1e9)
        await b.until(lambda: b.broker.connects == 1)
        b.clock.advance(3 * 3_600)
        await b.settle()
        watchdog = Watchdog(b.clock, [b.uplink])
        assert not b.uplink.stalled
        watchdog.beat()
        assert not b.uplink.connected


@pytest.mark.parametrize("jump_ms", [86_400_000, -86_400_000])
async def test_f28_a_wall_clock_that_jumps_a_day_sends_nothing_twice(tmp_path: Path, jump_ms: int) -> None:
    """Time-outs are on the monotonic clock, and batches have numbers: a jump changes neither."""
    async with bench(tmp_path) as b:
        await b.record(3)
        await b.until(lambda: len(b.sent()) == 3)
        b.clock.step_wall(jump_ms)
        await b.record(3, first=3)
        await b.until(lambda: len(b.sent()) == 6, advance_s=0.1)
        b.clock.advance(RESEND_S / 2)
        await b.settle()
        assert sorted(b.sent()) == [1, 2, 3, 4, 5, 6]
        b.ack(6)
        await b.until(lambda: not b.store.waiting())
        assert b.broker.connects == 1


class TestCommands:
    def signed(self, command: str = "c-1") -> Signed:
        body = CommandBody(
            id=CommandId(command),
            site=SITE,
            issued_ms=T0,
            expires_ms=T0 + 60_000,
            counter=1,
            actor="someone",
            order=SafeStopOrder(),
        )
        return KEYS.command.sign(Purpose.COMMAND, msgspec.msgpack.encode(body))

    def statuses(self, b: Bench) -> list[CommandStatus]:
        return [codec.decode(m.payload, CommandStatus) for m in b.broker.published if "/up/res/" in m.topic]

    async def test_the_signed_bytes_reach_the_guardian_untouched(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as b:
            signed = self.signed()
            b.broker.deliver(topics.command(SITE), codec.encode(signed))
            await b.until(lambda: bool(b.orders))
            assert b.orders == [Order(signed=signed)]
            assert not self.statuses(b), "the guardian's word comes as a result"

    async def test_without_a_guardian_the_cloud_is_told_so(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as b:
            b.guardian_there = False
            b.broker.deliver(topics.command(SITE), codec.encode(self.signed()))
            await b.until(lambda: bool(self.statuses(b)))
            [status] = self.statuses(b)
            assert status.state is CommandState.REFUSED
            assert status.id == "c-1"

    async def test_a_retained_command_is_never_passed_on(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as b:
            b.broker.deliver(topics.command(SITE), codec.encode(self.signed()), retain=True)
            await b.until(lambda: b.view.quarantine.get("bad-message") == 1)
            assert not b.orders

    async def test_states_wait_for_the_link_each_once(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as b:
            b.broker.down = True
            states = [CommandState.ACCEPTED, CommandState.RUNNING, CommandState.DONE]
            for state in (*states, CommandState.DONE):
                b.uplink.tell(CommandStatus(id=CommandId("c-1"), state=state, detail="", at_ms=T0))
            b.broker.down = False
            await b.until(lambda: len(self.statuses(b)) == len(states), advance_s=1)
            assert [status.state for status in self.statuses(b)] == states


SIGNED = Signed(payload=b"keys", signatures=())
WANTED = RawWanted(id="w-1", from_ms=T0, to_ms=T0 + 60_000)
CERTIFICATE = Certificate(certificate_pem="certificate", ca_pem="authority")


class TestNewTopics:
    async def test_each_reaches_whoever_listens(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as b:
            b.broker.deliver(topics.raw_wanted(SITE), codec.encode(WANTED))
            b.broker.deliver(topics.certificate(SITE), codec.encode(CERTIFICATE))
            b.broker.deliver(topics.keyring(SITE), codec.encode(SIGNED), retain=True)
            b.broker.deliver(topics.keyring(SITE), b"", retain=True)
            await b.until(lambda: bool(b.keyrings))
            await b.settle()
            assert (b.wanted, b.certificates, b.keyrings) == ([WANTED], [CERTIFICATE], [SIGNED])
            assert not b.view.quarantine

    @pytest.mark.parametrize("name", ["ack", "cmd", "want", "cert", "blob/aa/1"])
    async def test_only_models_plans_and_keys_may_be_retained(self, tmp_path: Path, name: str) -> None:
        async with bench(tmp_path) as b:
            b.broker.deliver(f"{topics.ROOT}/{SITE}/dn/{name}", codec.encode(WANTED), retain=True)
            await b.until(lambda: b.view.quarantine == {"bad-message": 1})
            assert "retained" in b.view.quarantine_last
            assert not b.wanted

    @pytest.mark.parametrize(
        "bad",
        [
            msgspec.structs.replace(WANTED, id=""),
            msgspec.structs.replace(WANTED, id="w" * 65),
            msgspec.structs.replace(WANTED, from_ms=T0 + 60_000),
            msgspec.structs.replace(WANTED, from_ms=-1),
            msgspec.structs.replace(WANTED, max_bytes=0),
            msgspec.structs.replace(WANTED, max_bytes=2**40),
            msgspec.structs.replace(WANTED, devices=tuple(f"m{n}" for n in range(10_001))),
        ],
    )
    async def test_a_request_out_of_bounds_is_refused(self, tmp_path: Path, bad: RawWanted) -> None:
        async with bench(tmp_path) as b:
            b.broker.deliver(topics.raw_wanted(SITE), codec.encode(bad))
            await b.until(lambda: b.view.quarantine == {"bad-message": 1})
            assert not b.wanted

    async def test_certificates_and_keyrings_have_bounds(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as b:
            for large in (
                Certificate(certificate_pem="x" * 65_537, ca_pem="y"),
                Certificate(certificate_pem="x", ca_pem=""),
            ):
                b.broker.deliver(topics.certificate(SITE), codec.encode(large))
            huge = Signed(payload=bytes(256 * 1024 + 1), signatures=())
            b.broker.deliver(topics.keyring(SITE), codec.encode(huge))
            await b.until(lambda: b.view.quarantine == {"bad-message": 3})
            assert not b.certificates
            assert not b.keyrings

    async def test_where_nobody_listens_the_message_is_counted_and_left(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as b:
            deaf = Downlink(
                SITE,
                b.clock,
                b.view,
                order=b._order,
                tell=b.uplink.tell,
                model=b._model,
                chunk=b.chunks.append,
            )
            for topic, message in (
                (topics.raw_wanted(SITE), codec.encode(WANTED)),
                (topics.certificate(SITE), codec.encode(CERTIFICATE)),
                (topics.keyring(SITE), codec.encode(SIGNED)),
            ):
                await deaf.handle(Message(topic=topic, payload=message))
            assert b.view.quarantine == {"bad-message": 3}
            assert "nobody here listens" in b.view.quarantine_last

    async def test_a_certificate_is_asked_for_over_a_live_link_only(self, tmp_path: Path) -> None:
        request = CertificateRequest(request_pem="request", proof=b"signed")

        def asked(b: Bench) -> list[Message]:
            return [m for m in b.broker.published if m.topic == topics.certificate_request(SITE)]

        async with bench(tmp_path) as b:
            b.broker.down = True
            assert not b.uplink.request_certificate(request)
            b.broker.down = False
            await b.until(lambda: b.uplink.connected, advance_s=1)
            assert b.uplink.request_certificate(request)
            await b.until(lambda: bool(asked(b)))
            assert codec.decode(asked(b)[0].payload, CertificateRequest) == request
            assert not asked(b)[0].retain


class TestBadMessages:
    async def test_each_is_counted_with_its_reason_and_the_rest_goes_on(self, tmp_path: Path) -> None:
        bad: list[tuple[str, bytes]] = [
            (topics.ack(SITE), b""),
            (topics.ack(SITE), b"\x01not zlib"),
            (topics.ack(SITE), codec.encode({"is": "nonsense"})),
            (topics.ack(SITE), codec.encode(Ack(epoch="e", stream="rollup", upto=-1))),
            (topics.ack(SITE), codec.encode(Ack(epoch="e", stream="rollup", upto=0, ranges=((5, 2),)))),
            (topics.command(SITE), codec.encode(Signed(payload=b"\xff\xff", signatures=()))),
            (f"{topics.ROOT}/{SITE}/dn/unheard", b"\x00"),
            (f"{topics.ROOT}/other/dn/ack", b"\x00"),
            ("somewhere/else", b"\x00"),
            (topics.chunk(SITE, "a" * 64, 3), b"\x00\xc1"),
        ]
        async with bench(tmp_path) as b:
            await b.record(1)
            await b.until(lambda: b.sent() == [1])
            for topic, payload in bad:
                b.broker.deliver(topic, payload)
            b.ack(1)
            await b.until(lambda: not b.store.waiting())
            assert b.view.quarantine == {"bad-message": len(bad)}
            assert b.broker.connects == 1

    async def test_a_chunk_under_another_name_is_refused(self, tmp_path: Path) -> None:
        chunk = Chunk(sha256="a" * 64, number=1, total=2, chunk_sha256="", data=b"")
        async with bench(tmp_path) as b:
            b.broker.deliver(topics.chunk(SITE, "a" * 64, 2), codec.encode(chunk))
            b.broker.deliver(topics.chunk(SITE, "a" * 64, 1), codec.encode(chunk))
            await b.until(lambda: bool(b.chunks))
            assert b.chunks == [chunk]
            assert b.view.quarantine == {"bad-message": 1}

    async def test_an_emptied_assignment_topic_is_no_message(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as b:
            b.broker.deliver(topics.model(SITE), b"", retain=True)
            b.broker.deliver(
                topics.model(SITE), codec.encode(Signed(payload=b"x", signatures=())), retain=True
            )
            await b.until(lambda: bool(b.models))
            assert not b.view.quarantine


async def test_chunk_requests_are_only_made_over_a_live_link(tmp_path: Path) -> None:
    request = ChunkRequest(sha256="a" * 64, chunks=(0, 1))

    def asked(b: Bench) -> list[Message]:
        return [m for m in b.broker.published if m.topic == topics.chunk_request(SITE)]

    async with bench(tmp_path) as b:
        b.uplink.request_chunks(request)
        await b.until(lambda: b.uplink.connected)
        await b.settle()
        assert not asked(b)
        b.uplink.request_chunks(request)
        await b.until(lambda: bool(asked(b)))
        assert codec.decode(asked(b)[0].payload, ChunkRequest) == request


async def test_a_stop_that_comes_with_a_lost_link_is_still_a_stop(tmp_path: Path) -> None:
    """A task group that fails while it is cancelled forgets the cancellation."""
    for _ in range(20):
        async with asyncio.timeout(5), bench(tmp_path) as b:
            await b.until(lambda b=b: b.uplink.connected)  # type: ignore[misc]  # the default binds the round
            b.broker.cut()
