"""The whole agent in one process: real socket, real store, real onnxruntime and probe; broker in memory."""

from pathlib import Path

import pytest

from edge_agent import ipc
from shared.artifacts.manifest import Stage
from shared.frames import unpack
from shared.wire import codec, topics
from shared.wire.envelope import RawWanted
from support.agent import SITE, make_assignment, make_manifest, small_spec, some_event, tiny_onnx
from support.agent_world import world
from support.ports import free_port


@pytest.mark.slow
@pytest.mark.alone
async def test_from_sample_to_committed_row_and_from_assignment_to_proposal(tmp_path: Path) -> None:
    async with world(tmp_path, status_port=free_port(), score_every_s=0.1) as w:
        spec = small_spec()
        data = tiny_onnx(spec)
        manifest = make_manifest(data, spec)
        w.cloud.blobs[manifest.sha256] = data
        async with w.running() as agent:
            await w.guardian.hear(ipc.SamplesSince)
            await w.guardian.write_journal(some_event(1))
            await w.poll(12)
            await w.until(lambda: len(w.cloud.rollups) >= 20)
            w.assign(make_assignment(manifest, stage=Stage.ACTIVE))
            for _ in range(40):
                if "active" in w.cloud.model_states():
                    break
                await w.poll(2)
                seen = len(w.cloud.rollups)
                await w.until(lambda seen=seen: len(w.cloud.rollups) > seen)
            assert w.cloud.model_states() == ["downloaded", "verified", "shadow", "active"]
            swapped = [m for m in await w.guardian.hear(ipc.Assign, count=2) if m.swapped]
            assert len(swapped) == 1
            w.guardian.mode = ipc.Mode.ML_ACTIVE
            await w.guardian.say(w.guardian.status())
            for _ in range(12):
                await w.poll(2, rpm={"m02": 3000.0})
                seen = len(w.cloud.rollups)
                await w.until(lambda seen=seen: len(w.cloud.rollups) > seen)
            [proposed] = [m.proposal for m in await w.guardian.hear(ipc.Propose)]
            [action] = proposed.actions
            assert (action.device, action.preset) == ("m02", "2600")
            assert proposed.model is not None
            assert "fan" in proposed.reason
            alarms = [event for event in w.cloud.events if event.kind == "alarm"]
            assert [event.device for event in alarms] == ["m02"]
            assert await w.guardian.hear(ipc.Lease, count=3)
            await w.until(lambda: not agent.records.store.waiting())
        assert w.cloud.duplicates == 0
        keys = [(row.device, row.at_ms) for row in w.cloud.rollups]
        assert len(keys) == len(set(keys))


async def test_raw_samples_come_on_request_as_the_cloud_takes_them(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.running():
        await w.guardian.hear(ipc.SamplesSince)
        await w.poll(12)
        await w.until(lambda: len(w.cloud.rollups) >= 20)
        wanted = RawWanted(id="w1", from_ms=0, to_ms=2**50)
        w.broker.deliver(topics.raw_wanted(SITE), codec.encode(wanted))
        await w.until(lambda: any(event.key == "raw-window" for event in w.cloud.events))
        await w.until(lambda: bool(w.cloud.raw))
    samples = [sample for frame in w.cloud.raw for sample in unpack(frame)]
    assert len(samples) > len(w.cloud.raw)
    assert len(samples) == len({sample.seq for sample in samples})
