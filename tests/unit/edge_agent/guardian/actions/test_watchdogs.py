"""Device-side time-outs: armed, read back, fed, and armed anew after a reconnection (S10)."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from edge_agent.guardian.actions.watchdogs import Watchdogs
from shared.alarms import EventKind
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.errors import Unreachable
from shared.ids import DeviceId
from shared.inventory import DeviceEntry
from support.guardian import WALL, FakeWall, GuardianBench, make_site


class WallWithTimeout(FakeWall):
    """A drive that goes to full speed by itself when nobody feeds it."""

    def __init__(self, entry: DeviceEntry) -> None:
        super().__init__(entry)
        self.said: list[str] = []
        self.timeout_s: float | None = None
        self.forgets = False

    async def facts(self) -> DeviceFacts:
        told = await super().facts()
        dog = Capability(ability=Ability.WATCHDOG, points=("speed_setpoint_pct",), low=1.0, high=600.0)
        return msgspec.structs.replace(told, capabilities=(*told.capabilities, dog))

    async def _say(self, word: str) -> None:
        if self.fail is not None:
            raise self.fail
        self.said.append(word)

    async def arm(self, timeout_s: float) -> None:
        await self._say(f"arm {timeout_s:g}")
        self.timeout_s = None if self.forgets else timeout_s

    async def feed(self) -> None:
        await self._say("feed")

    async def disarm(self) -> None:
        await self._say("disarm")
        self.timeout_s = None

    async def armed_s(self) -> float | None:
        return self.timeout_s


class Kennel:
    """A guardian's bench with one such drive and its tender."""

    def __init__(self, bench: GuardianBench) -> None:
        self.bench = bench
        guardian = bench.guardian
        self.wall = WallWithTimeout(guardian.links[WALL].entry)
        guardian.links[WALL].adapter = bench.fakes[WALL] = self.wall
        self.turning, self.standing = True, frozenset[DeviceId]()
        self.dogs = Watchdogs(
            guardian.links,
            guardian.board,
            guardian.recorder,
            bench.clock,
            bench.site.timing,
            turning=lambda: self.turning,
            standing=lambda: self.standing,
        )

    async def run(self, seconds: float) -> list[str]:
        """What the drive was told in this time."""
        before = len(self.wall.said)
        for _ in range(round(seconds)):
            await self.dogs.once()
            await self.bench.run(1.0)
        return self.wall.said[before:]

    def events(self, kind: EventKind) -> list[str]:
        return [event.title for event in self.bench.events(kind) if event.key == "watchdog/wall-1"]


@pytest.fixture
async def kennel(tmp_path: Path) -> AsyncIterator[Kennel]:
    kennel = Kennel(GuardianBench(make_site(tmp_path)))
    await kennel.bench.start()
    yield kennel
    await kennel.bench.close()


async def test_is_armed_read_back_and_fed(kennel: Kennel) -> None:
    assert await kennel.run(3.0) == ["arm 12", "feed", "feed", "feed"]
    assert kennel.dogs.armed == {WALL}
    assert (await kennel.run(70.0)).count("feed") == 70
    assert kennel.events(EventKind.ALARM) == []


async def test_is_not_fed_while_the_interlocks_stand_still(kennel: Kennel) -> None:
    await kennel.run(2.0)
    kennel.turning = False
    assert await kennel.run(5.0) == []


async def test_is_armed_anew_after_a_reconnection(kennel: Kennel) -> None:
    await kennel.run(3.0)
    kennel.wall.fail = Unreachable("supply lost")
    await kennel.run(6.0)
    assert kennel.dogs.armed == frozenset()
    kennel.wall.fail = None
    assert (await kennel.run(6.0))[0] == "arm 12"
    assert kennel.dogs.armed == {WALL}


async def test_one_that_forgets_is_found_out(kennel: Kennel) -> None:
    await kennel.run(3.0)
    kennel.wall.timeout_s = None
    said = await kennel.run(62.0)
    assert "arm 12" in said


async def test_an_arming_that_is_not_confirmed_is_an_alarm_that_clears(kennel: Kennel) -> None:
    kennel.wall.forgets = True
    await kennel.run(29.0)
    assert kennel.events(EventKind.ALARM) == []
    await kennel.run(4.0)
    assert kennel.events(EventKind.ALARM) == [
        "the time-out of wall-1 is not armed: it says None s instead of 12 s"
    ]
    kennel.wall.forgets = False
    await kennel.run(2.0)
    assert kennel.events(EventKind.ALARM_CLEARED) == ["the time-out of wall-1 is armed"]


async def test_fans_that_must_stand_are_not_started_by_their_own_time_out(kennel: Kennel) -> None:
    await kennel.run(2.0)
    kennel.standing = frozenset({WALL})
    assert await kennel.run(5.0) == ["disarm"]
    kennel.standing = frozenset()
    assert (await kennel.run(2.0))[0] == "arm 12"


async def test_a_range_that_is_too_short_is_told(kennel: Kennel) -> None:
    link = kennel.bench.guardian.links[WALL]
    assert link.facts is not None
    short = Capability(ability=Ability.WATCHDOG, low=0.1, high=2.0)
    link.facts = msgspec.structs.replace(link.facts, capabilities=(short,))
    assert await kennel.run(32.0) == []
    assert "too short for the safety cadence" in kennel.events(EventKind.ALARM)[0]


async def test_an_adapters_bug_is_one_time_out_that_is_not_armed(kennel: Kennel) -> None:
    """It would end the guardian, and with it every interlock of the site."""

    async def bug(_timeout_s: float) -> None:
        raise ValueError("bad register map")

    kennel.wall.arm = bug  # type: ignore[method-assign] # an adapter with a bug
    await kennel.run(32.0)
    assert kennel.dogs.armed == frozenset()
    assert "bad register map" in kennel.events(EventKind.ALARM)[0]
