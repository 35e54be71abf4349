"""The whole way of a model through the cloud, with the real training process and a real broker."""

import contextlib
import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.artifacts.manifest import Assignment, Manifest
from shared.artifacts.signing import Signed
from shared.units import Algorithm
from shared.wire import codec, topics
from shared.wire.envelope import CHUNK_BYTES, Chunk, ChunkRequest
from support.cloud import AUTH, SITE, batch, birth, device
from support.cloud_broker import Broker
from support.cloud_process import CloudProcess
from support.cloud_site import FakeSite
from support.training import demo_minute

pytestmark = pytest.mark.slow


def call(cloud: CloudProcess, path: str, body: object = None) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{cloud.port}/api/v1{path}",
        None if body is None else json.dumps(body).encode(),
        {**AUTH, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def children_of(cloud: CloudProcess) -> list[str]:
    """Command lines of the cloud's processes on this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended while we looked
            words = path.read_bytes().decode(errors="replace").replace("\0", " ")
            if str(cloud.folder) in words and " -m cloud" in words:
                found.append(words)
    return found


def train(cloud: CloudProcess, site: FakeSite) -> Any:
    job = call(cloud, "/training", {"site": SITE, "algorithms": ["pca"]})
    for _ in range(240):
        found = call(cloud, f"/training/{job['id']}")
        if found["state"] in ("done", "failed"):
            return found
        site.wait(lambda: False, 0.5)
    raise AssertionError(f"training did not end: {found}")


def send_a_minute(site: FakeSite) -> None:
    """The plant's first healthy minutes, moved to now (the cloud refuses times of the far future)."""
    recording = demo_minute(seconds=120)
    shift = round(time.time() * 1000) // 5_000 * 5_000 - 150_000 - recording.rows[0].at_ms
    rows = [msgspec.structs.replace(row, at_ms=row.at_ms + shift) for row in recording.rows]
    algorithms = {row.device: row.algorithm or Algorithm.SHA256D for row in rows}
    devices = [
        device(name, model=model, algorithm=algorithms[name]) for name, model in recording.models.items()
    ]
    site.publish(topics.birth(SITE), birth(devices, at_ms=round(time.time() * 1000)))
    for seq, start in enumerate(range(0, len(rows), 200), start=1):
        site.add(seq, batch(rows[start : start + 200], seq))
    site.deliver_all()


def test_from_rows_to_a_file_on_the_site(broker: Broker, cloud: CloudProcess) -> None:
    cloud.start()
    with FakeSite(broker.port) as site:
        send_a_minute(site)
        job = train(cloud, site)
        assert job["state"] == "done", job["detail"]
        version = job["result"]["versions"]["pca"]
        (model,) = [found for found in call(cloud, "/models")["items"] if found["version"] == version]
        assert model["status"] == "blessed"
        assert all(rule["ok"] for rule in model["gate"])

        name = model["name"]
        call(cloud, "/rollouts", {"site": SITE, "name": name, "version": version, "stage": "shadow"})
        assert site.wait(lambda: any(topic == topics.model(SITE) for topic, _, _ in site.heard), 60.0)
        payload = next(body for topic, body, _ in site.heard if topic == topics.model(SITE))
        assignment = msgspec.msgpack.decode(codec.decode(payload, Signed).payload, type=Assignment)
        manifest = msgspec.msgpack.decode(assignment.manifest.payload, type=Manifest)
        assert manifest.sha256 == model["sha256"]

        total = -(-manifest.size // CHUNK_BYTES)
        request = ChunkRequest(sha256=manifest.sha256, chunks=tuple(range(total)))
        site.publish(topics.chunk_request(SITE), codec.encode(request))
        prefix = f"mw/1/{SITE}/dn/blob/"
        assert site.wait(lambda: sum(topic.startswith(prefix) for topic, _, _ in site.heard) == total, 60.0)
        chunks = [codec.decode(body, Chunk) for topic, body, _ in site.heard if topic.startswith(prefix)]
        data = b"".join(chunk.data for chunk in sorted(chunks, key=lambda chunk: chunk.number))
        url = f"http://127.0.0.1:{cloud.port}/api/v1/models/{name}/{version}/file"
        with urllib.request.urlopen(url, timeout=10) as reply:
            assert reply.read() == data
        assert len(data) == manifest.size
    assert cloud.stop() == 0


def test_ending_the_cloud_ends_its_training(broker: Broker, cloud: CloudProcess) -> None:
    """Ctrl-C must leave no process behind; after the next start the job is not left running."""
    cloud.start()
    with FakeSite(broker.port) as site:
        send_a_minute(site)
        job = call(cloud, "/training", {"site": SITE})
        trains = False
        while not trains:
            assert call(cloud, f"/training/{job['id']}")["state"] in ("queued", "running")
            trains = any("cloud.training" in words for words in children_of(cloud))
        assert cloud.stop() == 0
        assert children_of(cloud) == [], "the training process outlived the cloud"
        cloud.start()
        for _ in range(100):
            found = call(cloud, f"/training/{job['id']}")
            if found["state"] in ("done", "failed"):
                break
            site.wait(lambda: False, 0.5)
        assert found["state"] in ("done", "failed")
    assert "Traceback" not in cloud.log()
