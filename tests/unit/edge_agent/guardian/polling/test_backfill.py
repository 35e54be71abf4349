"""A gap is asked for until it is told or it is said that it stays unknown; an older one is not forgotten."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from edge_agent.guardian.polling.backfill import AGAIN_S, MOST_S, STEP_S, Backfill, Backfills, Gap
from shared.clock import ManualClock
from shared.details import History, HistoryPoint
from shared.ids import DeviceId


def told(at_ms: int) -> History:
    return History(points=(HistoryPoint(at_ms=at_ms, power_w=1.0),))


class Device:
    """One that remembers; `busy` of its replies bring nothing. It answers a question once it may."""

    def __init__(self, name: str = "m-1", *, busy: int = 0) -> None:
        self.device = DeviceId(name)
        self.answers = True
        self.busy = busy
        self.asked: list[float] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.history = History(points=())

    async def read_history(self, span_s: float, step_s: float) -> History | None:
        """See `Remembers`."""
        assert step_s == STEP_S
        self.asked.append(span_s)
        await self.may_answer.wait()
        return None if len(self.asked) <= self.busy else self.history


class Scene:
    """The queue at work on a manual clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.clock.advance(10_000.0)
        self.filled: list[Backfill] = []
        self.backfills = Backfills(self.filled.append, self.clock)

    def gap(self, ago_s: float, span_s: float) -> Gap:
        """One that ended so long ago."""
        to_s = self.clock.monotonic() - ago_s
        return Gap(from_s=to_s - span_s, to_s=to_s)

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def good_read(self, device: Device, *, after_s: float) -> None:
        self.clock.advance(after_s)
        self.backfills.follow(device)
        await self.settle()

    def spans_s(self) -> list[float]:
        return [(told.to_ms - told.from_ms) / 1000 for told in self.filled]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    task = asyncio.ensure_future(scene.backfills.run())
    yield scene
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_gap_that_a_booting_device_cannot_tell_is_asked_again_at_a_later_good_read(
    scene: Scene,
) -> None:
    device = Device(busy=1)
    scene.backfills.add(device, scene.gap(0.0, 7200.0))
    await scene.settle()
    await scene.good_read(device, after_s=AGAIN_S[0] - 1.0)
    assert device.asked == [7200.0 + STEP_S]
    await scene.good_read(device, after_s=1.0)
    assert device.asked[1:] == [7200.0 + AGAIN_S[0] + STEP_S], "from now back to where the gap began"
    assert scene.spans_s() == [7200.0]
    assert scene.backfills.open_since_s(device.device) is None


@pytest.mark.parametrize("off_h", [-24 * 365, -200, 10 * 24 * 365])
async def test_one_whose_clock_was_not_set_fills_nothing_and_it_is_said(
    scene: Scene, caplog: pytest.LogCaptureFixture, off_h: int
) -> None:
    """After a power cut without time from a server; rows of 1970 or of next year are nobody's history."""
    device = Device()
    device.history = told(scene.clock.utc_ms() + off_h * 3_600_000)
    scene.backfills.add(device, scene.gap(0.0, 7200.0))
    await scene.settle()
    assert scene.filled == []
    assert f"the newest record is {off_h} h away: is its clock set?" in caplog.text
    device.history = told(scene.clock.utc_ms())
    await scene.good_read(device, after_s=AGAIN_S[0])
    assert scene.spans_s() == [7200.0], "asked again, it may have been set meanwhile"


async def test_a_record_that_is_out_of_the_gaps_time_is_left_out(scene: Scene) -> None:
    now_ms = scene.clock.utc_ms()
    device = Device()
    device.history = History(points=(*told(60_000).points, *told(now_ms - 60_000).points))
    scene.backfills.add(device, scene.gap(0.0, 7200.0))
    await scene.settle()
    assert [point.at_ms for point in scene.filled[0].history.points] == [now_ms - 60_000]


async def test_one_that_never_tells_is_asked_a_few_times_apart_and_it_is_said_that_it_stays_unknown(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    device = Device(busy=1_000)
    scene.backfills.add(device, scene.gap(0.0, 600.0))
    await scene.settle()
    for after_s in (*AGAIN_S, MOST_S, MOST_S):
        await scene.good_read(device, after_s=after_s)
    assert len(device.asked) == len(AGAIN_S) + 1
    assert scene.filled == []
    assert [record.getMessage() for record in caplog.records] == [
        f"m-1: 600 s without a read stay unknown: not told in {len(AGAIN_S) + 1} tries"
    ]
    assert scene.backfills.open_since_s(device.device) is None


async def test_what_the_device_has_forgotten_meanwhile_is_not_asked_for_again(scene: Scene) -> None:
    device = Device(busy=1)
    scene.backfills.add(device, scene.gap(MOST_S, 600.0))
    await scene.settle()
    await scene.good_read(device, after_s=max(AGAIN_S))
    assert device.asked == [MOST_S]


async def test_a_second_outage_loses_no_gap_that_waits(scene: Scene) -> None:
    """Of a site that went dark twice, one gap after the other is asked for; the second cuts the queue."""
    first, second = Device("m-1"), Device("m-2")
    first.may_answer.clear()
    scene.backfills.add(first, scene.gap(0.0, 3600.0))
    scene.backfills.add(second, scene.gap(0.0, 3600.0))
    await scene.settle()
    second.answers = False
    first.may_answer.set()
    await scene.settle()
    assert second.asked == [], "a silent one would hold up the others for its whole deadline"
    scene.clock.advance(1000.0)
    second.answers = True
    scene.backfills.add(second, scene.gap(0.0, 900.0))
    await scene.settle()
    assert second.asked == [3600.0 + 1000.0 + STEP_S]
    assert scene.spans_s() == [3600.0, 4600.0], "one question for both, from where the older one began"


async def test_an_outage_too_short_for_a_gap_of_its_own_loses_none_that_waits(scene: Scene) -> None:
    device = Device()
    device.answers = False
    scene.backfills.add(device, scene.gap(0.0, 3600.0))
    await scene.settle()
    device.answers = True
    await scene.good_read(device, after_s=30.0)
    assert scene.spans_s() == [3600.0]


async def test_a_gap_that_comes_while_the_older_one_is_asked_for_in_vain_is_joined_to_it(
    scene: Scene,
) -> None:
    device = Device(busy=1)
    device.may_answer.clear()
    scene.backfills.add(device, scene.gap(0.0, 3600.0))
    await scene.settle()
    scene.clock.advance(500.0)
    scene.backfills.add(device, scene.gap(0.0, 400.0))
    device.may_answer.set()
    await scene.settle()
    assert device.asked == [3600.0 + STEP_S, 4100.0 + STEP_S]
    assert scene.spans_s() == [4100.0]


async def test_however_often_a_device_comes_and_goes_it_has_one_open_gap(scene: Scene) -> None:
    devices = [Device(f"m-{number}") for number in range(50)]
    for device in devices:
        device.answers = False
    for _ in range(20):
        scene.clock.advance(1000.0)
        for device in devices:
            scene.backfills.add(device, scene.gap(0.0, 300.0))
        await scene.settle()
    for device in devices:
        device.answers = True
        scene.backfills.follow(device)
    for _ in range(len(devices)):
        await scene.settle()
    assert [len(device.asked) for device in devices] == [1] * len(devices)
    assert scene.spans_s() == [19 * 1000.0 + 300.0] * len(devices)


async def test_what_waited_in_the_queue_is_asked_from_where_the_gap_began(scene: Scene) -> None:
    """A device counts back from now, and now is later than the end of the gap."""
    first, second = Device("m-1"), Device("m-2")
    first.may_answer.clear()
    scene.backfills.add(first, scene.gap(0.0, 600.0))
    scene.backfills.add(second, scene.gap(0.0, 600.0))
    await scene.settle()
    scene.clock.advance(1800.0)
    first.may_answer.set()
    await scene.settle()
    assert second.asked == [600.0 + 1800.0 + STEP_S]


async def test_where_nobody_wants_it_nothing_is_held() -> None:
    clock, device = ManualClock(), Device()
    backfills = Backfills(None, clock)
    backfills.add(device, Gap(from_s=-600.0, to_s=0.0))
    assert backfills.open_since_s(device.device) is None


async def test_a_good_read_of_one_with_nothing_open_asks_nothing(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    device = Device()
    await scene.good_read(device, after_s=1.0)
    assert (device.asked, caplog.records) == ([], [])
