"""One onnxruntime session: one thread, no spinning, fixed chunks, a deadline for each run.

Numbers behind the settings: models.md §5.1-5.4. Chunks of 128 cost what one batch costs and keep the arena
from growing; a run that does not end is stopped through `RunOptions.terminate` (edge.md §6).
"""

import threading
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from shared.artifacts.manifest import Manifest
from shared.errors import ArtifactError

CHUNK: Final = 128
Floats = NDArray[np.float32]


class Outputs(msgspec.Struct, frozen=True, kw_only=True):
    """`score` [N] and `residual` [N, F]: how odd a device is, and which feature says so."""

    score: Floats
    residual: Floats


class ModelSession:
    """A loaded model. Blocking and not thread-safe: one thread uses it."""

    def __init__(self, model: Path | bytes, *, width: int, features: int) -> None:
        """Raises `ArtifactError` if it does not load or has other inputs or outputs than the contract's."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        source = str(model) if isinstance(model, Path) else model
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no base class of their own
            raise ArtifactError(f"model does not load: {error}") from error
        inputs = [node.name for node in self._session.get_inputs()]
        outputs = {node.name for node in self._session.get_outputs()}
        if inputs != ["x"] or not {"score", "residual"} <= outputs:
            raise ArtifactError(
                f"model has inputs {inputs} and outputs {sorted(outputs)}, expected x → score, residual"
            )
        self._width = width
        self._features = features

    def run(self, x: Floats, *, deadline_s: float) -> Outputs:
        """Score [N, width]; raises `ArtifactError` for a failed, late, misshapen or non-finite result."""
        score = np.empty(len(x), dtype=np.float32)
        residual = np.empty((len(x), self._features), dtype=np.float32)
        options = onnxruntime.RunOptions()
        timer = threading.Timer(deadline_s, lambda: setattr(options, "terminate", True))
        timer.daemon = True
        timer.start()
        try:
            for start in range(0, len(x), CHUNK):
                part = x[start : start + CHUNK]
                padded = np.zeros((CHUNK, self._width), dtype=np.float32)
                padded[: len(part)] = part
                got_score, got_residual = self._chunk(padded, options)
                score[start : start + len(part)] = got_score[: len(part)]
                residual[start : start + len(part)] = got_residual[: len(part)]
        finally:
            timer.cancel()
        if not (np.isfinite(score).all() and np.isfinite(residual).all()):
            raise ArtifactError("model gave a result that is not a finite number")
        return Outputs(score=score, residual=residual)

    def _chunk(self, padded: Floats, options: onnxruntime.RunOptions) -> tuple[Floats, Floats]:
        try:
            score, residual = self._session.run(["score", "residual"], {"x": padded}, options)
        except Exception as error:  # onnxruntime's errors share no base class of their own
            raise ArtifactError(f"model does not run: {error}") from error
        score, residual = np.asarray(score), np.asarray(residual)
        if score.shape != (CHUNK,) or residual.shape != (CHUNK, self._features):
            raise ArtifactError(f"model gave shapes {score.shape} and {residual.shape}")
        return score, residual


def self_test(session: ModelSession, manifest: Manifest, *, deadline_s: float) -> float:
    """Run the manifest's golden vectors; returns the largest error, raises `ArtifactError` beyond `atol`."""
    test = manifest.self_test
    try:
        given = np.frombuffer(test.input, dtype="<f4").reshape(test.shape)
        expected = np.frombuffer(test.output, dtype="<f4").reshape(test.output_shape)
    except ValueError as error:
        raise ArtifactError(f"self-test vectors have another size than they say: {error}") from error
    if given.ndim != 2 or len(given) == 0 or expected.shape != (len(given),):
        raise ArtifactError(f"self-test has shapes {test.shape} → {test.output_shape}, expected [N, W] → [N]")
    if not 0 < test.atol <= 0.1:
        raise ArtifactError(f"self-test tolerance {test.atol} proves nothing")
    got = session.run(np.ascontiguousarray(given, dtype=np.float32), deadline_s=deadline_s).score
    error_max = float(np.max(np.abs(got - expected)))
    if not error_max <= test.atol:
        raise ArtifactError(f"self-test is off by {error_max:.3g}, allowed is {test.atol:.3g}")
    return error_max
