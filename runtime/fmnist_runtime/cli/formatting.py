"""Output of ``fmnist-infer``: a text table, JSON lines, or comma-separated values."""

import io
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fmnist_runtime.console import counted, printable
from fmnist_runtime.prediction import Answer, Prediction
from fmnist_runtime.streams import use_color

if TYPE_CHECKING:
    from fmnist_runtime.cli.progress import Progress
    from fmnist_runtime.selftest import SelfTest

__all__ = ["CSV_COLUMNS", "Totals", "print_answers", "print_selftest", "print_summary"]

CSV_COLUMNS = ("path", "label", "class_id", "probability", "rejected", "reason", "error")
"""Columns of ``--csv``. A cell is empty if the answer has no such value."""
_CSV_END = "\r\n"
"""End of a line in RFC 4180: a cell that contains one of these characters is quoted."""
_LABEL_WIDTH = 14
"""Width of the label column in characters: the longest label of Fashion-MNIST and some space."""
_GREEN, _YELLOW, _PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[0m"
"""Terminal colors of accepted and rejected labels (ECMA-48, section 8.3.117)."""


@dataclass
class Totals:
    """Numbers of printed answers by kind, and the time spent on them."""

    images: int = 0
    """Images in total."""
    rejected: int = 0
    """Rejected images."""
    unreadable: int = 0
    """Images that could not be read."""
    seconds: float = 0.0
    """Seconds from the request for the first answer to the printing of the last one."""


def print_answers(
    answers: Iterable[Answer], *, form: str = "table", quiet: bool = False, progress: "Progress | None" = None
) -> Totals:
    """Prints each answer on standard output as soon as it is available; errors also go to standard error.

    Args:
        answers: Answers to print.
        form: Output format: ``table``, ``json`` or ``csv``.
        quiet: Whether to print no errors on stderr.
        progress: Progress bar, which is advanced by one step for each answer.

    Returns:
        Totals of all answers.
    """
    print_one = {"table": _table_printer, "json": _json_printer, "csv": _csv_printer}[form]()
    totals, begin = Totals(), time.monotonic()
    for answer in answers:
        if progress:
            progress.step()
        totals.images += 1
        totals.unreadable += answer.error is not None
        totals.rejected += answer.prediction is not None and answer.prediction.rejected
        if answer.error is not None and not quiet:
            name = answer.path or "''"  # an empty path, as of a variable of the shell that is not set
            print(f"error: {printable(f'{name}: {answer.error}')}", file=sys.stderr)
        print_one(answer)
    totals.seconds = time.monotonic() - begin
    if progress:
        progress.close()
    return totals


def print_summary(totals: Totals, model: str | None) -> None:
    """Prints the model and the totals on stderr."""
    from fmnist_runtime.model_file.store import find_model

    rate = totals.images / max(totals.seconds, 1e-9)
    accepted = totals.images - totals.rejected - totals.unreadable
    print(f"model {printable(str(find_model(model)))}", file=sys.stderr)
    print(
        f"{counted(totals.images, 'image')} in {totals.seconds:.2f} s, {rate:,.0f} a second: {accepted:,} accepted, "
        f"{totals.rejected:,} rejected, {totals.unreadable:,} unreadable",
        file=sys.stderr,
    )


def _json_printer() -> Callable[[Answer], None]:
    return lambda answer: print(json.dumps(answer.to_dict()), flush=True)


def _csv_printer() -> Callable[[Answer], None]:
    import csv

    terminal = sys.stdout.isatty()
    print(",".join(CSV_COLUMNS))

    def print_row(answer: Answer) -> None:
        values: dict[str, Any] = answer.to_dict()
        values["rejected"] = str(values["rejected"]).lower()
        if terminal:  # names in a file or pipe stay as they are
            values = {key: printable(value) if isinstance(value, str) else value for key, value in values.items()}
        row = io.StringIO()
        csv.DictWriter(row, CSV_COLUMNS, extrasaction="ignore", lineterminator=_CSV_END).writerow(values)
        print(row.getvalue().removesuffix(_CSV_END), flush=True)

    return print_row


def _table_printer() -> Callable[[Answer], None]:
    terminal, color = sys.stdout.isatty(), use_color(sys.stdout)

    def print_row(answer: Answer) -> None:
        if answer.prediction is not None:
            print(_row(answer.path, answer.prediction, color=color), flush=terminal)

    return print_row


def _row(path: str, prediction: Prediction, *, color: bool) -> str:
    others = ", ".join(
        f"{top.label} {top.probability:.1%}" for top in prediction.top[0 if prediction.rejected else 1 :]
    )
    label = (prediction.label or "I don't know").ljust(_LABEL_WIDTH)
    share = "     -" if prediction.rejected else f"{prediction.probability:6.1%}"
    row = f" {share}  {path}"
    row = f"{row}  ({'perhaps ' if prediction.rejected else 'then '}{others})" if others else row
    if color:
        return f"{_YELLOW if prediction.rejected else _GREEN}{printable(label)}{_PLAIN}{printable(row)}"
    return printable(label + row)


def print_selftest(result: "SelfTest", *, as_json: bool) -> int:
    """Prints the result of a self-test, and returns the exit code: 0 where it passed, 1 where it failed."""
    if as_json:
        print(json.dumps(asdict(result)))
        return int(not result.passed)
    agreement = (
        "to the bit" if result.bit_identical else f"to {result.max_difference:.2g} (allowed {result.tolerance:g})"
    )
    print(
        f"self-test {'passed' if result.passed else 'FAILED'}: {result.images} images, logits agree {agreement}, "
        f"{result.same_labels} of {result.images} answers the same; {result.machine}, onnxruntime {result.onnxruntime}"
    )
    if not result.passed:
        print(
            "error: this device computes other logits than the exported model; its answers are wrong", file=sys.stderr
        )
    return int(not result.passed)
