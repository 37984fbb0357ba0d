"""Writes every table of figures in README and guides again, from the results on disk.

    python benchmarks/studies/tables.py [SECTION ...]

The studies measure and write ``benchmarks/results/*.json``. This script renders those files, and the evidence in
``artifacts/``, as Markdown between the two marks of each section. It measures nothing.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cli_text
import numpy as np
import table_text as text

from fmnist_bench.report import format_table as bench_table
from fmnist_runtime.files import write_atomically
from fmnist_train.comparison.table import write_readme
from fmnist_train.files import read_object, replace_section

__all__ = ["RESULTS", "ROOT", "SECTIONS", "write_tables"]

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
NAMES = ("nano", "micro", "improved-lite", "improved", "best")
"""Shipped models, from the smallest."""
PUBLISHED = {
    "nano": "89.56% at 6,930 parameters; 91.0% at 60,000 (LeNet-5)",
    "micro": "92.5% below 100,000; 93.9% at 174,000 (DenseNet-BC)",
    "improved-lite": "–",
    "improved": "94.3% (a plain network of four convolutions)",
    "best": "95.55 ± 0.04% at 272,000 (ResNet-20 with random erasing, 300 epochs, epoch picked on the test set)",
}
"""Published figures of others at about that size; they were not measured here."""


@dataclass(frozen=True)
class Section:
    """A table between two marks of a page."""

    page: str
    """Path of the Markdown file, from the root."""
    writer: str
    """Command that measures the figures; part of the marks."""
    render: Callable[[], str]
    """Returns the text from the files on disk."""


def result(name: str) -> dict[str, Any]:
    """Returns ``benchmarks/results/NAME.json``."""
    document: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    return document


def model_rows() -> list[dict[str, Any]]:
    """Returns a row for each shipped model: accuracy and size from ``artifacts/``, the rest from the results."""
    latency, photos = result("models")["latency_us"], read_object(RESULTS / "photos_by_model.json")
    return [_model_row(name) | {"latency_us": latency.get(name), "photos": photos.get(name)} for name in NAMES]


def _model_row(name: str) -> dict[str, Any]:
    folder = ROOT / "artifacts" / name
    metrics, parity = (json.loads((folder / file).read_text("utf-8")) for file in ("metrics.json", "parity.json"))
    tests = [seed["test"] for seed in metrics["seeds"]]
    return {
        "name": name,
        **{key: parity["model"][key] for key in ("parameters", "macs")},
        **{form: parity["accuracy"][form]["accuracy"] for form in ("float32", "int8")},
        "seeds": len(tests),
        "mean": float(np.mean(tests)),
        "std": float(np.std(tests, ddof=1)) if len(tests) > 1 else None,
        "int8_bytes": parity["files"]["int8"]["bytes"],
        "published": PUBLISHED[name],
    }


def _speed() -> str:
    return f"{text.speed(result('speed'))}\n\n{bench_table(result('bench'))}\n\n![Accuracy against latency](bench.png)"


STUDIES = "benchmarks/studies"
SECTIONS = {
    "which model": Section("README.md", f"{STUDIES}/tables.py", lambda: text.best_guesses(model_rows())),
    "models": Section("docs/models.md", f"{STUDIES}/models_table.py", lambda: text.models(model_rows())),
    "photos": Section(
        "docs/accuracy.md", f"{STUDIES}/photos.py FOLDER --readme", lambda: text.photos(result("photos"))
    ),
    "photos by class": Section(
        "docs/accuracy.md", f"{STUDIES}/photos.py FOLDER --readme", lambda: text.photos_by_class(result("photos"))
    ),
    "confidence": Section(
        "docs/accuracy.md", f"{STUDIES}/confidence.py --readme", lambda: text.confidence(result("confidence"))
    ),
    "speed": Section("docs/benchmark.md", f"{STUDIES}/speed.py", _speed),
    "portability": Section(
        "docs/verification.md", f"{STUDIES}/portability.py", lambda: text.portability(result("portability"))
    ),
    "rounding": Section("docs/quantization.md", f"{STUDIES}/rounding.py", lambda: text.rounding(result("rounding"))),
    "variants": Section("docs/quantization.md", f"{STUDIES}/variants.py", lambda: text.variants(result("variants"))),
    "download": Section("docs/page.md", f"{STUDIES}/page.py FOLDER --write", lambda: text.download(result("page"))),
    "page speed": Section("docs/page.md", f"{STUDIES}/page.py FOLDER --write", lambda: text.page_speed(result("page"))),
    "page agreement": Section(
        "docs/page.md", f"{STUDIES}/page.py FOLDER --write", lambda: text.page_agreement(result("page"))
    ),
    "microcontrollers": Section(
        "docs/microcontrollers.md",
        f"{STUDIES}/microcontrollers.py",
        lambda: text.microcontrollers(result("microcontrollers")),
    ),
    "plain C": Section(
        "docs/microcontrollers.md", f"{STUDIES}/microcontrollers.py", lambda: text.plain_c(result("microcontrollers"))
    ),
    "gray frames": Section(
        "docs/microcontrollers.md",
        f"{STUDIES}/microcontrollers.py",
        lambda: text.gray_frames(result("microcontrollers")),
    ),
    "answer schema": Section("docs/cli.md", f"{STUDIES}/tables.py", cli_text.answer_schema),
    "commands": Section("docs/cli.md", f"{STUDIES}/tables.py", cli_text.command_reference),
    "serve load": Section("docs/serve.md", f"{STUDIES}/serve_load.py", lambda: text.serve_load(result("serve_load"))),
}
"""Every section by its name in the marks."""


_README_BLOCKS = ("sh", "python")
"""Languages of the README's two code blocks whose output it shows."""


def write_tables(*names: str) -> None:
    """Writes the named sections; all of them, and the comparison of recipes, without a name."""
    for name in names or SECTIONS:
        section = SECTIONS[name]
        replace_section(ROOT / section.page, name, section.writer, section.render())
    if not names:
        rows = json.loads((ROOT / "artifacts" / "comparison" / "comparison.json").read_text("utf-8"))
        write_readme(rows, ROOT / "docs" / "models.md")


def write_readme_output() -> None:
    """Writes the output of the README's first command and of its Python program."""
    page = ROOT / "README.md"
    readme = page.read_text("utf-8")
    command, python = (
        re.findall(rf"^```{kind}\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)[0] for kind in _README_BLOCKS
    )
    photo = shlex.split(command.splitlines()[-1])[1:]
    programs = ["from fmnist_runtime.cli.infer import main; main()", *photo], [python]
    outputs = iter(
        subprocess.run([sys.executable, "-c", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for words in programs
    )
    readme = re.sub(r"(?<=^```text\n).*?(?=^```$)", lambda _: next(outputs), readme, flags=re.DOTALL | re.MULTILINE)
    write_atomically(page, readme)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)}; all without one")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"unknown section {unknown.pop()!r}; there are {', '.join(SECTIONS)}")
    write_tables(*options.sections)
    if not options.sections:
        write_readme_output()


if __name__ == "__main__":
    main()
