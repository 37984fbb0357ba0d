"""Output of ``fmnist-infer``: a table for people, JSON lines for programs."""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

from fmnist_runtime.cli.console import printable
from fmnist_runtime.prediction import Answer, Prediction

if TYPE_CHECKING:
    from fmnist_runtime.cli.progress import Progress
    from fmnist_runtime.selftest import SelfTest

__all__ = ["print_predictions", "print_selftest"]

_LABEL_WIDTH = 14
"""Characters: those of the longest label and some more."""


def print_predictions(answers: Iterable[Answer], *, as_json: bool, progress: "Progress | None" = None) -> int:
    """Prints each answer as it comes, errors also on stderr; returns the exit code: 1 where a picture was unreadable."""
    failed = False
    for answer in answers:
        if progress:
            progress.step()
        if answer.error is not None:
            failed = True
            print(f"error: {printable(f'{answer.path}: {answer.error}')}", file=sys.stderr)
        if as_json:
            print(json.dumps(answer.to_dict()), flush=True)
        elif answer.prediction is not None:
            print(_row(answer.path, answer.prediction), flush=sys.stdout.isatty())
    if progress:
        progress.close()
    return int(failed)


def _row(path: str, prediction: Prediction) -> str:
    others = ", ".join(
        f"{top.label} {top.probability:.1%}" for top in prediction.top[0 if prediction.rejected else 1 :]
    )
    label = prediction.label or "I don't know"
    share = "     -" if prediction.rejected else f"{prediction.probability:6.1%}"
    row = f"{label:<{_LABEL_WIDTH}} {share}  {path}"
    return printable(f"{row}  ({'perhaps ' if prediction.rejected else 'then '}{others})" if others else row)


def print_selftest(result: "SelfTest", *, as_json: bool) -> int:
    """Prints the result of a self-test, and returns the exit code: 1 where it failed."""
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
