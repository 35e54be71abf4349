"""Roll-outs over real gateways: agents fetch, try, shadow, swap and report; the cloud decides by that."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cloud.models.service import Built
from cloud.training.report import Candidate
from shared.artifacts.manifest import Manifest
from support.agent import make_manifest, small_spec, tiny_onnx
from support.cloud_broker import Broker
from support.cloud_process import CloudProcess
from support.rollout_cloud import call, known, registered, state, until
from support.rollout_gateways import Gateway, gateways

pytestmark = pytest.mark.slow

NAME = "miner-anomaly"
SITES = ("east", "west")
FINE, FLOODS = tiny_onnx(small_spec()), tiny_onnx(small_spec(), scale=0.06)
CRITERIA = {"min_cycles": 3, "max_latency_p99_ms": 5_000}
"""Two cores that run nine processes answer later than a gateway; everything else is as it is given out."""


def papers(data: bytes, threshold: float, **changes: Any) -> Manifest:
    """A model that never finds anybody ill (a high threshold), or everybody."""
    return make_manifest(data, small_spec(), version=0, name=NAME, threshold=threshold, **changes)


def built(draft: Manifest) -> Built:
    candidate = Candidate(algorithm="tiny", accepted=True, detail="")
    return Built(candidate=candidate, draft=draft, chosen=True)


def begin(cloud: CloudProcess, version: int) -> dict[str, Any]:
    """East first, then west."""
    body = {
        "name": NAME,
        "version": version,
        "actor": "Ada",
        "soak_s": 1.0,
        "rings": [[site] for site in SITES],
        "criteria": CRITERIA,
    }
    found: dict[str, Any] = call(cloud, "/campaigns", body)["campaign"]
    return found


def assigned(cloud: CloudProcess, site: str) -> list[tuple[int, str]]:
    """What this site was ever assigned, oldest first."""
    path = cloud.folder / "data" / "cloud.db"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
        asked = "SELECT version, stage FROM assignments WHERE site = ? ORDER BY counter"
        return list(database.execute(asked, (site,)))


def ended(cloud: CloudProcess, campaign: dict[str, Any], sites: dict[str, Gateway], seconds: float) -> str:
    """The state in which it ended; everybody's words where it does not."""
    try:
        until(cloud, lambda: state(cloud, campaign)["state"] in ("done", "halted"), seconds)
    except AssertionError:
        words = "\n".join(f"{name}: {site.log()[-1500:]}" for name, site in sites.items())
        pytest.fail(f"{state(cloud, campaign)['why']}\n{words}")
    return str(state(cloud, campaign)["state"])


def test_ring_by_ring_and_back(tmp_path: Path, broker: Broker, cloud: CloudProcess) -> None:
    """A good version reaches both sites, the canary first; a bad one never leaves the canary's shadow."""
    versions = [
        built(papers(FINE, threshold=1e6)),
        built(papers(FLOODS, threshold=1e-6, scale=0.06)),
    ]
    trusted = registered(cloud, versions, site=SITES[0], files=(FINE, FLOODS))
    cloud.start()
    with gateways(tmp_path, SITES, broker_port=broker.port, trusted=trusted) as sites:
        known(cloud, SITES)
        assert ended(cloud, begin(cloud, 1), sites, 600.0) == "done"
        for name in SITES:
            assert assigned(cloud, name) == [(1, "shadow"), (1, "active")]
            assert f"{NAME} v1 (tiny), assigned for active" in sites[name].model_list()
        bad = begin(cloud, 2)
        assert ended(cloud, bad, sites, 300.0) == "halted"
        assert "1 of 1 sites of ring 1 went wrong: east: " in state(cloud, bad)["why"]
        until(cloud, lambda: not state(cloud, bad)["held"], 120)
        assert assigned(cloud, "east")[2:] == [(2, "shadow"), (2, "withdrawn"), (1, "active")]
        assert assigned(cloud, "west")[2:] == [], "it never heard of version 2"
        until(cloud, lambda: "candidate" not in sites["east"].model_list(), 120)
        assert f"{NAME} v1 (tiny), assigned for active" in sites["east"].model_list()
