"""Structured mutations of model files, checkpoints, IDX, CSV, answers and forms, and small valid inputs of each."""

import functools
import gzip
import json
import random
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_images import change_parts

__all__ = [
    "answers", "change_answers", "change_checkpoint", "change_csv", "change_form", "change_idx", "change_model",
    "checkpoints", "csv_files", "forms", "idx_files",
]  # fmt: skip

_ODD: list[Any] = [
    None, True, -1, 0, 1, 1.5, 10**400, float("inf"), float("nan"), "", "x" * 100_000, "a\udcff", "0", [], {}, [[]], [None],
    [[[[[]]]]], {"": {}}, list(range(5000)),
]  # fmt: skip
"""JSON values of every type, at the limits of each."""
_ODD_TEXT = [
    "",
    "null",
    "NaN",
    "-1",
    "1e999",
    "[" * 100_000,
    '"\\ud800"',
    "{",
    "\0",
    "1" * 5000,
    "\ufeff1",
    "9.0",
    "0x10",
]
"""Texts in the place of a value."""


def change_json(value: Any, rng: random.Random) -> Any:
    """Returns a copy of a JSON value in which one value, at any depth, is replaced, removed, renamed or doubled."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.2:
        return rng.choice(_ODD)
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    key = rng.choice(list(copy) if isinstance(copy, dict) else range(len(copy)))
    match rng.randrange(6):
        case 0:
            del copy[key]
        case 1 if isinstance(copy, dict):
            copy[rng.choice(["", "x", f"{key}2", "\0"])] = copy.pop(key)
        case 1:
            copy[key:key] = [copy[key]] * rng.choice((1, 300))
        case _:
            copy[key] = change_json(copy[key], rng)
    return copy


def change_model(data: bytes, rng: random.Random) -> bytes:
    """Changes the metadata of an ONNX file, and mostly seals it again, so that it is read beyond its checksum."""
    import onnx

    from fmnist_runtime.model_file.integrity import checksum_span, file_checksum

    model = onnx.load_model_from_string(data)
    props = [(prop.key, prop.value) for prop in model.metadata_props]
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(props))
        key, value = props[at]
        match rng.randrange(6):
            case 0:
                del props[at]
            case 1:
                props.insert(at, (key, value))
            case 2:
                props[at] = (key, rng.choice(_ODD_TEXT))
            case 3:
                props[at] = (rng.choice(["", "fmnist.", "fmnist.x", "x" * 9999, key[:-1]]), value)
            case _ if key != "fmnist.sha256":
                props[at] = (
                    key,
                    json.dumps(change_json(json.loads(value), rng) if value[:1] in '{["' else rng.choice(_ODD)),
                )
    del model.metadata_props[:]
    for key, value in props:
        model.metadata_props.add(key=key, value=value.encode("utf-8", "backslashreplace").decode())
    changed = bytearray(model.SerializeToString())
    span = checksum_span(bytes(changed))
    if span is not None and rng.random() < 0.9:
        changed[span] = file_checksum(bytes(changed), span).encode()
    return bytes(changed)


def checkpoints() -> list[bytes]:
    """Returns the checkpoint of a small network."""
    from fmnist_train.checkpoint import save_checkpoint
    from fmnist_train.models import build_model

    options = {"channels": [4], "hidden": [8]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        model = build_model("custom", **options)
        save_checkpoint(path, model, {"model": {"name": "custom", "options": options}, "labels": ["a", "b"]})
        return [path.with_suffix(".safetensors").read_bytes()]


def change_checkpoint(data: bytes, rng: random.Random) -> bytes:
    """Changes the header of a safetensors file: its description, or names, types, shapes and offsets of tensors."""
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    if rng.random() < 0.5:
        info = json.loads(header["__metadata__"]["info"])
        del info["content_sha256"]  # whose check would refuse each change
        header["__metadata__"]["info"] = json.dumps(change_json(info, rng))
    else:
        header = change_json(header, rng)
    text = json.dumps(header).encode()
    length = rng.choice((len(text), len(text), len(text), 0, 1, len(data), 2**63, 2**64 - 1))
    return struct.pack("<Q", length) + text + data[8 + size :]


def idx_files() -> list[bytes]:
    """Returns images and labels, each plain and gzipped."""
    images = struct.pack(">4B3I", 0, 0, 8, 3, 5, 28, 28) + bytes(5 * 784)
    labels = struct.pack(">4BI", 0, 0, 8, 1, 5) + bytes(5)
    return [images, labels, gzip.compress(images, mtime=0), gzip.compress(labels, mtime=0)]


def change_idx(data: bytes, rng: random.Random) -> bytes:
    """Changes magic number, sizes and length of an IDX file, and packs it again where it was gzipped."""
    packed = data.startswith(b"\x1f\x8b")
    plain = gzip.decompress(data) if packed else data
    words = [plain[at : at + 4] for at in range(0, 4 + 4 * plain[3], 4)]
    extra = [struct.pack(">I", size) for size in (0, 1, 28, 0x801, 0x803, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000)]
    body = plain[4 * len(words) :]
    length = rng.choice((0, 1, len(body), len(body) - 1, 20_000_000))
    changed = b"".join(change_parts(words, extra, rng)) + (body + bytes(max(0, length - len(body))))[:length]
    return gzip.compress(changed, 1, mtime=0) + rng.choice((b"", b"", b"\0", data)) if packed else changed


@functools.cache
def csv_files() -> list[bytes]:
    """Returns five images with the columns of the published file, with quotes, with ``1x1`` names, with floats, gzipped."""
    rows = np.random.default_rng(0).integers(0, 256, (5, 785))
    rows[:, 0] %= 10
    names = ["label", *(f"pixel{i}" for i in range(1, 785))]
    squares = ["label", *(f"{row}x{column}" for row in range(1, 29) for column in range(1, 29))]
    texts = []
    for header, form in ((names, "{}"), (names, '"{}"'), (squares, "{}"), (names, "{}.0")):
        lines = [",".join(header), *(",".join(form.format(value) for value in row) for row in rows.tolist())]
        texts.append("\n".join(lines).encode() + b"\n")
    return [*texts, gzip.compress(texts[0], 1, mtime=0)]


def change_csv(data: bytes, rng: random.Random) -> bytes:
    """Changes columns, lines and single values of a CSV file, its separators or its encoding; packs a gzipped one again."""
    packed = data.startswith(b"\x1f\x8b")
    lines = [line.split(b",") for line in (gzip.decompress(data) if packed else data).splitlines()]
    odd = [
        *(text.encode() for text in _ODD_TEXT),
        b"256",
        b"-0",
        b"1e2",
        b'"',
        b'""',
        b"0;1",
        b" 7 ",
        b"\xff",
        b"label",
    ]
    for _ in range(rng.choice((1, 1, 2, 5))):
        line = rng.choice(lines)
        match rng.randrange(4):
            case 0:
                line[:] = change_parts(line, odd, rng)
            case 1:
                lines.insert(rng.randrange(len(lines)), [rng.choice(odd)[:5]] * rng.choice((0, 1, 785, 100_000)))
            case 2 if line:
                line[rng.randrange(len(line))] = rng.choice(odd)
            case _:
                order = rng.sample(range(785), 785)
                lines = [[one[at] for at in order] if len(one) == 785 else one for one in lines]
    separator, end = (
        rng.choice([b",", b",", b",", b";", b"\t", b", "]),
        rng.choice([b"\n", b"\n", b"\r\n", b"\r", b"\n\n"]),
    )
    text = end.join(separator.join(line) for line in lines)
    changed = rng.choice([text, text, text, b"\xef\xbb\xbf" + text, text.decode("latin-1").encode("utf-16")])
    return gzip.compress(changed, 1, mtime=0) + rng.choice((b"", b"", b"\0", data)) if packed else changed


def answers() -> list[bytes]:
    """Returns lines of answers, a response of the service, and its metrics."""
    from fmnist_runtime.drift.counts import EDGES

    top = [{"label": "Bag", "class_id": 8, "probability": 0.7}]
    answer = {"path": "x", "label": "Bag", "class_id": 8, "probability": 0.7, "top": top, "rejected": False}
    failed = {"path": "y", "label": None, "class_id": None, "probability": None, "rejected": False, "error": "damaged"}
    lines = [json.dumps(each) for each in (answer, failed, {**answer, "rejected": True, "label": None}, answer)]
    metrics = [f'fmnist_confidence_bucket{{le="{edge}"}} 0' for edge in EDGES]
    metrics += [
        'fmnist_confidence_bucket{le="+Inf"} 5',
        'fmnist_answers_total{label="Bag"} 4',
        "fmnist_rejected_total 1",
    ]
    return [text.encode() for text in ("\n".join(lines), json.dumps({"answers": [answer, failed]}), "\n".join(metrics))]


def change_answers(data: bytes, rng: random.Random) -> bytes:
    """Changes fields of answers, or lines, labels and values of metrics."""
    lines = data.decode().splitlines()
    if lines[0].startswith("{"):
        changed = [json.dumps(change_json(json.loads(line), rng)) if rng.random() < 0.5 else line for line in lines]
        return rng.choice(["\n", "\r\n", "", " "]).join(changed).encode()
    extra = [f"{line.rpartition(' ')[0]} {rng.choice(_ODD_TEXT)}".encode() for line in lines]
    extra += [
        b"# HELP x",
        b'fmnist_answers_total{label="a\\n\\\\"} 1',
        b"fmnist_rejected_total 1e400",
        b"fmnist_answers_total{",
    ]
    return b"\n".join(change_parts([line.encode() for line in lines], extra, rng))


def forms() -> list[bytes]:
    """Returns a header, a line feed, and a form of three files and a field."""
    parts = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="f"; filename="%d.png"\r\nContent-Type: image/png\r\n\r\n%s\r\n'
        % (number, bytes([number]) * 50)
        for number in range(3)
    )
    field = b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\ntext\r\n'
    return [b"multipart/form-data; boundary=b\n" + parts + field + b"--b--\r\n"]


def change_form(data: bytes, rng: random.Random) -> bytes:
    """Changes parts, header lines and boundaries of a form."""
    header, _, body = data.partition(b"\n")
    header = rng.choice(
        [header] * 6 + [b"multipart/form-data", header + b"; boundary=c", b'x; boundary="b', header + b"b" * 9000]
    )
    names = [b'"a', b"a b", b"\xff", b"UTF-8''%", b"''", b"x" * 70_000, b'"\\"', b"\0", b"=", b";" * 999]
    extra = [
        b"\r\nContent-Disposition: form-data; filename%s=%s\r\n\r\nx\r\n" % (rng.choice([b"", b"*"]), n) for n in names
    ]
    extra += [b"\r\n\r\n", b"\r\nX: y\r\n" * 999 + b"\r\n\r\n", b"--", b"\r\nContent-Disposition\r\n\r\n", b"\n", b"-"]
    parts = change_parts(body.split(b"--b"), extra, rng)
    return header + b"\n" + b"--b".join(parts)
