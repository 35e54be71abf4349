"""Builders for the guardian's tests.

A site file, fake devices, a zone bench for the pure core, and a whole guardian whose clock stands still
until it is moved.
"""

import asyncio
import tomllib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import msgspec

from edge_agent import config
from edge_agent.config import SiteFile, Zone
from edge_agent.guardian.app import Guardian
from edge_agent.guardian.interlocks import zone as zone_step
from edge_agent.guardian.interlocks.inputs import (
    Commanded,
    ContactInput,
    Demand,
    DemandKind,
    FeederClaim,
    Finding,
    MainsClaim,
    MinerInput,
    ModelClaim,
    SensorInput,
    ZoneInput,
    ZoneOutputs,
)
from edge_agent.guardian.interlocks.state import ZoneState
from edge_agent.ipc import FromGuardian, Mode, Result, ZoneStatus
from firmware_adapters.capabilities import Credential, Observation
from shared.alarms import Event, EventKind
from shared.artifacts.signing import Keyring, PublicKeyEntry, Purpose, Role, Signed, SigningKey
from shared.capabilities import Ability, Capability, DeviceFacts, Preset
from shared.clock import Clock, ManualClock
from shared.commands import AnyOrder, CommandBody
from shared.errors import DeviceError, Unsupported
from shared.ids import CommandId, DeviceId, SiteId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import MISSING, DeviceKind, MinerState, Reading
from shared.units import Algorithm

SITE = SiteId("pit")
ZONE = ZoneId("hall-1")
WALL = DeviceId("wall-1")
PROBE = DeviceId("probe-1")
PDU = DeviceId("pdu-1")
LADDER = tuple(
    Preset(name=str(watt), power_w=watt, hashrate_ths=watt / 25, tuned=watt != 2700)
    for watt in (2000, 2300, 2500, 2700, 3000)
)
"""2700 is in the list but was never tuned."""
MINER_ABILITIES = (
    Capability(ability=Ability.TELEMETRY),
    Capability(ability=Ability.PRESET, settle_s=20.0, restarts_mining=True),
    Capability(ability=Ability.MINING),
)
KEYS = {role: SigningKey.generate(f"test-{role}") for role in Role}


def miner_id(number: int) -> DeviceId:
    return DeviceId(f"m-{number}")


# ---------------------------------------------------------------- the site file

_HEAD = """\
schema = 1

[site]
id = "pit"
name = "Pit"
timezone = "UTC"
ml_may_raise = false
ml_may_stop = false
remote_reset = false
action_limits = "seeds"
simulated = true

[paths]
guardian_state = "guardian"
agent_state = "agent"
guardian_socket = "g.sock"
operator_socket = "o.sock"
keyring = "keyring.toml"
credentials_key = "master.key"

[timing]
poll_s = 2.0
safety_poll_s = 1.0
request_timeout_s = 1.0
stale_after_s = 6.0
lost_after_s = 12.0
step_s = 5
lease_max_s = 60.0
lease_hold_s = 30.0
lease_safe_s = 120.0
settle_s = 20.0
stop_confirm_s = 30.0
write_confirm_s = 40.0
restart_after_stop_s = 15.0
restart_window_s = 30.0
restart_power_pct = 50.0
preset_dwell_s = 60.0
starts_per_hour = 20
bypass_max_s = 3600.0
proof_test_every_s = 86400.0

[uplink]
broker_host = "127.0.0.1"
broker_port = 1883

[agent]
status_port = 8099
shadow_cycles = 5
score_every_s = 5.0

[[zones]]
id = "hall-1"
cooling = "air"

[zones.limits.chip_temp_c]
release = 74.0
warn = 78.0
shed = 83.0
trip = 88.0
on_delay_s = 4.0
off_delay_s = 10.0

[zones.limits.board_temp_c]
release = 60.0
warn = 65.0
shed = 70.0
trip = 75.0
on_delay_s = 4.0
off_delay_s = 10.0

[zones.limits.inlet_air_c]
release = 33.0
warn = 35.0
shed = 40.0
trip = 45.0
on_delay_s = 4.0
off_delay_s = 10.0

[zones.cooling_proof]
device = "wall-1"
point = "speed_pct"
lost_below = 20.0
proven_above = 40.0
lost_after_s = 4.0
proven_for_s = 10.0

[[zones.cooling_actuators]]
device = "wall-1"
point = "speed_setpoint_pct"
fail_safe = 100.0
low = 0.0
high = 100.0

[[zones.sensors]]
role = "inlet_air_c"
device = "probe-1"
point = "air_temp_c"

[[devices]]
id = "wall-1"
kind = "drive"
adapter = "modbus"
profile = "danfoss-fc102"
host = "127.0.0.1"
port = 15020
zone = "hall-1"

[[devices]]
id = "probe-1"
kind = "probe"
adapter = "modbus"
profile = "xy-md02"
host = "127.0.0.1"
port = 15021
zone = "hall-1"

[[devices]]
id = "pdu-1"
kind = "pdu"
adapter = "snmp"
profile = "apc-rpdu2"
host = "127.0.0.1"
port = 16100
zone = "hall-1"
"""


def site_toml(miners: int = 4) -> str:
    """A small valid site file; the last miner hangs on outlet 1 of the PDU."""
    entries = [
        f"""
[[devices]]
id = "m-{number}"
kind = "miner"
adapter = "vnish"
host = "127.9.1.{number}"
port = 18080
zone = "hall-1"
model = "s19"
algorithm = "sha256d"
nominal_w = 3000.0
safe_preset = "2300"
{'pdu = "pdu-1"' + chr(10) + "outlet = 1" if number == miners else ""}"""
        for number in range(1, miners + 1)
    ]
    return _HEAD + "\n".join(entries) + "\n"


def make_site(folder: Path, miners: int = 4, *, edit: Callable[[str], str] = lambda text: text) -> SiteFile:
    """Write the site file and its keyring into `folder`, and load it."""
    path = folder / "site.toml"
    path.write_text(edit(site_toml(miners)))
    entries = tuple(
        PublicKeyEntry(id=key.key_id, role=role, public=key.public_text) for role, key in KEYS.items()
    )
    (folder / "keyring.toml").write_text(Keyring.dump(entries))
    return config.load(path)


def parsed(text: str) -> dict[str, object]:
    return tomllib.loads(text)


# ---------------------------------------------------------------- signed orders


def signed_order(
    order: AnyOrder,
    clock: Clock,
    *,
    counter: int = 1,
    command: str = "c-1",
    site: SiteId = SITE,
    role: Role = Role.COMMAND,
    life_ms: int = 30_000,
    issued_ms: int | None = None,
) -> Signed:
    """An order as the cloud (or an operator) signs it."""
    issued = clock.utc_ms() if issued_ms is None else issued_ms
    body = CommandBody(
        id=CommandId(command),
        site=site,
        issued_ms=issued,
        expires_ms=issued + life_ms,
        counter=counter,
        actor="ada",
        order=order,
    )
    return KEYS[role].sign(Purpose.COMMAND, msgspec.msgpack.encode(body))


# ---------------------------------------------------------------- the zone bench (pure core)


GOOD_PROBE: dict[str, float] = {
    "inlet_air_c": 24.0,
    "water_c": 30.0,
    "flow_m3h": 20.0,
    "pressure_pa": 200_000.0,
    "dew_margin_c": 12.0,
}
"""What the probes of a zone bench read as long as nothing is wrong."""


class ZoneBench:
    """One zone of the pure core under test: set what the sensors say, let time pass, look.

    >>> bench.hot(1, 85).run(5).lowered == ["m-1"]
    """

    STEP_S = 0.5

    def __init__(self, site: SiteFile, state: ZoneState | None = None) -> None:
        self.site = site
        self.zone: Zone = site.zones[0]
        self.state = state or ZoneState()
        self.miners = {
            device.id: MinerInput(
                device=device.id, age_s=0.5, state=MinerState.MINING, chip_c=65.0, board_c=50.0
            )
            for device in site.miners
        }
        self.cooling: float | None = 80.0
        self.cooling_others: tuple[float | None, ...] = ()
        self.cooling_points: tuple[float | None, ...] = ()
        self.at_fail_safe = False
        self.at_off = False
        self.probes: dict[str, list[float | None]] = {}
        for sensor in self.zone.sensors:
            self.probes.setdefault(sensor.role, []).append(GOOD_PROBE[sensor.role])
        self.contacts: dict[str, bool | None] = {contact.name: False for contact in self.zone.contacts}
        self.turned: bool | None = None if self.zone.bypass_key is None else False
        self.feeders: tuple[FeederClaim, ...] = ()
        self.mains = MainsClaim.NONE
        self.held: frozenset[DeviceId] = frozenset()
        self.lease_overdue_s = 0.0
        self.model = ModelClaim.NONE
        self.findings: list[Finding] = []
        self.outputs: ZoneOutputs | None = None
        self._commanded: dict[DeviceId, Commanded] = {}
        self.at_ms = 1_780_000_000_000

    def put(self, *numbers: int, **fields: object) -> Self:
        """Change what is seen of some miners (all where none is named)."""
        for device in [miner_id(n) for n in numbers] or list(self.miners):
            self.miners[device] = msgspec.structs.replace(self.miners[device], **fields)
        return self

    def hot(self, number: int, chip_c: float) -> Self:
        return self.put(number, chip_c=chip_c)

    def stopped(self, *numbers: int) -> Self:
        return self.put(*numbers, state=MinerState.STOPPED, chip_c=None, board_c=None)

    def mining(self, *numbers: int) -> Self:
        return self.put(*numbers, state=MinerState.MINING, chip_c=65.0, board_c=50.0)

    def silent(self, *numbers: int, age_s: float = 1e9) -> Self:
        return self.put(*numbers, age_s=age_s)

    def cool(self, value: float | None) -> Self:
        self.cooling = value
        return self

    def probe(self, role: str, number: int, value: float | None) -> Self:
        """What the probe of that role and number (from 1, in the order of the site file) reads."""
        self.probes[role][number - 1] = value
        return self

    def contact(self, name: str, active: bool | None) -> Self:
        self.contacts[name] = active
        return self

    def key(self, turned: bool | None) -> Self:
        self.turned = turned
        return self

    def claim(self, *claims: FeederClaim) -> Self:
        """What the power caps want of the zone from now on."""
        self.feeders = claims
        return self

    def command(
        self, number: int, *, settle_s: float = 20.0, start: bool = False, shed_stop: bool = False
    ) -> Self:
        command = Commanded(settle_s=settle_s, start=start, shed_stop=shed_stop)
        self._commanded[miner_id(number)] = command
        return self

    def step(self, dt: float = STEP_S) -> Self:
        """One step of the core."""
        miners = tuple(
            msgspec.structs.replace(miner, commanded=(self._commanded[device],))
            if device in self._commanded
            else miner
            for device, miner in self.miners.items()
        )
        self._commanded = {}
        self.at_ms += round(dt * 1000)
        inputs = ZoneInput(
            miners=miners,
            cooling_value=self.cooling,
            cooling_others=self.cooling_others,
            cooling_points=self.cooling_points,
            cooling_at_fail_safe=(self.at_fail_safe,),
            cooling_at_off=(self.at_off,),
            sensors=self._sensors(),
            contacts=tuple(ContactInput(name=name, active=active) for name, active in self.contacts.items()),
            bypass_key=self.turned,
            feeders=self.feeders,
            mains=self.mains,
            held=self.held,
            lease_overdue_s=self.lease_overdue_s,
            model=self.model,
            at_ms=self.at_ms,
        )
        self.state, self.outputs, found = zone_step.step(self.state, inputs, self.zone, self.site.timing, dt)
        self.findings += found
        return self

    def _sensors(self) -> dict[str, tuple[SensorInput, ...]]:
        left = {role: list(values) for role, values in self.probes.items()}
        found: dict[str, tuple[SensorInput, ...]] = {}
        for sensor in self.zone.sensors:
            told = SensorInput(device=DeviceId(sensor.device), value=left[sensor.role].pop(0))
            found[sensor.role] = (*found.get(sensor.role, ()), told)
        return found

    def run(self, seconds: float) -> Self:
        for _ in range(round(seconds / self.STEP_S)):
            self.step()
        return self

    def auto(self) -> Self:
        """Run until cooling is proven and the zone is in LOCAL_AUTO."""
        self.run(11)
        assert self.mode is Mode.LOCAL_AUTO
        return self

    @property
    def mode(self) -> Mode:
        return self.state.mode

    @property
    def demands(self) -> tuple[Demand, ...]:
        assert self.outputs is not None
        return self.outputs.demands

    def wanted(self, kind: DemandKind) -> list[str]:
        return [demand.device for demand in self.demands if demand.kind is kind]

    @property
    def stopping(self) -> list[str]:
        return self.wanted(DemandKind.STOP)

    @property
    def lowered(self) -> list[str]:
        return self.wanted(DemandKind.LOWER)

    @property
    def status(self) -> ZoneStatus:
        assert self.outputs is not None
        return self.outputs.status

    @property
    def inhibited(self) -> dict[DeviceId, str]:
        return self.status.inhibited

    def titles(self, *kinds: EventKind) -> list[str]:
        return [finding.title for finding in self.kinds(*kinds)]

    def kinds(self, *kinds: EventKind) -> list[Finding]:
        return [finding for finding in self.findings if finding.kind in kinds]


# ---------------------------------------------------------------- fake devices


class FakeMiner:
    """A miner in memory with the traps that matter: it obeys, ignores, fails, or hangs as told."""

    kind = DeviceKind.MINER

    def __init__(self, entry: DeviceEntry) -> None:
        self.entry = entry
        self.state = MinerState.MINING
        self.preset = "2500"
        self.chip_c: float | None = 65.0
        self.power_w: float | None = 2500.0
        self.off_power_w = 15.0
        self.fail: DeviceError | None = None
        self.fail_write: DeviceError | None = None
        self.ignores = False
        self.gate: asyncio.Event | None = None
        self.writes: list[str] = []
        self.reads = 0
        self.closed = False
        self.presets = LADDER
        self.default_password = False
        self.firmware = "Vnish 1.3.4"

    async def read(self) -> Observation:
        self.reads += 1
        if self.fail is not None:
            raise self.fail
        off = not self.state.draws_power
        chip = MISSING if off or self.chip_c is None else Reading(self.chip_c)
        power = self.off_power_w if off else self.power_w
        return Observation(
            readings={
                "chip_temp_max_c": chip,
                "board_temp_max_c": MISSING if chip.value is None else Reading(chip.value - 15.0),
                "power_w": MISSING if power is None else Reading(power),
            },
            state=self.state,
            preset=self.preset,
            algorithm=Algorithm.SHA256D,
        )

    async def facts(self) -> DeviceFacts:
        if self.fail is not None:
            raise self.fail
        return DeviceFacts(
            model="s19",
            firmware=self.firmware,
            presets=self.presets,
            capabilities=MINER_ABILITIES,
            default_password=self.default_password,
        )

    async def close(self) -> None:
        self.closed = True

    async def _write(self, word: str) -> bool:
        self.writes.append(word)
        if self.gate is not None:
            await self.gate.wait()
        if self.fail_write is not None:
            raise self.fail_write
        return not self.ignores

    async def set_preset(self, name: str) -> None:
        if await self._write(name):
            self.preset = name
            self.power_w = float(name)

    async def stop_mining(self) -> None:
        if await self._write("stop"):
            self.state = MinerState.STOPPED

    async def start_mining(self) -> None:
        if await self._write("start"):
            self.state = MinerState.MINING


class FakeWall:
    """A fan drive in memory: its speed follows the set-point unless it is broken."""

    kind = DeviceKind.DRIVE

    def __init__(self, entry: DeviceEntry) -> None:
        self.entry = entry
        self.setpoint = 80.0
        self.broken = False
        self.fail: DeviceError | None = None
        self.writes: list[tuple[str, float]] = []

    async def read(self) -> Observation:
        if self.fail is not None:
            raise self.fail
        speed = 0.0 if self.broken else self.setpoint
        return Observation(
            readings={"speed_pct": Reading(speed), "speed_setpoint_pct": Reading(self.setpoint)}
        )

    async def facts(self) -> DeviceFacts:
        setpoint = Capability(ability=Ability.SETPOINT, points=("speed_setpoint_pct",), low=0.0, high=100.0)
        return DeviceFacts(model="fc102", capabilities=(Capability(ability=Ability.TELEMETRY), setpoint))

    async def close(self) -> None:
        return

    async def write_point(self, point: str, value: float) -> None:
        if point != "speed_setpoint_pct":
            raise Unsupported(point)
        self.writes.append((point, value))
        self.setpoint = value


class FakePdu:
    """A PDU in memory; cutting outlet 1 makes the miner behind it unreachable."""

    kind = DeviceKind.PDU

    def __init__(self, entry: DeviceEntry) -> None:
        self.entry = entry
        self.on = {1: True, 2: True}
        self.ignores = False
        self.writes: list[tuple[int, bool]] = []

    async def read(self) -> Observation:
        return Observation(readings={f"outlet_on.{n}": Reading(float(on)) for n, on in self.on.items()})

    async def facts(self) -> DeviceFacts:
        return DeviceFacts(
            model="rpdu2",
            capabilities=(Capability(ability=Ability.TELEMETRY), Capability(ability=Ability.OUTLETS)),
        )

    async def close(self) -> None:
        return

    async def switch_outlet(self, outlet: int, *, on: bool) -> None:
        self.writes.append((outlet, on))
        if not self.ignores:
            self.on[outlet] = on


class FakeProbe:
    """Any device that only tells points: set `points`, or `fail`."""

    def __init__(self, entry: DeviceEntry) -> None:
        self.entry = entry
        self.kind = entry.kind
        self.points: dict[str, float] = {"air_temp_c": 24.0} if entry.kind is DeviceKind.PROBE else {}
        self.fail: DeviceError | None = None

    async def read(self) -> Observation:
        if self.fail is not None:
            raise self.fail
        return Observation(readings={point: Reading(value) for point, value in self.points.items()})

    async def facts(self) -> DeviceFacts:
        return DeviceFacts(model="probe", capabilities=(Capability(ability=Ability.TELEMETRY),))

    async def close(self) -> None:
        return


Fake = FakeMiner | FakeWall | FakePdu | FakeProbe


# ---------------------------------------------------------------- a whole guardian, by hand


class GuardianBench:
    """A whole guardian without sockets and threads: polls, turns and disk happen when the test says so."""

    TURN_S = 0.25

    def __init__(self, site: SiteFile, *, clock: ManualClock | None = None) -> None:
        self.site = site
        self.clock = clock or ManualClock()
        self.fakes: dict[DeviceId, Fake] = {}
        self.guardian = Guardian(
            site,
            config_sha256="0" * 64,
            clock=self.clock,
            opener=self._open,
            synchronised=lambda: True,
        )
        self.sent: list[FromGuardian] = []
        self.guardian.server.broadcast = self.sent.append  # type: ignore[method-assign] # no sockets here
        self._due_s = self.clock.monotonic()
        self._poll_s = site.timing.poll_s
        self.polling = True
        self.flushing = True

    def _open(self, entry: DeviceEntry, _credential: Credential | None, _timeout_s: float) -> Fake:
        kinds = {DeviceKind.MINER: FakeMiner, DeviceKind.DRIVE: FakeWall, DeviceKind.PDU: FakePdu}
        fake: Fake = kinds.get(entry.kind, FakeProbe)(entry)
        self.fakes[entry.id] = fake
        return fake

    def miner(self, number: int) -> FakeMiner:
        fake = self.fakes[miner_id(number)]
        assert isinstance(fake, FakeMiner)
        return fake

    @property
    def miners(self) -> list[FakeMiner]:
        return [fake for fake in self.fakes.values() if isinstance(fake, FakeMiner)]

    @property
    def pdu(self) -> FakePdu:
        fake = self.fakes[PDU]
        assert isinstance(fake, FakePdu)
        return fake

    def probe(self, device: DeviceId = PROBE) -> FakeProbe:
        fake = self.fakes[device]
        assert isinstance(fake, FakeProbe)
        return fake

    @property
    def wall(self) -> FakeWall:
        fake = self.fakes[WALL]
        assert isinstance(fake, FakeWall)
        return fake

    async def start(self) -> Self:
        """Learn the facts, and run until cooling is proven and the zone is in LOCAL_AUTO.

        What runs in threads has one of them from here on: `drain` then waits for all that was begun before.
        """
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        for link in self.guardian.links.values():
            assert await link.read_facts()
        self.guardian.lease.renew(60.0)
        await self.run(12.0)
        assert self.mode is Mode.LOCAL_AUTO
        return self

    async def run(self, seconds: float, *, lease: bool = True) -> Self:
        """Let time pass: polls when due, a turn every 0.25 s, journal and latches to the disk."""
        for _ in range(round(seconds / self.TURN_S)):
            self.clock.advance(self.TURN_S)
            if lease:
                self.guardian.lease.renew(60.0)
            await self.turn()
        return self

    async def turn(self) -> None:
        """What happens at one moment."""
        if self.polling and self.clock.monotonic() >= self._due_s:
            self._due_s += self._poll_s
            for link in self.guardian.links.values():
                await link.read()
        news = self.guardian.cycle.turn()
        self.guardian._news(news)
        self.guardian.cycle.keep()
        await self.settle()

    async def settle(self) -> None:
        """Let everything that can run without time run."""
        for _ in range(30):
            await asyncio.sleep(0)
            if self.flushing:
                self.guardian.journal.flush()
                self.guardian.recorder._notify()

    async def drain(self) -> None:
        """Wait for what runs in threads (files), without letting the clock move."""
        for _ in range(200):
            await self.settle()
            await asyncio.to_thread(lambda: None)

    async def crash(self) -> "GuardianBench":
        """End as kill -9 does, with nothing said, and start anew on the same disk and devices."""
        await self.guardian.desk.close()
        self.guardian._lock.close()
        again = GuardianBench(self.site, clock=self.clock)
        for device, fake in self.fakes.items():
            again.guardian.links[device].adapter = fake
        again.fakes = self.fakes
        for link in again.guardian.links.values():
            await link.read_facts()
        return again

    async def close(self) -> None:
        await self.guardian.desk.close()
        self.guardian.journal.close()
        self.guardian._lock.close()

    @property
    def mode(self) -> Mode:
        return self.guardian.cycle.statuses[self.site.zones[0].id].mode

    def results(self, command: str) -> list[Result]:
        return [m for m in self.sent if isinstance(m, Result) and m.id == command]

    def events(self, *kinds: EventKind) -> list[Event]:
        """Events of the journal, by kind."""
        self.guardian.journal.flush()
        found: list[Event] = []
        cursor = 0
        while page := self.guardian.journal.page(cursor):
            found += [entry.event for entry in page]
            cursor = page[-1].seq
        return [event for event in found if not kinds or event.kind in kinds]


def writes_of(miners: Iterable[FakeMiner]) -> list[list[str]]:
    return [miner.writes for miner in miners]
