"""The time in which the gateway itself was down: known from a small file, by a clock that may be believed."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.config import SiteFile
from edge_agent.guardian.polling.backfill import MOST_S, Backfill
from edge_agent.guardian.polling.last_heard import NOTE_S, Heard, LastHeard
from edge_agent.guardian.storage import durable
from shared.clock import ManualClock
from shared.details import History
from shared.errors import MalformedReply, StoreError, Unreachable
from shared.ids import DeviceId
from support.guardian import FakeMiner, miner_id
from support.polling import POLL_S, Rig, ToldMiner

HOUR_S = 3600.0


class Gateway:
    """A gateway whose guardian comes and goes; the wall clock goes on while it is down."""

    def __init__(self, site: SiteFile, folder: Path) -> None:
        self.site = site
        self.path = folder / "last-heard.json"
        self.synchronised = True
        self.room = True
        self.filled: list[Backfill] = []
        self.lives: list[Rig] = []
        self._utc_ms = ManualClock().utc_ms()

    @property
    def spans_s(self) -> dict[DeviceId, float]:
        """What was asked for, device by device."""
        return {told.device: (told.to_ms - told.from_ms) / 1000 for told in self.filled}

    def down(self, seconds: float) -> None:
        self._utc_ms += round(seconds * 1000)

    async def up(
        self,
        seconds: float,
        *,
        dead: frozenset[DeviceId] = frozenset(),
        at: dict[float, object] | None = None,
        fake: type[FakeMiner] = ToldMiner,
        mistaken_s: float = 0.0,
    ) -> Rig:
        """One life of a guardian; `dead` devices cannot be reached, and its clock is `mistaken_s` behind."""
        rig = Rig(self.site, fake=fake)
        rig.clock.step_wall(self._utc_ms - round(mistaken_s * 1000) - rig.clock.utc_ms())
        for device in dead:
            rig.fakes[device].fail = Unreachable("x")
        self.lives.append(rig)
        heard = LastHeard(
            self.path, rig.clock, synchronised=lambda: self.synchronised, room=lambda: self.room
        )
        await rig.poll(seconds, on_history=self.filled.append, last_heard=heard, at=at)  # type: ignore[arg-type] # plain callables
        self._utc_ms += round(seconds * 1000)
        return rig


@pytest.fixture
def gateway(site: SiteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    async def at_once(call: Callable[..., None], *words: object) -> None:
        call(*words)

    # A thread would write by the real clock, and the lives here go by the manual one.
    monkeypatch.setattr(asyncio, "to_thread", at_once)
    return Gateway(site, tmp_path)


async def test_an_outage_of_the_gateway_is_a_gap_of_every_device_that_remembers(gateway: Gateway) -> None:
    await gateway.up(2 * NOTE_S)
    gateway.down(5 * HOUR_S)
    rig = await gateway.up(2 * NOTE_S)
    assert set(gateway.spans_s) == set(rig.fakes)
    for span_s in gateway.spans_s.values():
        assert 5 * HOUR_S <= span_s <= 5 * HOUR_S + NOTE_S + 2 * POLL_S
    assert len(gateway.filled) == len(rig.fakes), "once each"


async def test_a_restart_is_none(gateway: Gateway) -> None:
    await gateway.up(2 * NOTE_S)
    gateway.down(30.0)
    await gateway.up(2 * NOTE_S)
    assert gateway.filled == []


async def test_the_first_start_ever_makes_no_gap(gateway: Gateway) -> None:
    await gateway.up(2 * NOTE_S)
    assert gateway.filled == []
    assert gateway.path.exists()


async def test_one_that_was_silent_before_has_its_gap_from_there(gateway: Gateway) -> None:
    await gateway.up(2 * NOTE_S)
    for _ in range(2):
        gateway.down(HOUR_S)
        await gateway.up(10 * NOTE_S, dead=frozenset({miner_id(1)}))
    gateway.filled.clear()
    gateway.down(HOUR_S)
    await gateway.up(2 * NOTE_S)
    longest = 3 * HOUR_S + 20 * NOTE_S
    spans_s = gateway.spans_s
    assert longest <= spans_s.pop(miner_id(1)) <= longest + NOTE_S + 2 * POLL_S
    assert max(spans_s.values()) <= HOUR_S + NOTE_S + 2 * POLL_S


async def test_one_that_never_was_heard_has_a_gap_without_beginning_which_is_none(gateway: Gateway) -> None:
    await gateway.up(2 * NOTE_S, dead=frozenset({miner_id(1)}))
    gateway.down(HOUR_S)
    await gateway.up(2 * NOTE_S)
    assert miner_id(1) not in gateway.spans_s
    assert miner_id(2) in gateway.spans_s


async def test_what_was_open_when_the_guardian_ended_is_open_when_it_begins(gateway: Gateway) -> None:
    """An upgrade while a site's past is being asked for loses none of it."""
    await gateway.up(2 * NOTE_S)
    gateway.down(5 * HOUR_S)

    class Busy(ToldMiner):
        async def history(self, span_s: float, step_s: float) -> History:
            raise MalformedReply("boots")

    await gateway.up(3 * NOTE_S, fake=Busy)
    assert gateway.filled == []
    gateway.down(10.0)
    rig = await gateway.up(2 * NOTE_S)
    assert set(gateway.spans_s) == set(rig.fakes)
    assert min(gateway.spans_s.values()) >= 5 * HOUR_S


async def test_more_than_a_device_can_remember_is_cut(gateway: Gateway) -> None:
    await gateway.up(2 * NOTE_S)
    gateway.down(3 * MOST_S)
    await gateway.up(2 * NOTE_S)
    assert set(gateway.spans_s.values()) == {MOST_S}


async def test_a_clock_that_is_not_synchronised_makes_no_gap_and_notes_nothing(gateway: Gateway) -> None:
    await gateway.up(2 * NOTE_S)
    gateway.down(5 * HOUR_S)
    gateway.synchronised = False
    before = gateway.path.read_bytes()
    await gateway.up(3 * NOTE_S, mistaken_s=-50 * HOUR_S)
    assert gateway.filled == []
    assert gateway.path.read_bytes() == before


async def test_once_it_is_synchronised_the_gap_ends_where_the_devices_were_heard(gateway: Gateway) -> None:
    """A gateway without a battery for its clock starts in the past, and is set right minutes later."""
    await gateway.up(2 * NOTE_S)
    gateway.down(5 * HOUR_S)
    gateway.synchronised = False
    mistaken_s = 1000 * HOUR_S

    def set_right() -> None:
        gateway.synchronised = True
        gateway.lives[-1].clock.step_wall(round(mistaken_s * 1000))

    await gateway.up(6 * NOTE_S, mistaken_s=mistaken_s, at={4 * NOTE_S + 1.0: set_right})
    assert gateway.filled
    for span_s in gateway.spans_s.values():
        assert 5 * HOUR_S <= span_s <= 5 * HOUR_S + NOTE_S + 2 * POLL_S


async def test_a_site_in_which_nobody_answers_writes_nothing(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk of a small gateway wears out."""
    await gateway.up(2 * NOTE_S)
    gateway.down(HOUR_S)
    written: list[bytes] = []
    monkeypatch.setattr(durable, "replace", lambda _path, data: written.append(data))
    await gateway.up(10 * NOTE_S, dead=frozenset(entry.id for entry in gateway.site.miners))
    assert len(written) == 1, "that they are silent"


async def test_devices_that_remember_nothing_need_no_file(gateway: Gateway) -> None:
    await gateway.up(2 * NOTE_S, fake=FakeMiner)
    assert not gateway.path.exists()


async def test_what_is_left_of_a_full_disk_is_the_journals(gateway: Gateway) -> None:
    gateway.room = False
    await gateway.up(2 * NOTE_S)
    assert not gateway.path.exists()


async def test_a_disk_that_refuses_is_told_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_path: Path, _data: bytes) -> None:
        raise StoreError("no")

    monkeypatch.setattr(durable, "replace", refuse)
    await gateway.up(4 * NOTE_S)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_a_damaged_file_is_told_and_makes_no_gap(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.path.write_bytes(durable.seal(Heard(at_ms=1))[:-3])
    await gateway.up(2 * NOTE_S)
    assert gateway.filled == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_the_file_of_five_thousand_silent_devices_is_small() -> None:
    silent: dict[DeviceId, int | None] = {DeviceId(f"m-{n:04d}"): 1_780_000_000_000 for n in range(5_000)}
    assert len(durable.seal(Heard(at_ms=1_780_000_000_000, silent=silent))) < 160_000
