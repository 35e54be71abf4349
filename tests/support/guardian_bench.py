"""What the guardian's benchmarks run on: a large site file, the site and the guardian as processes, an agent.

Everything here is real but the physics: `minewarden guardian run` in a process of its own reads wire-true
emulators in another, and an agent-like client on guardian.sock holds the lease and takes every sample.
"""

import asyncio
import contextlib
import math
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edge_agent import config
from edge_agent.config import SiteFile
from edge_agent.guardian.operators.client import ask
from edge_agent.guardian.storage.credentials import CredentialStore, new_key, read_key
from edge_agent.ipc import (
    FromGuardian,
    FromOperator,
    Inventory,
    Lease,
    Order,
    Result,
    Samples,
    SamplesSince,
    Status,
    StatusRequest,
    ToOperator,
    encode_frame,
    read_frame,
)
from firmware_adapters.capabilities import Credential
from shared.artifacts.signing import Keyring, PublicKeyEntry
from shared.clock import SystemClock
from shared.commands import AnyOrder
from shared.errors import Unreachable
from shared.telemetry import Sample
from support.guardian import KEYS, parsed, signed_order, site_toml
from support.guardian_bench_site import Ask, Told

SAFETY_POLL_S = 1.0
"""Cadence of the devices that decide trips (the walls, the meter)."""
POLL_S = 10.0
TIMEOUT_S = 5.0
METER = "meter-1"
GEAR = ("drive", "probe", "meter")
WITHIN_PCT = 2.0
"""What counts as a target that is reached (plant.md §5)."""
LEASE_S = 60.0
READY_WITHIN_S = 300.0
LOG = "guardian.log"
_CLOCK = SystemClock()
TRIES = 6
TESTS = Path(__file__).resolve().parents[1]


def miner_name(number: int) -> str:
    return f"m-{number:04d}"


# ---------------------------------------------------------------- the site file


def large_site(folder: Path, miners: int, *, zones: int, poll_s: float = POLL_S) -> Path:
    """A site of `miners` in `zones` containers, each with a wall that proves cooling and a probe; one meter.

    Delays that a site chooses are as short as the file allows, because they would only be added to what is
    measured: cooling counts as lost at the first look.
    """
    raw: dict[str, Any] = parsed(site_toml(1))
    web, modbus = _free_pair(), _free_port()
    raw["timing"] |= {
        "poll_s": poll_s,
        "safety_poll_s": SAFETY_POLL_S,
        "request_timeout_s": TIMEOUT_S,
        "stale_after_s": 3 * poll_s,
        "lost_after_s": 6 * poll_s,
        "lease_hold_s": 300.0,
        "lease_safe_s": 600.0,
        "restart_after_stop_s": 3600.0,  # nobody starts anything meanwhile
    }
    zone = raw["zones"][0]
    raw["zones"] = [_zone(zone, number) for number in range(zones)]
    meter = _gear("meter", "eastron-sdm630", 0, modbus)
    raw["devices"] = [
        {**meter, "id": METER, "poll_s": SAFETY_POLL_S},
        *(_gear("drive", "danfoss-fc102", number, modbus) for number in range(zones)),
        *(_gear("probe", "xy-md02", number, modbus) for number in range(zones)),
        *(_miner(number, number * zones // miners, web) for number in range(miners)),
    ]
    raw["curtailment"] = {
        "meter": [{"device": METER, "point": "power_w"}],
        "within_pct": WITHIN_PCT,
        "within_w": 0.0,
        "confirm_for_s": SAFETY_POLL_S,
        "restore_jitter_s": 0.0,
    }
    path = folder / "site.toml"
    path.write_text(_toml(raw))
    keys = (PublicKeyEntry(id=key.key_id, role=role, public=key.public_text) for role, key in KEYS.items())
    (folder / "keyring.toml").write_text(Keyring.dump(tuple(keys)))
    site = config.load(path)
    new_key(Path(site.paths.credentials_key))
    state = Path(site.paths.guardian_state)
    state.mkdir(mode=0o700)
    store = CredentialStore(state, read_key(Path(site.paths.credentials_key)))
    store.set("miners", Credential(user=None, secret="admin"))
    return path


def _zone(like: dict[str, Any], number: int) -> dict[str, Any]:
    wall = f"wall-{number}"
    proof = {**like["cooling_proof"], "device": wall, "lost_after_s": 0.01, "proven_for_s": 1.0}
    actuators = [{**like["cooling_actuators"][0], "device": wall}]
    limits = {name: {**limit, "off_delay_s": 0.0} for name, limit in like["limits"].items()}
    return {
        **like,
        "id": f"c-{number}",
        "limits": limits,
        "cooling_proof": proof,
        "cooling_actuators": actuators,
        "sensors": [{"role": "inlet_air_c", "device": f"probe-{number}", "point": "air_temp_c"}],
    }


def _gear(kind: str, profile: str, number: int, port: int) -> dict[str, Any]:
    """One Modbus device of a zone."""
    return {
        "id": f"{'wall' if kind == 'drive' else kind}-{number}",
        "kind": kind,
        "adapter": "modbus",
        "profile": profile,
        "host": f"127.91.{number}.{GEAR.index(kind) + 1}",
        "port": port,
        "zone": f"c-{number}",
    }


def _miner(number: int, zone: int, port: int) -> dict[str, Any]:
    return {
        "id": miner_name(number),
        "kind": "miner",
        "adapter": "vnish",
        "host": f"127.92.{number // 200}.{number % 200 + 1}",
        "port": port,
        "zone": f"c-{zone}",
        "model": "s21pro",
        "algorithm": "sha256d",
        "nominal_w": 2800.0,
        "safe_preset": "2550",
        "credential": "miners",
    }


def _toml(table: dict[str, Any], path: str = "") -> str:
    """A TOML document with these tables; enough of the format for a site file."""
    plain = [f"{key} = {_value(value)}" for key, value in table.items() if not _is_table(value)]
    parts = ["\n".join(plain)]
    for key, value in table.items():
        if isinstance(value, dict):
            parts.append(f"[{path}{key}]\n{_toml(value, f'{path}{key}.')}")
        elif _is_table(value):
            parts += [f"[[{path}{key}]]\n{_toml(each, f'{path}{key}.')}" for each in value]
    return "\n".join(parts) + "\n"


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, dict) for v in value))


def _value(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _free_port() -> int:
    """A port that is free on every address and that no outgoing call takes."""
    for port in range(30_000, 32_000):
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("0.0.0.0", port))
            return port
    raise RuntimeError("no free port between 30000 and 32000")


def _free_pair() -> int:
    """A port that is free with the one above it."""
    for port in range(21_000, 30_000, 2):
        with socket.socket() as web, socket.socket() as cgminer, contextlib.suppress(OSError):
            web.bind(("0.0.0.0", port))
            cgminer.bind(("0.0.0.0", port + 1))
            return port
    raise RuntimeError("no two free ports between 21000 and 30000")


# ---------------------------------------------------------------- processes


class Site:
    """The emulated site, running."""

    def __init__(self, path: Path, process: asyncio.subprocess.Process) -> None:
        self.path = path
        self.file: SiteFile = config.load(path)
        self._process = process

    async def told(self) -> Told:
        """The next answer."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "the emulated site ended; see its words above"
        return msgspec.json.decode(line, type=Told)

    async def ask(self, do: str, **words: object) -> Told:
        """See `guardian_bench_site.Ask`."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(Ask(do=do, **words)) + b"\n")  # type: ignore[arg-type] # its own words
        return await self.told()


@contextlib.asynccontextmanager
async def running_site(path: Path) -> AsyncIterator[Site]:
    """The site's process, listening."""
    command = [sys.executable, "-P", "-m", "support.guardian_bench_site", str(path)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(), limit=64 << 20
    )
    try:
        site = Site(path, process)
        async with asyncio.timeout(READY_WITHIN_S):
            await site.told()
        yield site
    finally:
        await _end(process)


async def mining_again(site: Site, guardian: "RunningGuardian") -> None:
    """Every machine mines, is heard, and stays so: a stop that was not read back yet is sent once more."""
    for _ in range(TRIES):
        await site.ask("calm")
        await guardian.agent.sweeps(1)
        if not (await site.ask("look")).miners:
            return
    raise AssertionError("machines are stopped again and again")


class RunningGuardian:
    """The guardian's process, and an agent connected to it."""

    def __init__(self, site: Site, process: asyncio.subprocess.Process) -> None:
        self.site = site
        self.pid = process.pid
        self._process = process
        self.agent = AgentClient(Path(site.file.paths.guardian_socket))

    async def ready(self) -> None:
        """Until every device was read and told what it is, and every zone's cooling is proven."""
        while not await self.agent.connect():
            assert self._process.returncode is None, self.log()
            await asyncio.sleep(0.1)
        await self.agent.knows({str(entry.id) for entry in self.site.file.devices})
        while not all(zone.cooling_proven for zone in self.status().zones.values()):
            await asyncio.sleep(0.25)

    def log(self) -> str:
        """What it said last."""
        return (self.site.path.parent / LOG).read_text()[-4000:]

    def operator(self, request: FromOperator) -> ToOperator:
        """One request on operator.sock."""
        return ask(Path(self.site.file.paths.operator_socket), request)

    def status(self) -> Status:
        """Zones, trips and inhibits, now."""
        answer = self.operator(StatusRequest())
        assert isinstance(answer, Status), answer
        return answer

    def memory_mb(self) -> dict[str, float]:
        """Resident memory in MB (10⁶ bytes): all, the process's own pages, and the highest ever."""
        rollup = _fields(Path(f"/proc/{self.pid}/smaps_rollup"))
        own = rollup["Private_Clean"] + rollup["Private_Dirty"]
        high = _fields(Path(f"/proc/{self.pid}/status"))["VmHWM"]
        return {"rss": rollup["Rss"] * 1.024e-3, "own": own * 1.024e-3, "high": high * 1.024e-3}

    def cpu_s(self) -> float:
        """User and system time so far, s."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _fields(path: Path) -> dict[str, int]:
    """`Name: 12 kB` lines of a /proc file."""
    found = {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB":
            found[name] = int(words[0])
    return found


@contextlib.asynccontextmanager
async def running_guardian(site: Site, *, turns: Path | None = None) -> AsyncIterator[RunningGuardian]:
    """`minewarden guardian run`, with every device told about itself; with `turns` its turns are noted there.

    Leaving ends it and waits until the notes are written.
    """
    words = ["guardian", "run", "--site", str(site.path)]
    module = ["shared.cli", *words]
    if turns is not None:
        module = ["support.guardian_bench_probe", str(turns), "--", *words[1:]]
    log = (site.path.parent / LOG).open("w")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", *module, env=_environment(), stdout=log, stderr=log
    )
    guardian = RunningGuardian(site, process)
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            await guardian.ready()
        yield guardian
    finally:
        await guardian.agent.close()
        await _end(process)
        log.close()
    assert process.returncode == 0, guardian.log()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    await process.wait()


def _environment() -> dict[str, str]:
    paths = [str(TESTS.parent), str(TESTS)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """So many processes that do nothing but use the processor."""
    work = [sys.executable, "-c", "while True: pass"]
    started = [subprocess.Popen(work) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


# ---------------------------------------------------------------- the agent


class AgentClient:
    """Holds the lease and takes every sample, as the agent does; keeps the last one of each device."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.samples: dict[str, Sample] = {}
        self.heard: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.facts: set[str] = set()
        self.results: dict[str, Result] = {}
        self.news = asyncio.Event()
        self._work: list[asyncio.Task[None]] = []
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> bool:
        """Connect; False where no guardian listens yet."""
        try:
            reader, self._writer = await asyncio.open_unix_connection(str(self._path))
        except OSError:
            return False
        self._writer.write(encode_frame(SamplesSince(boot="", seq=0)))
        self._work = [
            asyncio.create_task(self._read(reader)),
            asyncio.create_task(self._hold(self._writer)),
        ]
        return True

    async def _hold(self, writer: asyncio.StreamWriter) -> None:
        cycle = 0
        while True:
            writer.write(encode_frame(Lease(ttl_s=LEASE_S, cycle=cycle)))
            cycle += 1
            await asyncio.sleep(LEASE_S / 6)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        decoder = msgspec.msgpack.Decoder(FromGuardian)
        while (message := await read_frame(reader, decoder)) is not None:
            if isinstance(message, Inventory):
                self.facts |= {str(device) for device in message.facts}
            if isinstance(message, Result):
                self.results[message.id] = message
            if isinstance(message, Samples):
                for sample in message.samples:
                    self._take(sample)
            self.news.set()

    def _take(self, sample: Sample) -> None:
        if sample.failure is not None:
            self.failures[sample.failure] += 1
        else:
            self.samples[sample.device] = sample
            self.heard[sample.device] += 1

    async def knows(self, devices: set[str]) -> None:
        """Until each of these was read and has told what it is."""
        while not (devices <= self.facts and devices <= set(self.samples)):
            await self._wait()

    async def sweeps(self, count: int) -> None:
        """Until every device was read `count` times more."""
        before = Counter(self.heard)
        while any(self.heard[device] - before[device] < count for device in self.samples):
            await self._wait()

    def order(self, order: AnyOrder, number: int) -> None:
        """Pass on an order that the cloud signed just now; the meter tells what comes of it."""
        assert self._writer is not None
        signed = signed_order(order, _CLOCK, counter=number, command=f"bench-{number}")
        self._writer.write(encode_frame(Order(signed=signed)))

    async def result(self, command: str) -> Result:
        """What is told next of that order."""
        while command not in self.results:
            await self._wait()
        return self.results.pop(command)

    async def until_power(self, watts: float) -> Sample:
        """The first sample of the meter that shows at most so many watts."""
        while (power_w := self.samples[METER].usable("power_w")) is None or power_w > watts:
            await self._wait()
        return self.samples[METER]

    async def _wait(self) -> None:
        self.news.clear()
        for task in self._work:
            if task.done():
                raise Unreachable("the guardian let go of the agent")
        await self.news.wait()

    async def close(self) -> None:
        """Hang up."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()


# ---------------------------------------------------------------- numbers


def share(values: Sequence[float], part: float) -> float:
    """The value that `part` of all do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(math.ceil(part * len(ranked)) - 1, 0)]
