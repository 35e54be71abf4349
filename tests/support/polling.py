"""Links, fakes and a poller on a manual clock."""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from edge_agent.config import Cadence, SiteFile
from edge_agent.guardian.polling.backfill import Backfill
from edge_agent.guardian.polling.board import Board
from edge_agent.guardian.polling.last_heard import LastHeard
from edge_agent.guardian.polling.link import DeviceLink, Samples
from edge_agent.guardian.polling.pace import Warm
from edge_agent.guardian.polling.poller import Poller
from edge_agent.guardian.polling.ring import Ring
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.clock import ManualClock
from shared.details import Board as HashBoard
from shared.details import Chip, History, HistoryPoint, Pool
from shared.errors import DeviceError
from shared.ids import DeviceId, ZoneId
from support.guardian import FakeMiner

POLL_S = 2.0
URGENT_POLL_S = 0.5
TICK_S = 0.25


class ToldMiner(FakeMiner):
    """A miner that also tells of its boards, its chips, its pools, its past, and its log."""

    words: str = "chain 1 lost\n"
    also: tuple[Capability, ...] = (
        Capability(ability=Ability.CHIPS),
        Capability(ability=Ability.LOGS, choices=("kernel", "api")),
    )
    """What its firmware says that it can tell, beyond a plain fake's."""

    clock: ManualClock
    """Its own, which is right."""
    asked: list[str]
    refuses: dict[str, DeviceError]

    def __init__(self, *words: object) -> None:
        super().__init__(*words)  # type: ignore[arg-type] # a fake's own words
        self.asked = []
        self.refuses = {}

    def _told(self, what: str) -> None:
        self.asked.append(what)
        if what in self.refuses:
            raise self.refuses[what]

    async def facts(self) -> DeviceFacts:
        """See `Telemetry`."""
        told = await super().facts()
        return msgspec.structs.replace(told, capabilities=told.capabilities + self.also)

    async def boards(self) -> tuple[HashBoard, ...]:
        """See `BoardTelemetry`."""
        self._told("boards")
        return (HashBoard(index=0, working=True, hashrate_ths=60.0),)

    async def pools(self) -> tuple[Pool, ...]:
        """See `PoolTelemetry`."""
        self._told("pools")
        return (Pool(index=0, url="stratum+tcp://pool:3333"),)

    async def chips(self) -> tuple[Chip, ...]:
        """See `ChipTelemetry`."""
        self._told("chips")
        return (Chip(board=0, index=0, hashrate_ths=0.3), Chip(board=0, index=1, hashrate_ths=0.0))

    async def log(self, name: str) -> str:
        """See `LogReader`."""
        self._told(f"log {name}")
        return self.words

    async def history(self, span_s: float, step_s: float) -> History:
        """See `HistoryReader`."""
        self._told(f"history {span_s:.0f} {step_s:.0f}")
        return History(points=(HistoryPoint(at_ms=self.clock.utc_ms(), power_w=1.0),))


class Rig:
    """Links to fakes on a manual clock."""

    def __init__(self, site: SiteFile, timeout_s: float = 1.0, *, fake: type[FakeMiner] = FakeMiner) -> None:
        self.clock = ManualClock()
        self.samples = Samples("boot", Board(), Ring())
        self.fakes = {entry.id: fake(entry) for entry in site.miners}
        for one in self.fakes.values():
            if isinstance(one, ToldMiner):
                one.clock = self.clock
        self.links = {
            entry.id: DeviceLink(entry, self.fakes[entry.id], self.samples, self.clock, timeout_s=timeout_s)
            for entry in site.miners
        }

    def _periods_s(self, urgent: frozenset[str]) -> dict[DeviceId, float]:
        return {
            device: link.entry.poll_s or (URGENT_POLL_S if device in urgent else POLL_S)
            for device, link in self.links.items()
        }

    async def poll(
        self,
        seconds: float,
        urgent: frozenset[str] = frozenset(),
        *,
        warm: Mapping[ZoneId, Warm] | None = None,
        on_history: Callable[[Backfill], None] | None = None,
        at: Mapping[float, Callable[[], None]] | None = None,
        last_heard: LastHeard | None = None,
        groups: Mapping[DeviceId, Cadence] | None = None,
    ) -> list[DeviceId]:
        """Run a poller for so long; whose facts came. `at` does things at a time since the start."""
        told: list[DeviceId] = []
        poller = Poller(
            self.links,
            self.clock,
            periods_s=self._periods_s(urgent),
            urgent=urgent,  # type: ignore[arg-type] # device ids are text
            on_facts=told.append,
            warm=warm,
            on_history=on_history,
            last_heard=last_heard,
            groups=groups,
        )
        task = asyncio.ensure_future(poller.run())
        left = sorted((at or {}).items())
        for tick in range(round(seconds / TICK_S)):
            while left and left[0][0] <= tick * TICK_S:
                left.pop(0)[1]()
            for _ in range(10):
                await asyncio.sleep(0)
            self.clock.advance(TICK_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return told
