"""The whole export: the same bytes twice, and no file after a failed gate."""

import base64
import json
import shutil
from pathlib import Path

import onnx
import onnxruntime
import pytest
from torch import nn

from fmnist_export import artifacts
from fmnist_export.convert import to_onnx
from fmnist_export.evidence import collect_evidence
from fmnist_export.pipeline import ExportOptions, export
from fmnist_export.settings import Limits, QuantizationSettings
from fmnist_runtime import Classifier
from fmnist_runtime.errors import CheckpointError, ConfigError, GateError
from fmnist_runtime.files import write_together
from fmnist_runtime.selftest import selftest
from fmnist_train.checkpoint import save_checkpoint
from fmnist_train.recipes import RECIPES

ROOT = Path(__file__).parents[2]


def test_exporting_twice_gives_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    settings = QuantizationSettings(images=256)
    limits = Limits(max_latency_ratio=0)
    again = ExportOptions(
        output=tmp_path, quantize=True, half=True, data="sample", quantization=settings, limits=limits
    )
    export(ROOT / "artifacts" / "improved", again)
    for name in ("model.onnx", "model.int8.onnx"):
        assert (exported / name).read_bytes() == (tmp_path / name).read_bytes()
    classifier = Classifier.load(tmp_path)
    assert classifier.metadata.precision == "int8" and selftest(classifier).bit_identical
    document = classifier.metadata.document
    assert document["training"]["recipe"]["name"] == "improved-photos" and len(document["checkpoint_sha256"]) == 64
    assert len(base64.b64decode(document["selftest"]["logits"])) == 8 * 10 * 4


def test_each_model_is_stamped_once_and_loaded_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for its evaluation, and once as the finished file with its self-test."""
    stamped: list[bytes] = []
    loaded: list[bytes] = []
    stamp, session = artifacts.stamp, onnxruntime.InferenceSession
    monkeypatch.setattr(artifacts, "stamp", lambda *given: stamped.append(stamp(*given)) or stamped[-1])
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda data, *given, **named: loaded.append(data) or session(data, *given, **named),
    )
    settings, limits = QuantizationSettings(images=64), Limits(max_latency_ratio=0)
    options = ExportOptions(output=tmp_path, quantize=True, quantization=settings, limits=limits, data="sample")
    export(ROOT / "artifacts" / "nano", options)
    files = [(tmp_path / name).read_bytes() for name in ("model.onnx", "model.int8.onnx")]
    assert stamped == files
    for data in files:
        graph = onnx.load_model_from_string(data).graph
        same = [each for each in loaded if isinstance(each, bytes) and onnx.load_model_from_string(each).graph == graph]
        assert len(same) == 2 and same[1] == data


def test_a_failed_gate_leaves_the_good_file(tmp_path: Path) -> None:
    good = tmp_path / "model.int8.onnx"
    good.write_bytes(b"the good one")
    (tmp_path / "parity.json").write_text('{"files": {}, "accuracy": {}}')
    settings, limits = QuantizationSettings(images=256), Limits(max_drop=-100)
    options = ExportOptions(output=tmp_path, quantize=True, quantization=settings, limits=limits, data="sample")
    with pytest.raises(GateError, match="layers that add most noise") as failure:
        export(ROOT / "artifacts" / "improved", options)
    assert failure.value.exit_code == 3
    assert (
        sorted(p.name for p in tmp_path.iterdir()) == ["model.int8.onnx", "parity.json"]
        and good.read_bytes() == b"the good one"
    )


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.ort", "SHA256SUMS", "parity.txt", "parity.json"])
def test_a_model_from_elsewhere_is_not_replaced(name: str, tmp_path: Path) -> None:
    """Many tools name their file ``model.onnx``."""
    (tmp_path / name).write_bytes(b"of another tool")
    with pytest.raises(ConfigError, match=rf"{name} exists and was not written by this command: choose another"):
        export(ROOT / "artifacts" / "nano", ExportOptions(output=tmp_path, data="sample"))
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [(name, b"of another tool")]


def test_a_report_from_elsewhere_opens_no_folder(tmp_path: Path) -> None:
    (tmp_path / "parity.json").write_text('{"mine": 1}')
    (tmp_path / "model.onnx").write_bytes(b"of another tool")
    with pytest.raises(ConfigError, match=r"model\.onnx exists and was not written by this command"):
        artifacts.refuse_others(tmp_path)


def test_an_export_that_was_killed_is_completed_but_other_sums_are_kept(exported: Path, tmp_path: Path) -> None:
    shutil.copy(exported / "model.onnx", tmp_path)
    artifacts.refuse_others(tmp_path)
    shutil.copy(exported / "SHA256SUMS", tmp_path)
    artifacts.refuse_others(tmp_path)
    (tmp_path / "SHA256SUMS").write_text("# mine\n")
    with pytest.raises(ConfigError, match="SHA256SUMS exists and was not written by this command"):
        artifacts.refuse_others(tmp_path)


def test_evidence_of_other_weights_does_not_stay(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    (tmp_path / "metrics.json").write_text('{"exported": {}, "checkpoint_sha256": "of other weights"}')
    before = sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir())
    with pytest.raises(ConfigError, match="has the evidence of other weights: add --evidence, which replaces it, or"):
        export(ROOT / "artifacts" / "nano", ExportOptions(output=tmp_path, data="sample"))
    assert sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("metrics", [True, False])
def test_evidence_that_a_run_lacks_does_not_stay_of_other_weights(metrics: bool, tmp_path: Path) -> None:
    run, folder, shipped = tmp_path / "run", tmp_path / "shipped", ROOT / "artifacts" / "nano"
    shutil.copytree(ROOT / "artifacts" / "micro", folder)
    run.mkdir()
    for name in ("best.safetensors", "best.json", *(["metrics.json"] if metrics else [])):
        shutil.copy(shipped / name, run)
    report = json.loads((shipped / "parity.json").read_text())
    write_together(folder, *collect_evidence(run, folder, report))
    others = {path.name for path in folder.iterdir() if not path.name.startswith(("model.", "parity.", "SHA256SUMS"))}
    assert others == {"best.safetensors", "best.json"} | ({"metrics.json", "README.md"} if metrics else set())
    assert not metrics or (folder / "README.md").read_text().startswith("# Model card: nano")


@pytest.mark.parametrize(
    "damage", [{"test": {"accuracy": 0.5, "accuracy_interval": [0, 1]}}, {"checkpoint_sha256": "0"}]
)
def test_an_export_whose_evidence_is_damaged_replaces_nothing(damage: dict, exported: Path, tmp_path: Path) -> None:
    run, folder, shipped = tmp_path / "run", tmp_path / "shipped", ROOT / "artifacts" / "nano"
    shutil.copytree(exported, folder)
    run.mkdir()
    shutil.copy(shipped / "best.safetensors", run)
    metrics = json.loads((shipped / "metrics.json").read_text()) | damage
    (run / "metrics.json").write_text(json.dumps(metrics))
    before = sorted((path.name, path.read_bytes()) for path in folder.iterdir())
    with pytest.raises(CheckpointError, match=r"metrics\.json (is damaged|has the figures of other weights)"):
        export(run, ExportOptions(output=folder, data="sample", evidence=True, limits=Limits(max_latency_ratio=0)))
    assert sorted((path.name, path.read_bytes()) for path in folder.iterdir()) == before


def test_evidence_replaces_no_other_run(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)  # the other run was exported into its own folder
    (tmp_path / "last.safetensors").touch()
    with pytest.raises(ConfigError, match="is another run, whose files would be replaced: name another output"):
        export(ROOT / "artifacts" / "nano", ExportOptions(output=tmp_path, data="sample", evidence=True))


@pytest.mark.parametrize("name", ["README.md", "metrics.json", "history.csv", "best.json", "reliability.png"])
def test_evidence_from_elsewhere_is_not_replaced(name: str, tmp_path: Path) -> None:
    content = b"# Model card: mine"  # as the cards of exports begin
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{name} exists and .*: remove it, or name another output folder"):
        export(ROOT / "artifacts" / "nano", ExportOptions(output=tmp_path, data="sample", evidence=True))
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [(name, content)]


def test_no_file_of_other_weights_stays(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    export(ROOT / "artifacts" / "improved", ExportOptions(output=tmp_path, data="sample"))
    assert (tmp_path / "model.int8.onnx").is_file()  # of the same weights
    models = {path.name for path in tmp_path.glob("model.*")}
    report = export(ROOT / "artifacts" / "best", ExportOptions(output=tmp_path, data="sample"))
    assert report["removed"] == sorted(models - {"model.onnx"})
    assert not (tmp_path / "model.int8.onnx").exists()
    assert "int8" not in (tmp_path / "SHA256SUMS").read_text()
    shipped = Classifier.load(ROOT / "artifacts" / "best" / "model.onnx").metadata.document
    assert Classifier.load(tmp_path).metadata.document["checkpoint_sha256"] == shipped["checkpoint_sha256"]


def test_other_classes_and_impossible_settings(tmp_path: Path, random_model: nn.Module) -> None:
    info = {
        "model": {"name": "improved", "options": {}},
        "labels": list("abcdefghij"),
        "recipe": RECIPES["improved-published"].to_dict(),
    }
    save_checkpoint(tmp_path / "best", random_model, info)
    with pytest.raises(CheckpointError, match="other classes"):
        export(tmp_path, ExportOptions(data="sample"))
    for settings in ({"target": "abacus"}, {"calibration": "guess"}, {"images": 0}):
        with pytest.raises(ConfigError):
            QuantizationSettings(**settings)
    with pytest.raises(ConfigError):
        to_onnx(random_model, 0)
