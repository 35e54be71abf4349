"""Builders for the agent's tests: a site, samples, a fake guardian, tiny ONNX models with their papers."""

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_agent import config, ipc
from edge_agent.config import SiteFile
from shared.alarms import Event, EventKind, Severity
from shared.artifacts.manifest import (
    Assignment,
    Manifest,
    SelfTest,
    Stage,
    TensorSpec,
    assign,
    bless,
)
from shared.artifacts.signing import Keyring, PublicKeyEntry, Role, Signed, SigningKey
from shared.capabilities import DeviceFacts, Preset
from shared.errors import WireError
from shared.features.spec import FeatureSpec, miner_spec
from shared.ids import DeviceId, SiteId, ZoneId
from shared.telemetry import (
    COLUMN_INDEX,
    COLUMN_NAMES,
    DeviceKind,
    MinerState,
    Quality,
    Reading,
    RollupRow,
    Sample,
)
from shared.units import Algorithm
from support.manifests import draft

SITE = SiteId("testsite")
ZONE = ZoneId("box-1")
T0 = 1_780_000_000_000
STEP_S = 5
LADDER = tuple(
    Preset(name=str(watt), power_w=watt, hashrate_ths=watt / 25, tuned=tuned)
    for watt, tuned in ((2200, True), (2600, True), (2800, False), (3000, True), (3500, True))
)


def miner_ids(count: int) -> list[DeviceId]:
    return [DeviceId(f"m{n:02d}") for n in range(1, count + 1)]


def site_text(
    *,
    miners: int = 4,
    broker_port: int = 1,
    status_port: int = 1,
    shadow_cycles: int = 3,
    score_every_s: float = 5.0,
    extra: str = "",
) -> str:
    """A whole site file for one air zone, all state below the file's folder."""
    limits = "{ release = 40, warn = 70, shed = 80, trip = 90, on_delay_s = 2, off_delay_s = 10 }"
    devices = "".join(
        f"""
[[devices]]
id = "{device}"
kind = "miner"
adapter = "vnish"
host = "127.0.3.{n}"
port = 8080
zone = "{ZONE}"
model = "S19k Pro"
algorithm = "sha256d"
nominal_w = 3000.0
safe_preset = "2200"
"""
        for n, device in enumerate(miner_ids(miners), start=1)
    )
    return f"""
schema = 1
zones = [{{ id = "{ZONE}", cooling = "air", limits = {{ chip_temp_c = {limits}, board_temp_c = {limits}, \
inlet_air_c = {limits} }}, cooling_proof = {{ device = "fan", point = "speed_pct", lost_below = 20.0, \
proven_above = 40.0, lost_after_s = 3.0, proven_for_s = 10.0 }}, sensors = [{{ role = "inlet_air_c", \
device = "probe", point = "air_temp_c" }}] }}]
[site]
id = "{SITE}"
name = "Test site"
timezone = "UTC"
ml_may_raise = false
ml_may_stop = false
remote_reset = false
action_limits = "seeds"
simulated = true
[paths]
guardian_state = "guardian"
agent_state = "agent"
guardian_socket = "guardian.sock"
operator_socket = "operator.sock"
keyring = "keyring.toml"
credentials_key = "master.key"
[timing]
poll_s = 2.0
safety_poll_s = 1.0
request_timeout_s = 1.0
stale_after_s = 10.0
lost_after_s = 30.0
step_s = {STEP_S}
lease_max_s = 15.0
lease_hold_s = 10.0
lease_safe_s = 60.0
settle_s = 10.0
stop_confirm_s = 30.0
write_confirm_s = 10.0
restart_after_stop_s = 120.0
restart_window_s = 30.0
restart_power_pct = 5.0
preset_dwell_s = 30.0
starts_per_hour = 20
bypass_max_s = 3600.0
proof_test_every_s = 86400.0
[uplink]
broker_host = "127.0.0.1"
broker_port = {broker_port}
keep_alive_s = 10
[agent]
status_port = {status_port}
shadow_cycles = {shadow_cycles}
score_every_s = {score_every_s}
flush_every_s = 0.2
{extra}
[[devices]]
id = "fan"
kind = "drive"
adapter = "modbus"
profile = "drive"
host = "127.0.3.200"
port = 1502
zone = "{ZONE}"
[[devices]]
id = "probe"
kind = "probe"
adapter = "modbus"
profile = "probe"
host = "127.0.3.201"
port = 1502
zone = "{ZONE}"
{devices}"""


def make_site(folder: Path, **changes: object) -> SiteFile:
    """Write a site file with its keyring, and load it."""
    path = folder / "site.toml"
    path.write_text(site_text(**changes))  # type: ignore[arg-type]  # keyword pass-through
    (folder / "keyring.toml").write_text(KEYS.text)
    return config.load(path)


class Keys:
    """One key per role, and the keyring that trusts them."""

    def __init__(self) -> None:
        self.release = SigningKey.generate("release-1")
        self.assignment = SigningKey.generate("assignment-1")
        self.command = SigningKey.generate("command-1")
        self.stranger = SigningKey.generate("release-1")
        entries = tuple(
            PublicKeyEntry(id=key.key_id, role=role, public=key.public_text)
            for key, role in (
                (self.release, Role.RELEASE),
                (self.assignment, Role.ASSIGNMENT),
                (self.command, Role.COMMAND),
            )
        )
        self.text = Keyring.dump(entries)
        self.ring = Keyring(entries)


KEYS = Keys()


# ---------------------------------------------------------------- samples


def miner_sample(
    device: str,
    seq: int,
    at_ms: int,
    *,
    boot: str = "boot-1",
    rpm: float = 4800.0,
    failure: str | None = None,
) -> Sample:
    """A healthy mining sample; `rpm` lowers all four fans."""
    readings = {
        "hashrate_ths": Reading(120.0),
        "hashrate_nominal_ths": Reading(120.0),
        "power_w": Reading(3000.0),
        "chip_temp_max_c": Reading(66.0),
        "board_temp_max_c": Reading(52.0),
        "fan_duty_pct": Reading(70.0),
        "hw_errors": Reading(10.0),
        "shares_accepted": Reading(1000.0),
        "shares_rejected": Reading(1.0),
        "uptime_s": Reading(86_400.0),
        "preset_w": Reading(3000.0),
        "boards_working": Reading(3.0),
    } | {f"fan_rpm.{n}": Reading(rpm) for n in range(1, 5)}
    return Sample(
        device=DeviceId(device),
        kind=DeviceKind.MINER,
        at_s=(at_ms - T0) / 1000,
        at_ms=at_ms,
        boot=boot,
        seq=seq,
        state=MinerState.MINING,
        algorithm=Algorithm.SHA256D,
        readings={} if failure else readings,
        preset="3000",
        failure=failure,
    )


def sweep(
    first_seq: int, at_ms: int, *, miners: int = 4, boot: str = "boot-1", rpm: dict[str, float] | None = None
) -> list[Sample]:
    """One poll of every miner."""
    return [
        miner_sample(device, first_seq + n, at_ms, boot=boot, rpm=(rpm or {}).get(device, 4800.0))
        for n, device in enumerate(miner_ids(miners))
    ]


def rollup_row(device: str, at_ms: int, power_w: float = 3000.0) -> RollupRow:
    """A row that holds little; for store and uplink tests."""
    values: list[float | None] = [None] * len(COLUMN_NAMES)
    values[COLUMN_INDEX["power_w_mean"]] = power_w
    return RollupRow(
        device=DeviceId(device),
        at_ms=at_ms,
        step_s=STEP_S,
        samples=2,
        failed=0,
        quality=Quality.GOOD,
        values=tuple(values),
    )


def some_event(number: int, *, kind: EventKind = EventKind.SYSTEM) -> Event:
    return Event(
        id=f"event-{number}",
        kind=kind,
        severity=Severity.LOW,
        key=f"key-{number}",
        at_ms=T0 + number,
        title=f"thing {number} happened",
    )


# ---------------------------------------------------------------- models


def tiny_onnx(
    spec: FeatureSpec, *, center: Sequence[float] | None = None, scale: float = 0.05, ops: Sequence[str] = ()
) -> bytes:
    """residual = |last step - center| / scale, score = largest residual; `ops` adds nodes."""
    count = len(spec.features)
    middle = np.array(center if center is not None else typical(spec), dtype=np.float32)
    constants = [
        numpy_helper.from_array(np.array([spec.width - count], dtype=np.int64), "starts"),
        numpy_helper.from_array(np.array([spec.width], dtype=np.int64), "ends"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "axes"),
        numpy_helper.from_array(middle, "center"),
        numpy_helper.from_array(np.array([scale], dtype=np.float32), "scale"),
    ]
    nodes = [
        helper.make_node("Slice", ["x", "starts", "ends", "axes"], ["last"]),
        helper.make_node("Sub", ["last", "center"], ["off"]),
        helper.make_node("Abs", ["off"], ["size"]),
        helper.make_node("Div", ["size", "scale"], ["residual"]),
        helper.make_node("ReduceMax", ["residual"], ["score"], axes=[1], keepdims=0),
        *(helper.make_node(op, ["score"], [f"extra{i}"]) for i, op in enumerate(ops)),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", spec.width])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("residual", TensorProto.FLOAT, ["n", count]),
        ],
        constants,
    )
    return bytes(
        helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        ).SerializeToString()
    )


def typical(spec: FeatureSpec) -> list[float]:
    """What the features of `miner_sample` come out at."""
    known = {
        "hash_ratio": 1.0,
        "power_ratio": 1.0,
        "efficiency_ratio": 1.0,
        "chip_hot_c": 66.0,
        "chip_over_board_c": 14.0,
        "fan_effort": 0.7,
        "fan_response": 4800 / (1010 + 54.3 * 70),
        "fan_weakest": 4800 / (1010 + 54.3 * 70),
        "fan_min_ratio": 1.0,
    }
    return [known.get(name, 0.0) for name in spec.names]


def make_manifest(
    data: bytes,
    spec: FeatureSpec,
    *,
    version: int = 1,
    name: str = "miner-anomaly",
    threshold: float = 1.0,
    center: Sequence[float] | None = None,
    scale: float = 0.05,
    **changes: object,
) -> Manifest:
    """A manifest that fits `tiny_onnx`, with one self-test vector."""
    x = np.linspace(0, 1, spec.width, dtype="<f4").reshape(1, -1)
    middle = np.array(center if center is not None else typical(spec), dtype=np.float32)
    expected = np.abs(x[:, -len(middle) :] - middle).astype("<f4") / np.float32(scale)
    fitting: dict[str, object] = {
        "name": name,
        "version": version,
        "algorithm": "tiny",
        "inputs": (TensorSpec(name="x", dtype="float32", shape=(None, spec.width)),),
        "outputs": (TensorSpec(name="score", dtype="float32", shape=(None,)),),
        "feature_spec": spec.id,
        "feature_spec_hash": spec.hash(),
        "step_s": spec.step_s,
        "window": spec.window,
        "thresholds": {"*": threshold},
        "data_sha256": "0" * 64,
        "data_from_ms": T0 - 3_600_000,
        "data_to_ms": T0,
        "self_test": SelfTest(
            shape=(1, spec.width),
            input=x.tobytes(),
            output=expected.max(axis=1).astype("<f4").tobytes(),
            output_shape=(1,),
            atol=1e-4 / scale if scale > 0 else 1e-3,
        ),
        "issued_ms": T0,
        "expires_ms": T0 + 365 * 86_400_000,
    }
    return draft(data, **{**fitting, **changes})


def make_assignment(
    manifest: Manifest,
    *,
    counter: int = 1,
    stage: Stage = Stage.ACTIVE,
    site: SiteId = SITE,
    expires_ms: int = T0 + 365 * 86_400_000,
    release: SigningKey | None = None,
) -> Signed:
    """The signed assignment of a blessed manifest."""
    return assign(
        Assignment(
            site=site,
            counter=counter,
            issued_ms=T0,
            expires_ms=expires_ms,
            stage=stage,
            manifest=bless(manifest, release or KEYS.release),
        ),
        KEYS.assignment,
    )


def small_spec(*, window: int = 2) -> FeatureSpec:
    """The miner spec at the test site's step, with a short window."""
    return miner_spec(STEP_S, window=window)


def load_onnx(data: bytes) -> onnx.ModelProto:
    """For tests that break a model on purpose."""
    return onnx.load_model_from_string(data)


# ---------------------------------------------------------------- guardian


class FakeGuardian:
    """The guardian's end of the socket: a ring of samples, a journal, and what the agent said."""

    def __init__(self, path: Path, devices: Sequence[msgspec.Struct], *, boot: str = "boot-1") -> None:
        self.path = path
        self.boot = boot
        self.ring: list[Sample] = []
        self.journal: list[ipc.JournalEntry] = []
        self.received: list[ipc.FromAgent] = []
        self.mode = ipc.Mode.ML_SHADOW
        self.connects = 0
        self._devices = devices
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard = asyncio.Event()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._accept, str(self.path))

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.path.unlink(missing_ok=True)

    def drop_links(self) -> None:
        for writer in list(self._writers):
            writer.close()

    @property
    def next_seq(self) -> int:
        return self.ring[-1].seq + 1 if self.ring else 1

    async def poll(self, samples: Sequence[Sample]) -> None:
        """New samples, for whoever listens and for the ring."""
        self.ring += samples
        await self.say(ipc.Samples(boot=self.boot, samples=tuple(samples)))

    async def write_journal(self, event: Event) -> None:
        previous = self.journal[-1].hash if self.journal else ""
        seq = len(self.journal) + 1
        self.journal.append(
            ipc.JournalEntry(
                seq=seq,
                at_ms=event.at_ms,
                at_s=0.0,
                event=event,
                previous=previous,
                hash=hashlib.sha256(f"{previous}{seq}".encode()).hexdigest(),
            )
        )
        await self.say(self.status())

    def status(self) -> ipc.Status:
        zone = ipc.ZoneStatus(mode=self.mode, cooling_proven=True)
        return ipc.Status(zones={ZONE: zone}, lease_left_s=10.0, journal_head=len(self.journal))

    async def say(self, message: ipc.FromGuardian) -> None:
        for writer in list(self._writers):
            writer.write(ipc.encode_frame(message))
            with contextlib.suppress(ConnectionError):
                await writer.drain()

    async def hear(self, kind: type, *, count: int = 1, timeout_s: float = 10.0) -> list[ipc.FromAgent]:
        """Wait until the agent has said `count` messages of a kind."""
        async with asyncio.timeout(timeout_s):
            while len(found := [m for m in self.received if isinstance(m, kind)]) < count:
                self._heard.clear()
                await self._heard.wait()
        return found

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connects += 1
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        self._writers.add(writer)
        decoder = msgspec.msgpack.Decoder(ipc.FromAgent)
        facts = {
            device.id: DeviceFacts(model="S19k Pro", presets=LADDER)
            for device in self._devices
            if device.kind is DeviceKind.MINER
        }
        hello = ipc.Hello(
            protocol=ipc.PROTOCOL, site=SITE, boot=self.boot, config_sha256="0" * 64, next_seq=self.next_seq
        )
        try:
            for message in (hello, ipc.Inventory(devices=tuple(self._devices), facts=facts), self.status()):
                writer.write(ipc.encode_frame(message))
            while (message := await ipc.read_frame(reader, decoder)) is not None:
                self.received.append(message)
                self._heard.set()
                await self._answer(message, writer)
        except (WireError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            if task is not None:
                self._tasks.discard(task)
            writer.close()

    async def _answer(self, message: ipc.FromAgent, writer: asyncio.StreamWriter) -> None:
        match message:
            case ipc.SamplesSince():
                after = message.seq if message.boot == self.boot else 0
                found = tuple(sample for sample in self.ring if sample.seq > after)
                if found:
                    writer.write(ipc.encode_frame(ipc.Samples(boot=self.boot, samples=found)))
            case ipc.JournalSince():
                entries = tuple(self.journal[message.cursor :][:3])
                if entries:
                    page = ipc.JournalPage(entries=entries, head=len(self.journal))
                    writer.write(ipc.encode_frame(page))
            case _:
                pass
        await writer.drain()
