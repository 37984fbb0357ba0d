"""Loading a model: what is accepted, and every fault that must not be."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

from fmnist_runtime import Classifier, ModelError
from fmnist_runtime.errors import ConfigError, ImageError
from fmnist_runtime.model_file.store import embedded_models
from fmnist_runtime.reject import SCORES
from fmnist_runtime.selftest import Golden, pack_golden, selftest

Make = Callable[..., Path]


def test_predictions_are_complete_and_ordered(tiny_model: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (28, 28), dtype=np.uint8)
    prediction = Classifier.load(tiny_model)(image, top_k=3)
    shares = [top.probability for top in prediction.top]
    assert prediction.label == prediction.top[0].label == "abc"[prediction.class_id]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1, abs=1e-5)


def test_batch_equals_single(tiny_model: Path) -> None:
    classifier = Classifier.load(tiny_model)
    images = list(np.random.default_rng(1).integers(0, 256, (5, 28, 28), dtype=np.uint8))
    for one, many in zip([classifier(i) for i in images], classifier.batch(images), strict=True):
        assert (one.label, one.class_id) == (many.label, many.class_id)
        assert one.probability == pytest.approx(many.probability, abs=1e-6)
    assert classifier.batch([]) == []
    assert classifier.batch(np.stack(images)) == classifier.batch(images)


def test_reject_option(make_model: Make) -> None:
    path = make_model(reject={"score": "max_probability", "threshold": 1.01, "acceptance": 0.95})
    image = np.full((28, 28), 9, np.uint8)
    rejected = Classifier.load(path)(image)
    assert rejected.rejected and rejected.label is None and rejected.class_id is None
    assert rejected.top and "threshold" in rejected.reason
    kept = Classifier.load(path)(image, reject=False)
    assert not kept.rejected and kept.label == rejected.top[0].label


def test_a_picture_of_nothing_is_rejected_whatever_the_model_thinks(make_model: Make) -> None:
    nothing = np.zeros((28, 28), np.uint8)
    sure = Classifier.load(make_model(reject={"score": "max_probability", "threshold": 0, "acceptance": 1}))
    assert sure(nothing).rejected and "stands out" in sure(nothing).reason
    assert not sure(nothing, reject=False).rejected and not sure(nothing + 1).rejected
    assert not Classifier.load(make_model())(nothing).rejected  # a model without the option


def test_scores_are_higher_for_what_is_familiar() -> None:
    logits = np.array([[0, 0, 0, 0], [2, 2, 0, 0], [3, 0, 0, 0], [200, 0, 0, 0]], np.float32)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    for name, score in SCORES.items():
        values = score(logits, shares)
        assert values.shape == (4,) and np.isfinite(values).all() and values[0] < values[2] < values[3], name
    assert SCORES["certainty"](logits, shares)[[0, 3]] == pytest.approx([0, 1], abs=1e-6)
    halves = np.array([[0.5, 0.5, 0, 0]], np.float32)
    assert SCORES["certainty"](logits[:1], halves) == pytest.approx([0.5])


@pytest.mark.parametrize("position", [40, -90, 0.5])
def test_a_flipped_byte_is_refused(tiny_model: Path, position: float) -> None:
    data = bytearray(tiny_model.read_bytes())
    data[int(len(data) * position) if isinstance(position, float) else position] ^= 1
    tiny_model.write_bytes(data)
    with pytest.raises(ModelError):
        Classifier.load(tiny_model)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x00" * 100, b"\x08\x09"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        Classifier.load(path)


def test_every_truncation_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    data, path = tiny_model.read_bytes(), tmp_path / "short.onnx"
    for length in range(1, len(data), 487):
        path.write_bytes(data[:length])
        with pytest.raises(ModelError):
            Classifier.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 99}, "upgrade fmnist-edge"),
        ({"schema": "one"}, "damaged"),
        ({"labels": ["a", "b"]}, "2 labels"),
        ({"labels": []}, "no labels"),
        ({"labels": "abc"}, "not a list"),
        ({"labels": [[] for _ in range(1)]}, "1 labels"),
        ({"temperature": 10**400}, "malformed"),
        ({"temperature": float("inf")}, "temperature"),
        ({"reject": {"score": "energy", "threshold": 10**400}}, "malformed"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": None}, "incomplete"),
        ({"reject": {"score": "magic", "threshold": 1}}, "magic"),
        ({"reject": {"score": "energy"}}, "malformed"),
    ],
)
def test_bad_metadata_is_refused(make_model: Make, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Classifier.load(make_model(**changes))


def test_metadata_without_end_are_refused(make_model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("json.dumps", lambda value: "[" * 100_000)
    with pytest.raises(ModelError, match="not JSON"):
        Classifier.load(make_model())


def test_a_fixed_batch_is_refused(make_model: Make, tiny_model: Path) -> None:
    import onnx

    model = onnx.load(tiny_model)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(ModelError, match="image: uint8"):
        Classifier.load(make_model(model))


def test_a_model_that_fails_when_it_is_run(make_model: Make, tiny_model: Path) -> None:
    import onnx

    model = onnx.load(tiny_model)
    model.graph.node[1].output[0] = "almost flat"
    model.graph.node.insert(2, helper.make_node("Reshape", ["almost flat", "sizes"], ["flat"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([3, 5]), "sizes"))
    del model.graph.value_info[:]
    with pytest.raises(ModelError, match="onnxruntime cannot"):
        Classifier.load(make_model(model))(np.zeros((28, 28), np.uint8))


def test_another_signature_is_refused(make_model: Make) -> None:
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", ["x"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    with pytest.raises(ModelError, match="image: uint8"):
        Classifier.load(make_model(model))


def _external() -> TensorProto:
    tensor = TensorProto(name="stolen", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


@pytest.mark.parametrize("place", ["initialiser", "attribute", "subgraph"])
def test_external_data_is_refused(make_model: Make, tiny_model: Path, place: str) -> None:
    import onnx

    model = onnx.load(tiny_model)
    if place == "initialiser":
        model.graph.initializer.append(_external())
    elif place == "attribute":
        model.graph.node.append(helper.make_node("Constant", [], ["c"], value=_external()))
    else:
        inner = helper.make_graph([], "inner", [], [], [_external()])
        model.graph.node.append(helper.make_node("If", ["cond"], ["out"], then_branch=inner, else_branch=inner))
    with pytest.raises(ModelError, match="external"):
        Classifier.load(make_model(model))


def test_millions_of_empty_nodes_are_refused(tmp_path: Path) -> None:
    nodes = b"\x0a\x00" * 1_000_001
    length = bytes(
        [len(nodes) & 127 | 128, len(nodes) >> 7 & 127 | 128, len(nodes) >> 14 & 127 | 128, len(nodes) >> 21]
    )
    (tmp_path / "x.onnx").write_bytes(b"\x3a" + length + nodes)  # Model.graph of Graph.node
    with pytest.raises(ModelError, match="1,000,000 parts"):
        Classifier.load(tmp_path / "x.onnx")


def test_missing_files_names_and_providers(tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="no such model"):
        Classifier.load(tmp_path / "nothing.onnx")
    with pytest.raises(ConfigError, match="unknown provider"):
        Classifier.load(tiny_model, provider="abacus")
    with pytest.raises(ConfigError, match="not in this onnxruntime"):
        Classifier.load(tiny_model, provider="qnn")
    with pytest.raises(ConfigError, match="threads"):
        Classifier.load(tiny_model, threads=0)


def test_sha256_and_sums(tiny_model: Path) -> None:
    import hashlib

    right = hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    Classifier.load(tiny_model, sha256=right)
    with pytest.raises(ModelError, match="another file"):
        Classifier.load(tiny_model, sha256="0" * 64)
    tiny_model.with_name("SHA256SUMS").write_text(f"{'1' * 64}  {tiny_model.name}\n")
    with pytest.raises(ModelError, match="another file"):
        Classifier.load(tiny_model)


@pytest.mark.parametrize("shape", [(0, 3), (5,), (9, 9, 2), (2, 9, 9, 3), ()])
def test_arrays_that_are_no_pictures(tiny_model: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="an array must be uint8"):
        Classifier.load(tiny_model)(np.zeros(shape, np.uint8))
    with pytest.raises(ImageError, match="not float32"):
        Classifier.load(tiny_model)(np.zeros((28, 28), np.float32))


@pytest.mark.parametrize("thing", [None, 0, bytearray(b"x"), [1]])
def test_things_that_are_no_pictures(tiny_model: Path, thing: object) -> None:
    with pytest.raises(ImageError, match="a picture is"):
        Classifier.load(tiny_model)(thing)


@pytest.mark.parametrize("threads", [0, -1, 257, 3_000_000_000])
def test_numbers_of_threads_that_no_device_has(tiny_model: Path, threads: int) -> None:
    with pytest.raises(ConfigError, match="threads must be 1 to 256"):
        Classifier.load(tiny_model, threads=threads)


def test_selftest_catches_other_arithmetic(make_model: Make, tiny_model: Path) -> None:
    images = np.random.default_rng(2).integers(0, 256, (4, 1, 28, 28), dtype=np.uint8)
    logits = Classifier.load(tiny_model).logits(images)
    assert selftest(Classifier.load(make_model(selftest=pack_golden(Golden(images, logits, 1e-4))))).passed
    wrong = pack_golden(Golden(images, logits + 0.01, 1e-4))
    assert not selftest(Classifier.load(make_model(selftest=wrong))).passed
    with pytest.raises(ModelError, match="malformed"):
        selftest(Classifier.load(make_model(selftest={"images": "%", "logits": "", "tolerance": 0})))


@pytest.mark.parametrize("name", sorted(embedded_models()))
def test_embedded_models_pass_their_own_selftest(name: str) -> None:
    result = selftest(Classifier.load(name))
    assert result.passed and result.bit_identical and result.images == 8


def test_a_classification_imports_nothing_heavy() -> None:
    code = (
        "import sys, numpy as np\nfrom fmnist_runtime import Classifier\n"
        "Classifier.load()(np.zeros((40, 30, 3), np.uint8))\n"
        "print([m for m in ('torch', 'torchvision', 'onnx', 'sklearn', 'matplotlib', 'rich', 'typer') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pillow_image(tiny_model: Path) -> None:
    assert Classifier.load(tiny_model)(Image.new("RGB", (60, 40), "white")).top


def test_pillow_images_of_any_mode(tiny_model: Path) -> None:
    classifier = Classifier.load(tiny_model)
    assert classifier(Image.new("I;16", (60, 40), 60000)).top and classifier(Image.new("F", (60, 40), 0.5)).top
    with pytest.raises(ImageError, match="no pixels"):
        classifier(Image.new("RGB", (0, 5)))
