"""Reports of ``fmnist-export`` as text."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from fmnist_export.verify import Claim
from fmnist_runtime.console import printable
from fmnist_runtime.errors import MALFORMED, ModelError, reason_of

__all__ = ["format_claims", "format_curve", "format_export", "format_inspection", "format_step"]

_NAMES = {"pytorch": "PyTorch", "float32": "ONNX float", "float16": "ONNX float16", "int8": "ONNX int8"}
"""Names of the rows by precision."""
_LABELS = {"licence": "license"}
"""Printed names of metadata keys, where they differ from the key in the file."""
_SHORT = {"selftest", "proof", "parity", "accuracy", "labels", "training", "model", "sha256", "schema"}
"""Metadata fields that have a line of their own, or none."""


def format_export(report: dict[str, Any]) -> str:
    """Returns the report of an export: accuracy and agreement of each model, curve of a fallback search, sizes of the files.

    Args:
        report: Content of ``parity.json``.
    """
    lines = [f"{'':<12} {'accuracy':>8}  {'95% interval':<17} {'agreement':>9}  {'largest logit difference':>24}"]
    for name, figures in report["accuracy"].items():
        low, high = figures["interval"]
        line = f"{_NAMES.get(name, name):<12} {figures['accuracy']:8.2%}  {f'{low:.2%} to {high:.2%}':<17}"
        if name in report["comparisons"]:
            against = report["comparisons"][name]
            line += f" {against['agreement']:9.2%}  {against['max_logit_difference']:24.2g}"
        lines.append(line)
    if "int8" in report["comparisons"]:
        lines.append(_drop(report["comparisons"]["int8"]))
    if found := report["latency"]:
        lines.append(
            f"latency here: int8 {found['int8']:.0f} µs, float {found['float32']:.0f} µs, ratio {found['ratio']:.2f}"
        )
    if curve := report["rescue"]:
        lines += [
            "",
            "int8 did not pass with the given settings; candidates, on validation images:",
            format_curve(curve),
        ]
    images = next(iter(report["accuracy"].values()))["images"]
    return "\n".join([*lines, "", *_sizes(report["sizes"]), "", f"on {images:,} test images; passed"])


def _sizes(files: list[dict[str, Any]]) -> list[str]:
    rows = [
        f"{each['file']:<15} {each['bytes'] / 1000:8,.0f} kB {each['compressed'] / 1000:7,.0f} kB" for each in files
    ]
    return [f"{'':<15} {'size':>8} {'compressed':>13}", *rows]


def format_curve(rows: list[dict[str, Any]]) -> str:
    """Returns a table of the candidates of a fallback search: accuracy, latency, size and result."""
    head = f"{'':<40} {'accuracy':>8} {'agreement':>9} {'latency':>9} {'to float':>8} {'size':>9} {'compressed':>10}"
    return "\n".join([head, *map(format_step, rows)])


def format_step(row: dict[str, Any]) -> str:
    """Returns the line of one candidate; see ``FallbackSearch.curve``."""
    latency, kilobytes = row["latency"], (row["bytes"] / 1000, row["compressed"] / 1000)
    on_test_images = "fails the gate" if row["gate"] else "passes"
    result = "fails on validation images" if row["gate"] is None else on_test_images
    return (
        f"{row['step']:<40} {row['accuracy']:8.2%} {row['agreement']:9.2%} {latency['int8']:6.0f} µs {latency['ratio']:8.2f} "
        f"{kilobytes[0]:6.0f} kB {kilobytes[1]:7.0f} kB  {result}"
    )


def _drop(found: dict[str, Any]) -> str:
    low, high = found["drop_interval"]
    return (
        f"int8 loses {found['drop']:.2f} points (95% interval {low:.2f} to {high:.2f}, McNemar p {found['mcnemar_p']:.2g}), "
        f"its worst class {found['worst_class_drop']:.1f}"
    )


def format_claims(claims: list[Claim]) -> str:
    """Returns one line for each claim."""
    width = max(len(claim.name) for claim in claims)
    lines = []
    for claim in claims:
        found = "" if claim.holds else f", found {_brief(claim.found)}"
        lines.append(f"{'holds' if claim.holds else 'WRONG'}  {claim.name:<{width}}  {_brief(claim.stated)}{found}")
    return _printable_lines(lines)


def _brief(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(_brief, value))
    return str(value)


def format_inspection(found: dict[str, Any]) -> str:
    """Returns metadata, layers and executed nodes; see ``inspect_model``.

    Raises:
        ModelError: The metadata lack a value, or have one of another kind.
    """
    try:
        lines = [*_describe(found), "", *_layer_table(found["layers"]), "", *_execution(found["executed"])]
    except MALFORMED as error:
        raise ModelError(
            f"{found['file']}: the metadata are malformed ({reason_of(error)}); export it again"
        ) from error
    return _printable_lines(lines)


def _describe(found: dict[str, Any]) -> list[str]:
    document = found["metadata"]
    model, training = document.get("model", {}), document.get("training", {})
    precision = document.get("precision")
    zeros = ", with the zeros that it adds to the first layer" if precision == "int8" else ""
    return [
        f"{found['file']}: {found['bytes']:,} bytes, schema {document['schema']}, "
        + (f"opset {found['opset']}" if found["opset"] else "ORT format: its layers are those that are executed"),
        f"model: {model.get('name')}, {model.get('parameters', 0):,} parameters, {found['macs']:,} MACs an image "
        f"(of this {precision} file{zeros})",
        f"labels: {', '.join(document['labels'])}",
        f"training: recipe {training.get('recipe', {}).get('name')}, seed {training.get('seed')}, "
        f"epoch {training.get('epoch')}, data {training.get('dataset')}",
        *(f"{_LABELS.get(key, key)}: {_flat(value)}" for key, value in sorted(document.items()) if key not in _SHORT),
        *_figures(document),
    ]


def _layer_table(layers: list[dict[str, Any]]) -> list[str]:
    return [f"{'layer':<20}{'operator':<10}{'weights':<18}{'output':<14}{'MACs':>12}"] + [
        f"{layer['name']:<20}{layer['operator']:<10}{_dims(layer['weight']):<18}{_dims(layer['output']):<14}"
        f"{layer['macs']:>12,}"
        for layer in layers
    ]


def _printable_lines(lines: Iterable[str]) -> str:
    """Joins lines, with control characters escaped: labels of a foreign file may contain some."""
    return "\n".join(map(printable, lines))


def _figures(document: dict[str, Any]) -> list[str]:
    lines = []
    for name, value in document.get("accuracy", {}).items():
        low, high = value["interval"]
        lines.append(
            f"accuracy {name}: {value['accuracy']:.2%} (95% interval {low:.2%} to {high:.2%}, {value['images']:,} images)"
        )
    for name, value in document.get("parity", {}).items():
        lines.append(f"parity {name}: agreement {value['agreement']:.2%}, drop {value['drop']:.2f} points")
    return lines


def _execution(executed: list[dict[str, Any]]) -> list[str]:
    lines = ["executed by onnxruntime on this processor, in order:"]
    for node in executed:
        kind = "integer" if node["integer"] else "float"
        lines.append(f"  {kind:<9}{node['operator']:<20}{_dims(node['weight'])}".rstrip())
    counts = Counter("integer" if node["integer"] else "float" for node in executed)
    return [*lines, f"{counts['integer']} of {len(executed)} nodes run as integers"]


def _dims(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _flat(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
