"""A guardian with a meter: what the miners really draw, and whatever else hangs behind it.

The meter is fed from the fake miners before every turn, so it contradicts them only where a test says so.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Self

from edge_agent.config import SiteFile
from edge_agent.ipc import StandingOrder
from shared.commands import AnyOrder
from shared.ids import CommandId, DeviceId
from support.guardian import FakeMiner, FakeProbe, GuardianBench, make_site, signed_order

METER = DeviceId("meter-1")
UPS = DeviceId("ups-1")

_POWER = """
[curtailment]
meter = [{ device = "meter-1", point = "power_w" }]
within_pct = 2.0
within_w = 100.0
confirm_for_s = 5.0
restore_jitter_s = 20.0

[[devices]]
id = "meter-1"
kind = "meter"
adapter = "modbus"
profile = "eastron-sdm630"
host = "127.0.0.1"
port = 15030
zone = "hall-1"
"""

CAP = """
[[power_caps]]
id = "feeder"
points = [{ device = "meter-1", point = "power_w" }]
zones = ["hall-1"]
w_per_unit = 1.0
ramp_w_per_min = 60000.0

[power_caps.limits]
release = 10000.0
warn = 11000.0
shed = 12000.0
trip = 14000.0
on_delay_s = 3.0
off_delay_s = 10.0
"""

MAINS = """
[mains]
device = "ups-1"
on_battery_point = "on_battery"
runtime_point = "runtime_s"
on_delay_s = 3.0
restore_after_s = 20.0
stages = [
    { runtime_below_s = 600.0, stop = false },
    { runtime_below_s = 300.0, stop = true },
]

[[devices]]
id = "ups-1"
kind = "ups"
adapter = "snmp"
profile = "ups-mib"
host = "127.0.0.1"
port = 16110
zone = "hall-1"
"""


def power_site(
    folder: Path, miners: int = 6, *, more: str = "", edit: Callable[[str], str] = str
) -> SiteFile:
    """A site with a meter and a [curtailment] table; `more` adds CAP or MAINS."""
    return make_site(folder, miners, edit=lambda text: edit(text + _POWER + more))


class PowerBench(GuardianBench):
    """A whole guardian whose meter reads what its miners draw, plus `base_w`, plus `lie_w`."""

    base_w = 1000.0
    lie_w = 0.0
    known = True
    counter = 0

    @classmethod
    async def begin(cls, folder: Path, miners: int = 6, **site: object) -> Self:
        bench = cls(power_site(folder, miners, **site))
        return await bench.start()

    @property
    def real_w(self) -> float:
        """What really flows through the meter."""
        return self.base_w + sum(drawn_w(fake) for fake in self.miners)

    async def turn(self) -> None:
        meter = self.fakes[METER]
        assert isinstance(meter, FakeProbe)
        meter.points = {"power_w": self.real_w + self.lie_w} if self.known else {}
        if isinstance(ups := self.fakes.get(UPS), FakeProbe):
            ups.points = ups.points or {"on_battery": 0.0, "runtime_s": 1800.0}
        await super().turn()
        for _ in range(200):
            if not self.guardian.power._saving.locked():
                break
            await asyncio.wait(self.guardian.desk._background, timeout=0.02)
            await self.settle()

    async def crash(self) -> "PowerBench":
        await self.guardian.desk.close()
        self.guardian.journal.close()
        self.guardian._lock.close()
        again = type(self)(self.site, clock=self.clock)
        for device, fake in self.fakes.items():
            again.guardian.links[device].adapter = fake
        again.fakes, again.base_w, again.counter = self.fakes, self.base_w, self.counter
        for link in again.guardian.links.values():
            await link.read_facts()
        return again

    async def order(self, order: AnyOrder, command: str = "c-1") -> None:
        """Send a signed order and let it be taken in."""
        PowerBench.counter += 1
        signed = signed_order(order, self.clock, counter=PowerBench.counter, command=command)
        before = set(self.guardian.desk._background)
        self.guardian.intake.order(signed)
        taking = self.guardian.desk._background - before
        for _ in range(200):
            await asyncio.wait(taking, timeout=0.02)  # the disk has a thread of its own
            await self.settle()
            if self.results(command):
                return
        raise AssertionError(f"order {command} got no answer")

    def standing(self, command: str = "c-1") -> StandingOrder:
        found = [entry for entry in self.guardian.status().orders if entry.id == CommandId(command)]
        assert len(found) == 1, self.guardian.status().orders
        return found[0]

    @property
    def running(self) -> int:
        return sum(fake.state.draws_power for fake in self.miners)


def drawn_w(fake: FakeMiner) -> float:
    return (fake.power_w or 0.0) if fake.state.draws_power else fake.off_power_w
