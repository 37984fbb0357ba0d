"""The gate: limits that every exported variant must keep."""

from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_export.settings import Limits

__all__ = ["gate_failures"]


def gate_failures(
    comparisons: Mapping[str, Mapping[str, Any]],
    limits: Limits,
    latency: Mapping[str, Any] | None = None,
    labels: Sequence[str] | None = None,
) -> list[str]:
    """Returns one line for each limit that the variants exceed. NaN exceeds every limit.

    Args:
        comparisons: Results of ``compare_logits`` by precision. ``float32`` must be equal to PyTorch up to rounding, and
            ``float16`` nearly equal; other precisions may lose a little accuracy.
        limits: Limits to check.
        latency: Result of ``measure_latency``; None: not checked.
        labels: Class names for the messages.
    """
    failures = _float_failures(comparisons["float32"], limits)
    if "float16" in comparisons:
        failures += _half_failures(comparisons["float16"], limits)
    for precision in comparisons.keys() - {"float32", "float16"}:
        failures += [f"{precision} {text}" for text in _loss_failures(comparisons[precision], limits, labels)]
    if latency and limits.max_latency_ratio and not latency["ratio"] < limits.max_latency_ratio:
        failures.append(
            f"int8 takes {latency['int8']:.0f} µs and float {latency['float32']:.0f} µs on this machine, a ratio of "
            f"{latency['ratio']:.2f}, required under {limits.max_latency_ratio:g}; small networks pass with "
            "--max-latency-ratio 0 (not measured) or a larger limit; fmnist-export inspect lists what runs as integers"
        )
    return failures


def _float_failures(found: Mapping[str, Any], limits: Limits) -> list[str]:
    failures = []
    if found["agreement"] != 1.0:
        failures.append(f"float ONNX gives other classes than PyTorch for {1 - found['agreement']:.2%} of the images")
    if not found["max_relative_difference"] <= limits.max_logit_difference:
        failures.append(
            f"float ONNX logits differ from PyTorch's by {found['max_relative_difference']:.2g}, "
            f"allowed {limits.max_logit_difference:g}"
        )
    return failures


def _half_failures(found: Mapping[str, Any], limits: Limits) -> list[str]:
    failures = []
    if not found["agreement"] >= limits.min_half_agreement:
        failures.append(
            f"float16 gives PyTorch's class for {found['agreement']:.2%} of the images, required {limits.min_half_agreement:.2%}"
        )
    if not found["max_relative_difference"] <= limits.max_half_difference:
        failures.append(
            f"float16 logits differ from PyTorch's by {found['max_relative_difference']:.2g}, "
            f"allowed {limits.max_half_difference:g}"
        )
    return failures


def _loss_failures(found: Mapping[str, Any], limits: Limits, labels: Sequence[str] | None) -> list[str]:
    failures = []
    if not found["drop"] <= limits.max_drop:
        low, high = found["drop_interval"]
        failures.append(
            f"loses {found['drop']:.2f} points of accuracy (95% interval {low:.2f} to {high:.2f}), "
            f"allowed {limits.max_drop:g} (--max-drop)"
        )
    # On a small test set, one image of a class is a whole percentage point, so the drop must also be significant.
    if not found["worst_class_drop"] <= limits.max_class_drop and found["worst_class_interval"][0] > 0:
        name = labels[found["worst_class"]] if labels else f"class {found['worst_class']}"
        failures.append(
            f"loses {found['worst_class_drop']:.1f} points on {name}, allowed {limits.max_class_drop:g} (--max-class-drop)"
        )
    if not found["agreement"] >= limits.min_agreement:
        failures.append(
            f"gives PyTorch's class for {found['agreement']:.2%} of the images, "
            f"required {limits.min_agreement:.2%} (--min-agreement)"
        )
    return failures
