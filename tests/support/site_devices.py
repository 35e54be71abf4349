"""Site equipment for tests: values that suit each profile, emulators on loopback, small simulated sites."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from firmware_adapters.site.modbus import ModbusDevice
from firmware_adapters.site.modbus_emulator import ModbusEmulator
from firmware_adapters.site.modbus_unit import ModbusUnit
from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import Point, Profile, load_profile
from firmware_adapters.site.snmp import SnmpDevice
from firmware_adapters.site.snmp_emulator import SnmpAgent
from firmware_adapters.transport.modbus import ModbusConnection
from firmware_adapters.transport.snmp import open_link

HOST = "127.0.0.1"


def value_for(point: Point, *, seed: int) -> float:
    """A value inside the point's limits, the same for the same seed; flags alternate."""
    rng = random.Random(f"{point.name}:{seed}")
    if point.is_flag:
        return float(rng.randint(0, 1))
    low, high = point.bounds
    if point.write is not None:
        low, high = max(low, point.write.low), min(high, point.write.high)
    # Small enough for every integer type once scaled, so that only the codec decides.
    reach = min(high, low + 3000.0 * abs(point.scale))
    return round(rng.uniform(low, reach) / point.scale) * point.scale


def full_source(profile: Profile, *, seed: int = 1) -> DictSource:
    """A source that has every point of the profile."""
    values = {point.name: value_for(point, seed=seed) for point in profile.points if point.sum_of is None}
    for point in profile.points:
        if point.sum_of is not None:
            values[point.name] = sum(values[part.name] for part in profile.points if point.is_sum_with(part))
    return DictSource(values)


class ServedUnit:
    """A profile's unit behind a real socket, with a driver on it."""

    def __init__(self, emulator: ModbusEmulator, source: DictSource, profile: Profile) -> None:
        self.emulator = emulator
        self.source = source
        self.profile = profile
        self.connection = ModbusConnection(emulator.host, emulator.port)

    def driver(self, *, unit: int = 1, timeout_s: float = 0.3) -> ModbusDevice:
        """A driver on the shared connection."""
        return ModbusDevice(self.profile, self.connection, unit=unit, timeout_s=timeout_s)


@asynccontextmanager
async def served_unit(
    name: str, *, source: DictSource | None = None, holes: bool = False, single: bool = False
) -> AsyncIterator[ServedUnit]:
    """Serve the named profile as unit 1 on a free loopback port."""
    profile = load_profile(name)
    source = source or full_source(profile)
    unit = ModbusUnit(profile, source, holes=holes)
    emulator = ModbusEmulator(HOST, 0, {1: unit}, single_connection=single)
    await emulator.start()
    served = ServedUnit(emulator, source, profile)
    try:
        yield served
    finally:
        await served.connection.close()
        await emulator.stop()


class ServedAgent:
    """A profile's agent behind a real UDP socket."""

    def __init__(self, agent: SnmpAgent, source: DictSource, profile: Profile) -> None:
        self.agent = agent
        self.source = source
        self.profile = profile

    def driver(
        self, *, community: str = "private", backend: str = "gufo", timeout_s: float = 0.3, max_oids: int = 30
    ) -> SnmpDevice:
        """A driver through the named backend."""
        link = open_link(HOST, self.agent.port, community, max_oids=max_oids, backend=backend)
        return SnmpDevice(self.profile, link, timeout_s=timeout_s, may_write=True)


@asynccontextmanager
async def served_agent(*, outlets: int = 8) -> AsyncIterator[ServedAgent]:
    """Serve an APC PDU with that many outlets on a free loopback port."""
    profile = load_profile("apc-rpdu2")
    source = DictSource(
        {"power_w": 12340.0, "energy_kwh": 77.7, "current_a.1": 17.9}
        | {f"outlet_on.{n}": 1.0 for n in range(1, outlets + 1)}
    )
    agent = SnmpAgent(HOST, 0, profile, source)
    await agent.start()
    try:
        yield ServedAgent(agent, source, profile)
    finally:
        await agent.stop()


def site_tables(
    *,
    miners: int = 4,
    net: str = "127.80",
    miner_port: int = 18080,
    modbus_port: int = 15502,
    snmp_port: int = 16161,
) -> dict[str, Any]:
    """The parsed TOML of a small simulated site with one device of each kind."""
    devices: list[dict[str, Any]] = [
        {
            "id": f"m-{n:02d}",
            "kind": "miner",
            "adapter": "vnish",
            "host": f"{net}.1.{n}",
            "port": miner_port,
            "zone": "hall",
            "model": "s19jpro",
            "algorithm": "sha256d",
            "nominal_w": 2700,
            "safe_preset": "1850",
            "pdu": "pdu-1",
            "outlet": n,
        }
        for n in range(1, miners + 1)
    ]
    gear = (
        ("wall-1", "drive", "danfoss-fc102"),
        ("meter-1", "meter", "eastron-sdm630"),
        ("hvac-1", "hvac", "carel-ir33"),
        ("inlet-1", "probe", "xy-md02"),
        ("contacts-1", "contacts", "contacts"),
    )
    for n, (name, kind, profile) in enumerate(gear, start=1):
        devices.append(
            {
                "id": name,
                "kind": kind,
                "adapter": "modbus",
                "profile": profile,
                "host": f"{net}.200.{n}",
                "port": modbus_port,
                "zone": "hall",
            }
        )
    devices.append(
        {
            "id": "pdu-1",
            "kind": "pdu",
            "adapter": "snmp",
            "profile": "apc-rpdu2",
            "host": f"{net}.201.1",
            "port": snmp_port,
            "zone": "hall",
        }
    )
    return {
        "site": {"id": "test", "simulated": True},
        "zones": [{"id": "hall", "cooling": "air"}],
        "devices": devices,
        "simulator": {"seed": 7, "retune_s": 8.0, "cold_start_s": 15.0},
    }
