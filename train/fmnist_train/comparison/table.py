"""A comparison as a Markdown table and as a plot."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from fmnist_runtime.files import write_atomically
from fmnist_train.evaluation.figures import GRAY, MARKERS, save_figure, shorten, style_panel
from fmnist_train.files import replace_section

__all__ = ["SECTION", "write_plot", "write_readme", "write_table"]

Row = Mapping[str, Any]
"""Row of ``compare_recipes``."""
SECTION = ("comparison", "fmnist-train compare --readme")
"""Name and writer of the table's section in a README (see ``files.replace_section``)."""


def write_table(rows: Sequence[Row], path: Path) -> None:
    """Writes the rows of ``compare_recipes`` as a Markdown table, with a dash for each missing figure."""
    write_atomically(path, _table(rows))


def write_readme(rows: Sequence[Row], path: Path) -> None:
    """Writes the table into its section of a Markdown file; errors are those of ``replace_section``."""
    replace_section(path, *SECTION, _table(rows).rstrip("\n"))


def _table(rows: Sequence[Row]) -> str:
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|---|" + "---:|" * (len(_COLUMNS) - 2) + "---|"]
    lines += ["| " + " | ".join(cell(row) or "–" for cell in _COLUMNS.values()) + " |" for row in rows]
    return "\n".join([*lines, *_when(rows)]) + "\n"


def _when(rows: Sequence[Row]) -> list[str]:
    """Returns lines with the day and processor of each latency: only those of the same day and processor are comparable."""
    measured: dict[str, list[str]] = {}
    for row in rows:
        if row["latency_us"] is not None:
            measured.setdefault(row["latency_measured"], []).append(row["name"])
    parts = [f"{', '.join(names)}: {when}" for when, names in measured.items()]
    return ["", f"Latency of the int8 file, one image, one thread. {'; '.join(parts)}."] if parts else []


def write_plot(rows: Sequence[Row], path: Path) -> None:
    """Draws accuracy over the number of multiplications, one point per row, with a legend from the best to the worst."""
    figure = Figure(figsize=(10, 5.5), layout="constrained")
    axes = figure.subplots()
    style_panel(axes, "Test accuracy and multiplications")
    for place, row in enumerate(sorted(rows, key=lambda row: -row["accuracy"])):
        low, high = row["interval"] or (row["accuracy"] - row["accuracy_std"], row["accuracy"] + row["accuracy_std"])
        axes.errorbar(
            row["macs"] / 1e6,
            row["accuracy"],
            yerr=[[max(0.0, row["accuracy"] - low)], [max(0.0, high - row["accuracy"])]],  # see wilson_interval
            fmt=MARKERS[place % len(MARKERS)],
            color=GRAY if row["name"].startswith("mean of") else f"C{place % 10}",
            capsize=3,
            label=f"{shorten(row['name'], 32)}, {row['accuracy']:.1%}",
        )
    axes.set(xscale="log", xlabel="million multiplications an image", ylabel="test accuracy")
    axes.margins(x=0.1, y=0.1)
    axes.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    save_figure(figure, path)


def _accuracy(row: Row) -> str:
    if row["accuracy_std"] is not None:
        return f"{row['accuracy']:.2%} ± {100 * row['accuracy_std']:.2f} ({len(row['runs'])} seeds)"
    low, high = row["interval"]
    return f"{row['accuracy']:.2%} ({100 * low:.2f} to {100 * high:.2f})"


def _figure(key: str, form: str, divisor: float = 1) -> Callable[[Row], str]:
    return lambda row: "" if row[key] is None else format(row[key] / divisor, form)


_COLUMNS: dict[str, Callable[[Row], str]] = {
    "recipe": lambda row: str(row["name"]),
    "test accuracy": _accuracy,
    "parameters": _figure("parameters", ",.0f"),
    "MACs, million": _figure("macs", ".1f", 1e6),
    "float, kB": _figure("float_bytes", ",.0f", 1000),
    "int8, kB": _figure("int8_bytes", ",.0f", 1000),
    "int8 accuracy": _figure("int8_accuracy", ".2%"),
    "latency p50, µs": _figure("latency_us", ",.0f"),
    "training, min": _figure("training_seconds", ".1f", 60),
    "claimed by its author": lambda row: row["claim"] or "",
}
