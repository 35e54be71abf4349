"""Golden messages: what version 1 of the wire looks like, byte for byte, in both directions.

A change that breaks one of these breaks sites in the field: raise the protocol version instead. To add a
message, add it to `MESSAGES` and run `python tests/contract/wire/test_golden.py`, then read the diff.
"""

from pathlib import Path

import msgspec
import pytest

from edge_agent import ipc
from shared.alarms import Event, EventKind, Severity
from shared.artifacts.keyring_update import KeyringUpdate
from shared.artifacts.manifest import Assignment, Stage
from shared.artifacts.signing import PublicKeyEntry, Role, Signature, Signed
from shared.commands import (
    ActionOutcome,
    CommandBody,
    CommandState,
    CommandStatus,
    Curtail,
    DoActions,
    OrderPreview,
    PreviewOrder,
    PreviewStep,
    Proposal,
    SafeStopOrder,
    SetPreset,
    SignedBy,
    StopMining,
    WriteRecord,
    WriteResult,
)
from shared.details import HistoryMark, HistoryPoint
from shared.frames import pack
from shared.ids import CommandId, DeviceId, SiteId, ZoneId
from shared.telemetry import (
    COLUMN_NAMES,
    DeviceKind,
    HistoryRow,
    MinerState,
    Quality,
    Reading,
    RollupRow,
    Sample,
)
from shared.units import Algorithm
from shared.wire import codec
from shared.wire.envelope import (
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

GOLDEN = Path(__file__).parent / "golden"

_SIGNED = Signed(payload=b"\x01\x02", signatures=(Signature(key_id="k1", value=b"\x07" * 64),))
_ROW = RollupRow(
    device=DeviceId("m-07"),
    at_ms=1_779_999_960_000,
    step_s=60,
    samples=6,
    failed=0,
    quality=Quality.ESTIMATED,
    values=(100.5, *[None] * (len(COLUMN_NAMES) - 1)),
    algorithm=Algorithm.SHA256D,
    state=MinerState.MINING,
    preset="2970",
)
_EVENT = Event(
    id="e1",
    kind=EventKind.TRIPPED,
    severity=Severity.URGENT,
    key="trip/hall-a/cooling",
    at_ms=1_780_000_000_000,
    title="Cooling lost in hall-a",
    advice="Go and look at the exhaust wall.",
    zone=ZoneId("hall-a"),
    data={"speed_pct": 0.0, "limit": 20, "ok": False, "note": None},
)
_SAMPLE = Sample(
    device=DeviceId("m-07"),
    kind=DeviceKind.MINER,
    at_s=12.5,
    at_ms=1_780_000_000_000,
    boot="b1",
    seq=3,
    state=MinerState.AUTO_TUNING,
    algorithm=Algorithm.SHA256D,
    readings={"power_w": Reading(3000.0, Quality.ESTIMATED), "fan_rpm.1": Reading(None, Quality.MISSING)},
    preset="2970",
)
_PROPOSAL = Proposal(
    id=CommandId("p1"),
    policy="anomaly",
    actions=(SetPreset(device=DeviceId("m-07"), preset="2700"),),
    reason="fan 2 is slow for its duty",
    ttl_s=20.0,
)

WHOLE = {"on_the_wire_plain": False, "on_the_wire_deflated": True}
"""Bodies of the same ack as MQTT carries them, with their format byte; whether it is deflated."""

MESSAGES: dict[str, object] = {
    "batch": Batch(
        epoch="0a",
        stream="rollup",
        seq=1,
        from_ms=1,
        to_ms=2,
        count=1,
        columns=COLUMN_NAMES,
        rows=msgspec.Raw(msgspec.msgpack.encode((_ROW,))),
    ),
    "event": _EVENT,
    "keyring_update": KeyringUpdate(
        version=3,
        issued_ms=1_780_000_000_000,
        expires_ms=1_782_592_000_000,
        keys=(PublicKeyEntry(id="root-1", role=Role.ROOT, public="AAAA"),),
        sites=("north-1",),
    ),
    "ipc_keys": ipc.Keys(signed=Signed(payload=b"keyring", signatures=())),
    "rollup_row": _ROW,
    "tombstone": Tombstone(
        epoch="0a",
        stream="rollup",
        seq=9,
        first_seq=2,
        last_seq=8,
        from_ms=1,
        to_ms=2,
        count=7,
        reason="quota",
    ),
    "tombstone_of_an_earlier_epoch": Tombstone(
        epoch="0b",
        stream="rollup",
        seq=1,
        first_seq=2,
        last_seq=8,
        from_ms=1,
        to_ms=2,
        count=7,
        reason="thinned",
        of_epoch="0a",
    ),
    "ack": Ack(epoch="0a", stream="rollup", upto=4, ranges=((6, 7),)),
    "birth": Birth(
        site=SiteId("demo"),
        name="Demo",
        boot="b1",
        epoch="0a",
        at_ms=1,
        version="0.1.0",
        protocol=1,
        step_s=60,
        inventory_sha256="00",
        inventory=msgspec.Raw(msgspec.msgpack.encode(())),
        columns=("power_w_mean",),
    ),
    "state": SiteState(online=True, boot="b1", at_ms=1),
    "history_row": HistoryRow(
        device=DeviceId("m-07"), at_ms=1_780_000_000_000, hashrate_ths=95.5, mark="start"
    ),
    "frame": pack([_SAMPLE]),
    "raw_wanted": RawWanted(id="w1", from_ms=1, to_ms=2, devices=(DeviceId("m-07"),)),
    "certificate_request": CertificateRequest(
        request_pem="-----BEGIN CERTIFICATE REQUEST-----", proof=b"\x30\x02"
    ),
    "certificate": Certificate(certificate_pem="-----BEGIN CERTIFICATE-----", ca_pem="ca"),
    "chunk_request": ChunkRequest(sha256="00", chunks=(0, 2)),
    "chunk": Chunk(sha256="00", number=0, total=1, chunk_sha256="11", data=b"onnx"),
    "signed": _SIGNED,
    "command_body": CommandBody(
        id=CommandId("c1"),
        site=SiteId("demo"),
        issued_ms=1,
        expires_ms=2,
        counter=3,
        actor="desk",
        order=DoActions(actions=(StopMining(device=DeviceId("m-07")),)),
    ),
    "command_safe_stop": CommandBody(
        id=CommandId("c2"),
        site=SiteId("demo"),
        issued_ms=1,
        expires_ms=2,
        counter=4,
        actor="desk",
        order=SafeStopOrder(zone=ZoneId("hall-a")),
    ),
    "command_status": CommandStatus(
        id=CommandId("c1"),
        state=CommandState.DONE,
        detail="",
        at_ms=1,
        outcome=ActionOutcome.APPLIED,
        writes=(
            WriteRecord(
                action=StopMining(device=DeviceId("m-07")), result=WriteResult.APPLIED, detail="stopped"
            ),
        ),
    ),
    "command_preview": CommandBody(
        id=CommandId("c3-p"),
        site=SiteId("demo"),
        issued_ms=1,
        expires_ms=2,
        counter=5,
        actor="desk",
        order=PreviewOrder(of=Curtail(target_w=1e6, deadline_s=600.0, duration_s=3600.0)),
    ),
    "command_status_preview": CommandStatus(
        id=CommandId("c3-p"),
        state=CommandState.DONE,
        detail="a preview: nothing was done",
        at_ms=1,
        outcome=ActionOutcome.APPLIED,
        digest="00",
        preview=OrderPreview(
            steps=(PreviewStep(action=StopMining(device=DeviceId("m-07")), saves_w=3000.0),),
            total_steps=1,
            now_w=1.2e6,
            expected_w=1.197e6,
            reaches_target=False,
            takes_s=30.0,
        ),
    ),
    "command_status_third_party": CommandStatus(
        id=CommandId("t1"),
        state=CommandState.ACCEPTED,
        detail="verified, its counter is stored",
        at_ms=1,
        digest="00",
        by=SignedBy(
            key="acme-1",
            role="control",
            actor="Acme",
            order=Curtail(target_w=1e6, deadline_s=600.0, duration_s=3600.0),
            counter=1,
            issued_ms=1,
            expires_ms=2,
        ),
    ),
    "assignment": Assignment(
        site=SiteId("demo"), counter=1, issued_ms=1, expires_ms=2, stage=Stage.ACTIVE, manifest=_SIGNED
    ),
    "ipc_hello": ipc.Hello(protocol=1, site=SiteId("demo"), boot="b1", config_sha256="00", next_seq=1),
    "ipc_samples": ipc.Samples(boot="b1", samples=(_SAMPLE,)),
    "ipc_device_history": ipc.DeviceHistory(
        boot="b1",
        number=3,
        device=DeviceId("m-07"),
        from_ms=1,
        to_ms=2,
        points=(HistoryPoint(at_ms=1, power_w=3000.0),),
        marks=(HistoryMark(at_ms=2, what="reboot"),),
    ),
    "ipc_lease": ipc.Lease(ttl_s=20.0, cycle=7),
    "ipc_propose": ipc.Propose(proposal=_PROPOSAL),
    "ipc_order": ipc.Order(signed=_SIGNED),
    "ipc_progress": ipc.Progress(
        id=CommandId("c1"), state=CommandState.ACCEPTED, detail="verified", at_ms=1, digest="00"
    ),
    "ipc_safe_stop": ipc.SafeStop(zone=None, reason="smell of smoke"),
    "ipc_samples_since": ipc.SamplesSince(boot="b1", seq=41),
    "ipc_result": ipc.Result(
        id=CommandId("p1"), outcome=ActionOutcome.REJECTED, detail="zone is tripped", at_ms=1
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_encodes_to_the_golden_bytes(name: str) -> None:
    assert msgspec.msgpack.encode(MESSAGES[name]) == (GOLDEN / f"{name}.msgpack").read_bytes()


@pytest.mark.parametrize("name", MESSAGES)
def test_golden_bytes_decode_to_the_message(name: str) -> None:
    message = MESSAGES[name]
    assert msgspec.msgpack.decode((GOLDEN / f"{name}.msgpack").read_bytes(), type=type(message)) == message


def test_every_golden_file_has_its_message() -> None:
    assert {path.stem for path in GOLDEN.glob("*.msgpack")} == set(MESSAGES)


@pytest.mark.parametrize("name", WHOLE)
def test_whole_bodies_decode_as_they_come_over_mqtt(name: str) -> None:
    """Only one way: how well zlib packs is its own business."""
    body = (GOLDEN / f"{name}.bin").read_bytes()
    assert body[0] == {"on_the_wire_plain": 0, "on_the_wire_deflated": 1}[name]
    assert codec.decode(body, Ack) == MESSAGES["ack"]


def test_the_agents_messages_are_told_apart_by_their_tag() -> None:
    frame = (GOLDEN / "ipc_lease.msgpack").read_bytes()
    assert isinstance(msgspec.msgpack.decode(frame, type=ipc.FromAgent), ipc.Lease)


def test_an_unknown_tag_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="Invalid value"):
        msgspec.msgpack.decode(msgspec.msgpack.encode({"is": "write-register"}), type=ipc.FromAgent)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for _name, _compress in WHOLE.items():
        (GOLDEN / f"{_name}.bin").write_bytes(codec.encode(MESSAGES["ack"], compress=_compress))
    for _name, _message in MESSAGES.items():
        (GOLDEN / f"{_name}.msgpack").write_bytes(msgspec.msgpack.encode(_message))
