"""Table and chart of the benchmark."""

import io
import os
from pathlib import Path
from typing import Any

from fmnist_runtime.console import counted
from fmnist_runtime.errors import ConfigError, MissingExtraError, extra_hint
from fmnist_runtime.files import check_folder, write_atomically

__all__ = ["check_chart", "format_table", "score_answers", "write_chart"]

_TICKS = [digit * 10**power for power in range(7) for digit in (1, 2, 3, 5, 7)]
"""Candidates for ticks of the latency axis, µs."""
_LEAST_AGREEMENT = 0.98
"""Smallest agreement with the reference on the test set, 0..1: int8 models reach 0.998, random answers 0.1."""
_LEAST_AGREEMENT_SELFTEST = 0.85
"""Smallest agreement on the self-test's eight images. One may differ: where two classes are nearly equal, rounding decides."""


def score_answers(results: dict[str, dict[str, Any]], reference: str, labels: list[int] | None) -> None:
    """Replaces the ``answers`` of each contestant, in place, by figures.

    ``agreement`` is the share of images with the same class as the reference, and ``wrong`` whether that share is too low;
    both are absent if the reference did not run. ``accuracy`` is the share of correct classes, absent without labels.

    Args:
        results: Figures by contestant.
        reference: Name of the contestant whose answers count as correct.
        labels: Labels of the test set; None for the images of the self-test.
    """
    by_name = {name: result.pop("answers") for name, result in results.items() if "answers" in result}
    expected = by_name.get(reference)
    limit = _LEAST_AGREEMENT if labels else _LEAST_AGREEMENT_SELFTEST
    for name, answers in by_name.items():
        if expected is not None:
            agreement = _share_equal(answers, expected)
            results[name] |= {"agreement": agreement, "wrong": agreement < limit}
        if labels:
            results[name]["accuracy"] = _share_equal(answers, labels)


def _share_equal(a: list[int], b: list[int]) -> float:
    return sum(x == y for x, y in zip(a, b, strict=True)) / len(b)


def format_table(document: dict[str, Any]) -> str:
    """Returns the document as a Markdown table, one row for each contestant."""
    m = document["machine"]
    flags = f" ({', '.join(m['flags'])})" if m["flags"] else ""
    lines = [
        f"{m['processor']}{flags}, {counted(m['cpus_allowed'], 'CPU')}, governor {m['governor'] or 'unknown'}; "
        f"one thread, one image; 95% intervals in brackets",
        "",
        "| | p50 µs | p90 | p99 | p99.9 | mean | ratio | paced p50 | CPU µs a call, hot / paced | cold start ms | RSS MB "
        "| installed MB | images/s, best | accuracy | same as PyTorch |",
        "|---" * 15 + "|",
    ]
    for name, r in document["results"].items():
        lines.append(f"| {name} | missing: {r['missing']} |" if "missing" in r else _row(name, r))
    return "\n".join(lines)


def _row(name: str, r: dict[str, Any]) -> str:
    hot, rates = r["hot"], [rate for by in r["throughput"].values() for rate in by.values()]
    cells = [
        name + (" **wrong answers**" if r.get("wrong") else ""),
        f"{hot['p50']:.0f} [{hot['p50 interval'][0]:.0f}, {hot['p50 interval'][1]:.0f}]",
        *(f"{hot[key]:.0f}" for key in ("p90", "p99", "p99.9", "mean")),
        f"{r['ratio']['ratio']:.2f} [{r['ratio']['interval'][0]:.2f}, {r['ratio']['interval'][1]:.2f}]",
        f"{r['paced']['p50']:.0f}",
        f"{r['hot_cpu_us']:.0f} / {r['paced_cpu_us']:.0f}",
        f"{r['cold_start']['p50'] / 1e3:.0f}",
        f"{r['peak_rss'] / 1e6:.0f}",
        f"{(sum(r['installed'].values()) + r['model_bytes']) / 1e6:.0f}",
        f"{max(rates):,.0f}" if rates else "-",
        f"{r['accuracy']:.2%}" if "accuracy" in r else "-",
        f"{r['agreement']:.2%}" if "agreement" in r else "not checked",
    ]
    return "| " + " | ".join(cells) + " |"


def write_chart(document: dict[str, Any], path: Path) -> None:
    """Draws accuracy against the hot p50 with its interval, for contestants with a measured accuracy.

    Raises:
        ConfigError, FileError, MissingExtraError: See ``check_chart``.
        OSError: The file cannot be written; an earlier one is unchanged.
    """
    check_chart(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set(xscale="log", xlabel="one image, one thread: p50 in µs (log)", ylabel="test accuracy, %")
    shown = {name: r for name, r in document["results"].items() if "accuracy" in r}
    if shown:
        _draw(axes, shown)
    axes.grid(alpha=0.3, which="both")
    file = io.BytesIO()
    target = _with_suffix(path)
    figure.savefig(file, format=target.suffix[1:], dpi=120)
    write_atomically(target, file.getvalue())


def check_chart(path: Path) -> None:
    """Checks that a chart can be drawn into a file; called before minutes of measurements.

    Raises:
        ConfigError: The path is a folder, or no known format has the suffix.
        FileError: The folder cannot be written into.
        MissingExtraError: Matplotlib is not installed.
    """
    os.environ["MPLBACKEND"] = "agg"  # as in fmnist_train.console
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(f"--picture needs matplotlib: {extra_hint('bench')}") from error
    known = Figure().canvas.get_supported_filetypes()
    target = _with_suffix(path)
    if target.suffix[1:].lower() not in known:
        raise ConfigError(f"--picture {path}: unknown format '{path.suffix[1:]}'; known: {', '.join(sorted(known))}")
    for place in (path, target):
        if place.is_dir():
            raise ConfigError(f"--picture: {place} is a folder; name a file")
    check_folder(path.parent)


def _with_suffix(path: Path) -> Path:
    return path if path.suffix else path.with_suffix(".png")


def _draw(axes: Any, shown: dict[str, dict[str, Any]]) -> None:
    from fmnist_train.evaluation.figures import MARKERS

    for place, name in enumerate(sorted(shown, key=lambda name: shown[name]["hot"]["p50"])):
        p50, (low, high) = shown[name]["hot"]["p50"], shown[name]["hot"]["p50 interval"]
        axes.errorbar(
            p50,
            shown[name]["accuracy"] * 100,
            xerr=[[p50 - low], [high - p50]],
            fmt=MARKERS[place % len(MARKERS)],
            color=f"C{place % 10}",
            markerfacecolor="none",  # markers overlap: many contestants have the same accuracy
            markersize=9,
            capsize=3,
            label=f"{name}, {p50:.0f} µs",
        )
    left, right = axes.get_xlim()
    axes.set_xticks([tick for tick in _TICKS if left < tick < right], minor=False)
    axes.xaxis.set(major_formatter="{x:g}", minor_formatter="")
    middle = 100 * sum(r["accuracy"] for r in shown.values()) / len(shown)
    low, high = axes.get_ylim()
    # A range of at least two percentage points, because smaller differences are not significant.
    axes.set_ylim(min(low, middle - 1), min(100, max(high, middle + 1)))
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
