"""A whole run: files, verdicts, champion, missing parts, the command line."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from cloud.training import run
from cloud.training.__main__ import EXIT_NONE_CHOSEN, main
from cloud.training.export import Session
from cloud.training.report import Candidate, Result
from cloud.training.run import NO_TORCH, choose, train
from shared.artifacts.manifest import Manifest, check_bytes
from shared.clock import ManualClock
from shared.errors import ArtifactError
from shared.features.spec import resolve
from support.training import dataset_file, demo_minute

Said = list[tuple[str, dict[str, object]]]


def go(
    folder: Path, *algorithms: str, champion: Path | None = None, data: Path | None = None
) -> tuple[Result, Said]:
    said: Said = []
    result = train(
        data or dataset_file(folder),
        folder / "out",
        algorithms=algorithms,
        champion_folder=champion,
        clock=ManualClock(),  # the rule on latency has a test of its own
        say=lambda stage, facts: said.append((stage, facts)),
    )
    return result, said


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result, Said]:
    folder = tmp_path_factory.mktemp("trained")
    result, said = go(folder, "pca")
    return folder / "out", result, said


def manifest_of(out: Path) -> Manifest:
    return msgspec.json.decode((out / "pca.manifest.json").read_bytes(), type=Manifest)


def test_the_demo_minute_brings_a_model(trained: tuple[Path, Result, Said]) -> None:
    out, result, said = trained
    assert result.chosen == "pca"
    (candidate,) = result.candidates
    assert candidate.accepted
    assert len(candidate.gate) == 9
    assert result.data is not None
    assert (result.data.rows, result.data.devices) == (47 * 12, 47)
    assert msgspec.json.decode((out / "result.json").read_bytes(), type=Result) == result
    assert [stage for stage, _ in said] == ["reading", "data", "training", "judged", "done"]


def test_the_manifest_fits_its_model(trained: tuple[Path, Result, Said]) -> None:
    out, result, _ = trained
    manifest, model = manifest_of(out), (out / "pca.onnx").read_bytes()
    check_bytes(manifest, model)
    spec = resolve(
        manifest.feature_spec,
        step_s=manifest.step_s,
        window=manifest.window,
        spec_hash=manifest.feature_spec_hash,
    )
    assert manifest.inputs[0].shape == (None, spec.width)
    assert set(manifest.thresholds) == {"*", "S19j Pro", "S21 Pro"}
    assert manifest.scope.algorithms == ("sha256d",)
    assert manifest.scope.models == ("S19j Pro", "S21 Pro")
    assert result.data is not None
    assert (manifest.data_sha256, manifest.data_to_ms) == (result.data.sha256, result.data.to_ms)
    assert (manifest.version, manifest.issued_ms, manifest.expires_ms) == (0, 0, 0)
    assert manifest.metrics["synthetic_ap"] > manifest.metrics["synthetic_ap_baseline"]


def test_the_self_test_holds_on_the_file(trained: tuple[Path, Result, Said]) -> None:
    out, _, _ = trained
    test = manifest_of(out).self_test
    x = np.frombuffer(test.input, dtype="<f4").reshape(test.shape)
    expected = np.frombuffer(test.output, dtype="<f4").reshape(test.output_shape)
    score = Session((out / "pca.onnx").read_bytes()).score(x).score
    np.testing.assert_allclose(score, expected, atol=test.atol)
    assert expected.max() > 5.0  # the extremes are in it
    assert (x == 0).all(axis=1).any()


def test_the_same_data_give_the_same_model(trained: tuple[Path, Result, Said], tmp_path: Path) -> None:
    out, first, _ = trained
    second, _ = go(tmp_path, "pca")
    assert (tmp_path / "out" / "pca.onnx").read_bytes() == (out / "pca.onnx").read_bytes()
    assert second.data == first.data


def champion_folder(out: Path, folder: Path, **changes: object) -> Path:
    folder.mkdir()
    manifest = msgspec.structs.replace(manifest_of(out), **changes)
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    (folder / "model.onnx").write_bytes((out / "pca.onnx").read_bytes())
    return folder


def test_a_champion_is_measured_on_the_same_windows(
    trained: tuple[Path, Result, Said], tmp_path: Path
) -> None:
    champion = champion_folder(trained[0], tmp_path / "champion", version=3)
    result, _ = go(tmp_path, "pca", champion=champion, data=dataset_file(tmp_path, demo_minute(2)))
    (candidate,) = result.candidates
    assert 0.5 < candidate.metrics["synthetic_ap_champion"] <= 1.0
    assert candidate.accepted


def test_a_champion_with_other_features_is_told_not_guessed(
    trained: tuple[Path, Result, Said], tmp_path: Path
) -> None:
    champion = champion_folder(trained[0], tmp_path / "champion", feature_spec_hash="0" * 64)
    result, _ = go(tmp_path, "pca", champion=champion)
    rule = next(r for r in result.candidates[0].gate if r.rule == "not_worse_than_champion")
    assert rule.ok
    assert "other features" in rule.detail
    assert "synthetic_ap_champion" not in result.candidates[0].metrics


def test_a_damaged_champion_stops_the_run(trained: tuple[Path, Result, Said], tmp_path: Path) -> None:
    champion = champion_folder(trained[0], tmp_path / "champion", sha256="0" * 64)
    with pytest.raises(ArtifactError, match="hash"):
        go(tmp_path, "pca", champion=champion)
    with pytest.raises(ArtifactError, match="no usable champion"):
        go(tmp_path, "pca", champion=tmp_path)


def test_too_little_data_is_a_result_with_a_reason(tmp_path: Path) -> None:
    recording = msgspec.structs.replace(demo_minute(), rows=demo_minute().rows[:200])
    result, _ = go(tmp_path, "pca", data=dataset_file(tmp_path, recording))
    assert (result.chosen, result.candidates, result.data) == (None, (), None)
    assert "at least 8" in result.detail
    assert json.loads((tmp_path / "out" / "result.json").read_text())["chosen"] is None


def test_without_torch_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    result, _ = go(tmp_path, "pca", "lstm-ae")
    assert result.chosen == "pca"
    missing = result.candidates[1]
    assert (missing.algorithm, missing.accepted, missing.detail, missing.model) == (
        "lstm-ae",
        False,
        NO_TORCH,
        None,
    )


def test_another_missing_library_is_not_excused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'skl2onnx'", name="skl2onnx")

    monkeypatch.setattr(run, "fit", broken)
    with pytest.raises(ModuleNotFoundError):
        go(tmp_path, "pca")


def test_an_unknown_algorithm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="unknown algorithm 'magic'"):
        go(tmp_path, "magic")


@pytest.mark.slow
def test_both_families_are_judged_and_the_result_is_honest(tmp_path: Path) -> None:
    result, _ = go(tmp_path, "lstm-ae", "pca")
    assert [c.algorithm for c in result.candidates] == ["pca", "lstm-ae"]
    assert all(c.accepted for c in result.candidates), [c.detail for c in result.candidates]
    assert result.chosen in {"pca", "lstm-ae"}
    for candidate in result.candidates:
        assert candidate.model is not None
        assert (tmp_path / "out" / candidate.model).exists()


def candidate(algorithm: str, *, accepted: bool = True) -> Candidate:
    return Candidate(algorithm=algorithm, accepted=accepted, detail="")


@pytest.mark.parametrize(
    ("first", "second", "gain", "chosen"),
    [
        (True, True, 0.02, "lstm-ae"),
        (True, True, 0.0, "pca"),
        (True, True, -0.02, "pca"),
        (False, True, -0.02, "lstm-ae"),
        (True, False, 0.5, "pca"),
        (False, False, 0.5, None),
    ],
)
def test_the_challenger_wins_only_if_surely_better(
    first: bool, second: bool, gain: float, chosen: str | None
) -> None:
    both = (candidate("pca", accepted=first), candidate("lstm-ae", accepted=second))
    best = choose(both, lambda _challenger, _champion: gain)
    assert (best.algorithm if best else None) == chosen


def test_the_command_line_says_json_and_ends_with_a_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = dataset_file(tmp_path)
    assert main(["--dataset", str(data), "--out", str(tmp_path / "o"), "--algorithms", "pca"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["chosen"] == "pca"
    assert main(["--dataset", str(tmp_path / "absent"), "--out", str(tmp_path / "o")]) == EXIT_NONE_CHOSEN
    assert main(["--dataset", str(data), "--out", str(tmp_path / "o"), "--algorithms", "magic"]) == 2
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["stage"] == "failed"


def test_without_the_train_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cloud.training.run", None)
    assert main(["--dataset", "x", "--out", str(tmp_path)]) == 2
    assert "pip install minewarden[train]" in capsys.readouterr().out


@pytest.mark.slow
def test_the_child_process_as_the_service_starts_it(tmp_path: Path) -> None:
    data = dataset_file(tmp_path)
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "cloud.training",
            "--dataset",
            data,
            "--out",
            tmp_path / "o",
            "--algorithms",
            "pca",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout.splitlines()[-1])["chosen"] == "pca"


def test_light_modules_stay_light() -> None:
    # The service imports these two; neither may drag a model library into it.
    code = (
        "import sys; import cloud.training.report, cloud.training.datasets; "
        "print([m for m in ('torch', 'sklearn', 'onnx', 'onnxruntime', 'skl2onnx') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
