"""Every fault that is silent elsewhere, planted on purpose: the export does not write it, or the file's reader finds it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from fmnist_export import pipeline
from fmnist_export.formatting import format_claims, format_inspection
from fmnist_export.inspection import inspect_model
from fmnist_export.metadata import stamp
from fmnist_export.pipeline import ExportOptions, export
from fmnist_export.settings import Limits, QuantizationSettings
from fmnist_export.verify import verify
from fmnist_runtime import Classifier
from fmnist_runtime.errors import DataError, GateError, ModelError
from fmnist_runtime.model_file.metadata import PREFIX
from fmnist_runtime.selftest import selftest
from fmnist_train.data.sources import DataSource, find_dataset

CHECKPOINT = Path(__file__).parents[2] / "artifacts" / "improved"


def options(folder: Path, **more: Any) -> ExportOptions:
    return ExportOptions(output=folder, data="sample", quantization=QuantizationSettings(images=256), **more)


@pytest.fixture
def resealed(exported: Path, tmp_path: Path) -> Callable[..., Path]:
    """Change a good int8 file, and give it a right checksum: what a careless tool would do, not a bad download."""

    def make(change: Callable[[ModelProto], None] = lambda model: None, **fields: Any) -> Path:
        model = onnx.load(exported / "model.int8.onnx")
        document = {p.key.removeprefix(PREFIX): p.value for p in model.metadata_props}
        del document["sha256"]
        change(model)
        path = tmp_path / "changed.onnx"
        path.write_bytes(stamp(model, {key: json.loads(value) for key, value in document.items()} | fields))
        return path

    return make


def edit(model: ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    (tensor,) = [i for i in model.graph.initializer if i.name == name]
    value = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(change(value).astype(value.dtype).reshape(value.shape), name))


def wrong_weights(model: ModelProto) -> None:
    """Two rows of the last layer change places."""
    name = next(i.name for i in model.graph.initializer if i.name.startswith("model.21.weight") and len(i.dims) == 2)
    edit(model, name, lambda w: w[[1, 0, *range(2, 10)]])


def other_normalisation(model: ModelProto) -> None:
    """Pixels divided by 255 and not reduced by the mean, as torchvision's ``ToTensor`` does."""
    int8 = any(i.name == "div_scale" for i in model.graph.initializer)
    edit(model, "div_zero_point" if int8 else "val_1", lambda v: v * 0)
    edit(model, "div_scale" if int8 else "val_2", lambda v: 1 / (v * 0 + 255) if int8 else v * 0 + 255)


def saturated_scale(model: ModelProto) -> None:
    """An activation's range is cut to a tenth, so that most large values are clipped."""
    edit(model, "relu_2_scale", lambda s: s / 10)


def found_wrong(path: Path) -> set[str]:
    return {claim.name for claim in verify(path, find_dataset("sample")) if not claim.holds}


def test_a_good_file_verifies_and_describes_itself(exported: Path) -> None:
    for name in ("model.int8.onnx", "model.onnx"):
        claims = verify(exported / name, find_dataset("sample"))
        assert all(claim.holds for claim in claims) and "WRONG" not in format_claims(claims)
    found = inspect_model(exported)
    assert found["macs"] == found["metadata"]["model"]["macs"] == 22_650_880  # with the zeros of `first_conv.py`
    assert inspect_model(exported / "model.onnx")["macs"] == 22_199_296
    assert sum(node["integer"] for node in found["executed"] if node["weight"]) == 7
    assert json.loads(json.dumps(found))["opset"] == {"ai.onnx": 18}
    text = format_inspection(found)
    assert "22,650,880 MACs" in text and "QLinearConv" in text and found["metadata"]["calibration"]["sha256"] in text
    assert not any(n["integer"] for n in inspect_model(exported / "model.onnx")["executed"] if n["weight"])


@pytest.mark.parametrize("fault", [wrong_weights, other_normalisation])
def test_the_export_refuses_a_wrong_float_graph(
    fault: Callable[[ModelProto], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "to_onnx", fault)
    with pytest.raises(GateError, match="float ONNX gives other classes"):
        export(CHECKPOINT, options(tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_export_refuses_a_saturated_scale_and_names_the_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "quantize", saturated_scale)
    with pytest.raises(
        GateError, match=r"int8 loses .* points of accuracy .* add most noise .*: relu_2 \(3\d to \d dB\), "
    ):
        export(CHECKPOINT, options(tmp_path, quantize=True))
    assert not list(tmp_path.iterdir())


def plant(monkeypatch: pytest.MonkeyPatch, step: str, fault: Callable[[ModelProto], None]) -> None:
    right = getattr(pipeline, step)

    def wrong(*arguments: Any) -> ModelProto:
        model = right(*arguments)
        fault(model)
        return model

    monkeypatch.setattr(pipeline, step, wrong)


@pytest.mark.parametrize("fault", [wrong_weights, other_normalisation, saturated_scale])
def test_a_changed_file_fails_its_own_selftest_and_its_proof(
    fault: Callable[[ModelProto], None], resealed: Callable[..., Path]
) -> None:
    path = resealed(fault)
    assert not selftest(Classifier.load(path)).passed
    assert {"self-test", "SHA-256 of all logits", "correct answers"} <= found_wrong(path)


def test_swapped_labels_and_embellished_figures_do_not_verify(exported: Path, resealed: Callable[..., Path]) -> None:
    document = Classifier.load(exported).metadata.document
    labels = [*reversed(document["labels"])]
    assert found_wrong(resealed(labels=labels)) == {"labels"}
    better = json.loads(json.dumps(document["accuracy"]))
    better["int8"]["accuracy"] = 0.99
    assert found_wrong(resealed(accuracy=better)) == {"accuracy"}
    better["int8"]["correct"] = 990
    assert {"correct answers", "accuracy", "95% interval"} == found_wrong(resealed(accuracy=better))
    closer = json.loads(json.dumps(document["parity"]))
    closer["int8"]["agreement"] = 0.5 if closer["int8"]["agreement"] == 1 else 1.0
    assert found_wrong(resealed(parity=closer)) == {"agreement (against PyTorch)"}
    path = resealed(proof=None)
    with pytest.raises(ModelError, match=f"^{path}: the model's proof is missing"):
        verify(path, find_dataset("sample"))


@pytest.mark.parametrize("fields", [{"correct": 10**400}, {"images": 0}, {"interval": [10**400, 1]}])
def test_figures_that_no_float_can_hold_are_refused(
    exported: Path, resealed: Callable[..., Path], fields: dict[str, Any]
) -> None:
    stated = json.loads(json.dumps(Classifier.load(exported).metadata.document["accuracy"]))
    stated["int8"] |= fields
    path = resealed(accuracy=stated)
    with pytest.raises(ModelError, match="malformed"):
        verify(path, find_dataset("sample"))
    if "interval" in fields:
        with pytest.raises(ModelError, match="malformed"):
            format_inspection(inspect_model(path))


def test_other_test_images_prove_nothing(exported: Path) -> None:
    sample = find_dataset("sample")
    other = DataSource("other", sample.labels, "here", lambda part: sample.load(part).take(np.arange(500)))
    with pytest.raises(DataError, match="not those of the test images of other"):
        verify(exported, other)


def test_a_flipped_byte_anywhere_is_refused(exported: Path, tmp_path: Path) -> None:
    data, path = (exported / "model.int8.onnx").read_bytes(), tmp_path / "model.onnx"
    for position in np.random.default_rng(0).integers(0, len(data), 50):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(ModelError):
            Classifier.load(path)


def test_sums_cover_what_was_written_and_refuse_anything_else(exported: Path, tmp_path: Path) -> None:
    for name in ("model.int8.onnx", "model.onnx", "SHA256SUMS"):
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    export(CHECKPOINT, options(tmp_path))  # float alone: the int8 file's line stays
    assert Classifier.load(tmp_path).metadata.precision == "int8"
    (tmp_path / "model.int8.onnx").write_bytes((exported / "model.onnx").read_bytes())
    with pytest.raises(ModelError, match="another file"):
        Classifier.load(tmp_path)


def test_external_data_and_a_newer_schema_are_refused(resealed: Callable[..., Path], tmp_path: Path) -> None:
    def outside(model: ModelProto) -> None:
        tensor = model.graph.initializer[-1]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../etc/passwd")

    with pytest.raises(ModelError, match="external"):
        Classifier.load(resealed(outside))
    path = resealed()
    newer = onnx.load(path)
    next(p for p in newer.metadata_props if p.key == "fmnist.schema").value = "2"
    seal(newer, path)
    with pytest.raises(ModelError, match="upgrade fmnist-edge"):
        Classifier.load(path)


def seal(model: ModelProto, path: Path) -> None:
    """Write a model as it is, with a right checksum."""
    from fmnist_runtime.model_file.integrity import checksum_span, file_checksum

    data = bytearray(model.SerializeToString())
    span = checksum_span(bytes(data))
    data[span] = file_checksum(bytes(data), span).encode()
    path.write_bytes(data)


def test_a_slow_int8_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="required under"):
        export(CHECKPOINT, options(tmp_path, quantize=True, limits=Limits(max_latency_ratio=0.001)))
    assert not list(tmp_path.iterdir())
