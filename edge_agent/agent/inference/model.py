"""One model as the gateway runs it: verified manifest, feature spec, buffers, session, and its scores."""

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_agent.agent.inference.drift import Drift
from edge_agent.agent.inference.figures import Latencies
from edge_agent.agent.inference.session import ModelSession
from edge_agent.agent.inference.slots import Stored
from shared.artifacts.manifest import Manifest, Verified
from shared.commands import ModelRef
from shared.errors import ArtifactError
from shared.features.buffers import WindowBuffers
from shared.features.compute import features
from shared.features.spec import FeatureSpec, resolve
from shared.ids import DeviceId
from shared.inventory import DeviceEntry
from shared.telemetry import RollupRow


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How odd one miner looks, with its evidence.

    `top_feature` has the largest residual; `against_peers` is that feature minus the median over the
    miners of this batch (in the feature's unit), so its sign says "low" or "high"; None with no peers.
    """

    device: DeviceId
    at_ms: int
    score: float
    threshold: float
    top_feature: str
    against_peers: float | None
    evidence: dict[str, float]

    @property
    def alarming(self) -> bool:
        return self.score > self.threshold


def spec_of(manifest: Manifest) -> FeatureSpec:
    """The feature spec that the manifest names; raises `ArtifactError` if this agent has another."""
    return resolve(
        manifest.feature_spec,
        step_s=manifest.step_s,
        window=manifest.window,
        spec_hash=manifest.feature_spec_hash,
    )


class LoadedModel:
    """Scores all miners it is meant for in one batch. Blocking; used from the inference thread only."""

    def __init__(self, verified: Verified, stored: Stored) -> None:
        """Raises `ArtifactError` if the file does not load or the spec is not ours."""
        self.assignment = verified.assignment
        self.manifest = verified.manifest
        self.signed = stored.signed
        self.spec = spec_of(verified.manifest)
        self.session = ModelSession(stored.path, width=self.spec.width, features=len(self.spec.features))
        self.ref = ModelRef(
            name=self.manifest.name, version=self.manifest.version, sha256=self.manifest.sha256
        )
        self.drift = Drift(self.spec.names)
        self.latencies = Latencies()
        self._buffers = WindowBuffers(self.spec)

    def push(self, rows: Iterable[RollupRow]) -> None:
        """Take new roll-up rows of any device."""
        self._buffers.push(rows)

    def threshold(self, model: str) -> float | None:
        """Alarm threshold for a miner model; None where the manifest has none for it."""
        return self.manifest.thresholds.get(model, self.manifest.thresholds.get("*"))

    def covers(self, entry: DeviceEntry) -> bool:
        """Whether this miner is in the model's scope and has a threshold."""
        scope = self.manifest.scope
        return (
            (not scope.algorithms or str(entry.algorithm) in scope.algorithms)
            and (not scope.models or (entry.model or "") in scope.models)
            and self.threshold(entry.model or "") is not None
        )

    def score(self, entries: dict[DeviceId, DeviceEntry], *, deadline_s: float) -> list[Score]:
        """Scores of the miners whose window is complete; raises `ArtifactError` when the model misbehaves."""
        devices = [d for d in self._buffers.ready() if d in entries and self.covers(entries[d])]
        if not devices:
            return []
        x = features(self.spec, self._buffers.matrix(devices))
        outputs = self.session.run(x, deadline_s=deadline_s)
        newest = x.reshape(len(devices), self.spec.window, -1)[:, -1, :]
        self.drift.add(newest, _groups([entries[device] for device in devices]))
        return [
            self._explain(entries[device], float(outputs.score[i]), outputs.residual[i], newest, i)
            for i, device in enumerate(devices)
        ]

    def _explain(
        self,
        entry: DeviceEntry,
        score: float,
        residual: NDArray[np.float32],
        newest: NDArray[np.float32],
        index: int,
    ) -> Score:
        names = self.spec.names
        order = np.argsort(-np.abs(residual))
        top = int(order[0])
        peers = float(newest[index, top] - np.median(newest[:, top])) if len(newest) > 2 else None
        threshold = self.threshold(entry.model or "")
        if threshold is None:
            raise ArtifactError(f"no threshold for {entry.model!r}")
        return Score(
            device=entry.id,
            at_ms=self._buffers.newest_ms,
            score=score,
            threshold=threshold,
            top_feature=names[top],
            against_peers=peers,
            evidence={names[int(i)]: round(float(residual[int(i)]), 4) for i in order[:3]},
        )


def _groups(entries: Sequence[DeviceEntry]) -> NDArray[np.int64]:
    """A number per algorithm: miners that may be compared with each other."""
    number = {name: i for i, name in enumerate(sorted({str(entry.algorithm) for entry in entries}))}
    return np.array([number[str(entry.algorithm)] for entry in entries], dtype=np.int64)
