"""One training run: data set → candidates → gate → files. The service starts it as a child process."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from cloud.training.baseline import MaxAbsZ
from cloud.training.datasets import Dataset, Split, read, split, trainable
from cloud.training.detector import Exportable, Inputs
from cloud.training.export import Session
from cloud.training.gates import (
    MAX_HELD,
    Held,
    Rivals,
    Scores,
    all_scored,
    artefact_rules,
    calibrate,
    hold,
    quality_rules,
    ranking,
    scores_of,
    sure_gain,
)
from cloud.training.publish import Provenance, draft
from cloud.training.report import Candidate, DataFacts, Result
from shared.artifacts.manifest import Manifest, check_bytes
from shared.clock import Clock
from shared.errors import ArtifactError
from shared.features.spec import FeatureSpec, miner_spec
from shared.ids import DeviceId

ALGORITHMS = ("pca", "lstm-ae")
"""In order of preference: a later one is chosen only if it is surely better."""
NO_TORCH = "not available: pip install minewarden[torch]"

Say = Callable[[str, dict[str, object]], None]
"""Progress: a stage word and its facts."""


class Champion(msgspec.Struct, frozen=True, kw_only=True):
    """The model that runs now."""

    manifest: Manifest
    model: bytes


def load_champion(folder: Path) -> Champion:
    """Read `manifest.json` and `model.onnx`; raises `ArtifactError` if they are not there or do not fit."""
    try:
        manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)
        model = (folder / "model.onnx").read_bytes()
    except (OSError, msgspec.DecodeError) as error:
        raise ArtifactError(f"{folder}: no usable champion ({error})") from error
    check_bytes(manifest, model)
    return Champion(manifest=manifest, model=model)


def fit(algorithm: str, spec: FeatureSpec, x: Inputs) -> Exportable:
    """Train one family; ImportError if its library is not installed, `ArtifactError` for an unknown name."""
    match algorithm:
        case "pca":
            from cloud.training.pca import PcaDetector  # noqa: PLC0415  # each family loads its own libraries

            return PcaDetector.fit(spec, x)
        case "lstm-ae":
            from cloud.training.lstm_ae import LstmAutoencoder  # noqa: PLC0415  # as above

            return LstmAutoencoder.fit(spec, x)
        case _:
            raise ArtifactError(f"unknown algorithm {algorithm!r}; known: {', '.join(ALGORITHMS)}")


class Training:
    """Everything that the candidates of one run share."""

    def __init__(self, dataset: Dataset, champion: Champion | None, out: Path, clock: Clock) -> None:
        """Split and bend the data; raises `ArtifactError` if it is too little."""
        self.dataset = dataset
        self.spec = miner_spec(dataset.step_s)
        self.rows, self.algorithms = trainable(dataset)
        self.parts: Split = split(self.spec, self.rows)
        self.test = self.parts.test.thinned(MAX_HELD)
        self.held: Held = hold(self.test)
        self._scores: dict[str, Scores] = {}
        baseline = ranking(MaxAbsZ.fit(self.spec, self.parts.train.x), self.held)
        self.rivals = _rivals(baseline, champion, self.spec, self.held)
        self._out = out
        self._clock = clock

    def facts(self) -> DataFacts:
        """What the run was made from."""
        parts = {"train": self.parts.train, "validate": self.parts.validate, "test": self.parts.test}
        return DataFacts(
            rows=len(self.rows),
            devices=len({row.device for row in self.rows}),
            from_ms=self.rows[0].at_ms,
            to_ms=self.rows[-1].at_ms + self.spec.step_s * 1000,
            sha256=self.dataset.sha256,
            split=self.parts.how,
            windows={**{name: len(part) for name, part in parts.items()}, "incidents": self.parts.incidents},
        )

    def candidate(self, algorithm: str) -> Candidate:
        """Train, export, calibrate, judge and write one candidate."""
        began = self._clock.monotonic()
        try:
            detector = fit(algorithm, self.spec, self.parts.train.x)
        except ImportError as error:
            if error.name is None or error.name.split(".")[0] != "torch":
                raise
            return Candidate(algorithm=algorithm, accepted=False, detail=NO_TORCH)
        model = detector.to_onnx()
        took_s = self._clock.monotonic() - began
        session = Session(model)
        calibration = calibrate(
            all_scored(session, self.parts.validate.x).score, self._models(self.parts.validate.devices)
        )
        thresholds = calibration.of(self._models(self.test.devices))
        self._scores[algorithm] = scores_of(session, self.held)
        quality = quality_rules(session, self.held, thresholds, self.rivals)
        artefact = artefact_rules(model, detector, self.test, self._clock)
        rules = quality.rules + artefact.rules
        metrics = {**quality.metrics, **artefact.metrics, "train_s": round(took_s, 3)}
        manifest = draft(
            model,
            algorithm=algorithm,
            spec=self.spec,
            test=self.test,
            calibration=calibration,
            provenance=Provenance(dataset=self.dataset, algorithms=self.algorithms, metrics=metrics),
        )
        names = f"{algorithm}.onnx", f"{algorithm}.manifest.json"
        (self._out / names[0]).write_bytes(model)
        (self._out / names[1]).write_bytes(msgspec.json.encode(manifest))
        failed = [rule.rule for rule in rules if not rule.ok]
        return Candidate(
            algorithm=algorithm,
            accepted=not failed,
            detail=f"refused by {', '.join(failed)}" if failed else "accepted",
            metrics=metrics,
            gate=rules,
            model=names[0],
            manifest=names[1],
        )

    def gain(self, challenger: str, champion: str) -> float:
        """How much better one built candidate surely ranks than another (see `sure_gain`)."""
        return sure_gain(self._scores[challenger], self._scores[champion], self.held.devices)

    def _models(self, devices: Sequence[DeviceId]) -> list[str]:
        return [self.dataset.models.get(device, "") for device in devices]


def _rivals(baseline: float, champion: Champion | None, spec: FeatureSpec, held: Held) -> Rivals:
    if champion is None:
        return Rivals(baseline=baseline, champion=None, champion_detail="there is no champion yet")
    name = f"{champion.manifest.algorithm} v{champion.manifest.version}"
    if champion.manifest.feature_spec_hash != spec.hash():
        detail = f"champion {name} reads other features and cannot score this data"
        return Rivals(baseline=baseline, champion=None, champion_detail=detail)
    rank = ranking(Session(champion.model), held)
    return Rivals(baseline=baseline, champion=rank, champion_detail=name)


def choose(candidates: Sequence[Candidate], gain: Callable[[str, str], float]) -> Candidate | None:
    """The accepted candidate to publish: the first, unless a later one is surely better (`gain` over 0)."""
    best: Candidate | None = None
    for candidate in candidates:
        if candidate.accepted and (best is None or gain(candidate.algorithm, best.algorithm) > 0.0):
            best = candidate
    return best


def train(
    dataset_file: Path,
    out: Path,
    *,
    algorithms: Sequence[str],
    champion_folder: Path | None,
    clock: Clock,
    say: Say,
) -> Result:
    """The whole run; writes the candidates' files and `result.json` to `out`.

    Data that cannot be trained on gives a result with `chosen` None and the reason, not an exception; an
    unusable champion or an unknown algorithm raises `ArtifactError`, because the caller asked for it.
    """
    unknown = [name for name in algorithms if name not in ALGORITHMS]
    if unknown:
        raise ArtifactError(f"unknown algorithm {unknown[0]!r}; known: {', '.join(ALGORITHMS)}")
    out.mkdir(parents=True, exist_ok=True)
    champion = load_champion(champion_folder) if champion_folder is not None else None
    say("reading", {"dataset": dataset_file.name})
    try:
        training = Training(read(dataset_file), champion, out, clock)
    except ArtifactError as error:
        result = Result(chosen=None, detail=str(error), candidates=(), data=None)
    else:
        result = _candidates(training, algorithms, say)
    (out / "result.json").write_bytes(msgspec.json.encode(result))
    say("done", {"chosen": result.chosen, "detail": result.detail})
    return result


def _candidates(training: Training, algorithms: Sequence[str], say: Say) -> Result:
    facts = training.facts()
    say("data", msgspec.to_builtins(facts))
    candidates: list[Candidate] = []
    for algorithm in [name for name in ALGORITHMS if name in algorithms]:
        say("training", {"algorithm": algorithm})
        candidates.append(training.candidate(algorithm))
        say(
            "judged",
            {"algorithm": algorithm, "accepted": candidates[-1].accepted, "detail": candidates[-1].detail},
        )
    chosen = choose(candidates, training.gain)
    return Result(
        chosen=chosen.algorithm if chosen else None,
        detail=f"{chosen.algorithm} is best" if chosen else "no candidate passed the gate",
        candidates=tuple(candidates),
        data=facts,
    )
