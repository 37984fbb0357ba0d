"""The command ``fmnist-drift``: read two sets of answers, test, print."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_runtime.cli.console import run_app
from fmnist_runtime.cli.options import Options

if TYPE_CHECKING:
    from fmnist_runtime.drift.counts import Tally
    from fmnist_runtime.drift.permutation import Finding

__all__ = ["CHANGED", "drift", "main", "options"]

CHANGED = 3
"""Exit code where something changed: a failed gate, for use in a timer."""


def options() -> Options:
    """The options of ``fmnist-drift``."""
    parser = Options(
        prog="fmnist-drift",
        description="Have answers changed, or is it chance? Exit code 3 where they have.",
        epilog="A FILE holds lines of fmnist-infer --json, responses of fmnist-serve, or a reading of its /metrics.",
    )
    add = parser.add_argument
    add("reference", metavar="REFERENCE_FILE", type=Path, help="answers to compare with")
    add("today", metavar="FILE", type=Path, help="answers of today; - for standard input")
    add("--since", type=Path, metavar="FILE", help="an earlier reading of today's /metrics, to subtract")
    add("--picture", type=Path, metavar="PNG", help="draw the comparison")
    add(
        "--alpha",
        type=_between(0.0003, 0.5),
        default=0.01,
        metavar="P",
        help="how often, at most, an unchanged world may be called changed (default: 0.01)",
    )
    add(
        "--least",
        type=_between(0, 1),
        default=0.0,
        metavar="SIZE",
        help="smaller differences are no change, however sure (default: 0)",
    )
    add("--json", action="store_true", help="one JSON object")
    return parser


def drift(args: Sequence[str] | None = None) -> int:
    """Do what the arguments (by default the process's) say; return the exit code."""
    chosen = options().parse_args(args)
    from fmnist_runtime.drift.counts import read_tally
    from fmnist_runtime.drift.permutation import compare

    before, now = read_tally(chosen.reference), read_tally(chosen.today)
    if chosen.since is not None:
        now = now.since(read_tally(chosen.since))
    findings = compare(before, now, alpha=chosen.alpha, least=chosen.least)
    if chosen.picture is not None:
        from fmnist_runtime.drift.chart import write_picture

        write_picture(chosen.picture, before, now, findings)
    if chosen.json:
        counts = {"reference": before.total, "today": now.total}
        print(json.dumps({**counts, "findings": [dataclasses.asdict(finding) for finding in findings]}))
    else:
        print(_table(before, now, findings))
    return CHANGED if any(finding.changed for finding in findings) else 0


def _between(low: float, high: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"'{text}' is no number from {low} to {high}")
        return value

    return number


def _table(before: "Tally", now: "Tally", findings: "list[Finding]") -> str:
    lines = [f"{'':<14}{'reference':>12}{'today':>12}", f"{'pictures':<14}{before.total:12,}{now.total:12,}"]
    for name in sorted({*before.labels, *now.labels}):
        shares = [tally.labels.get(name, 0) / tally.total for tally in (before, now)]
        lines.append(f"{name:<14}{shares[0]:12.1%}{shares[1]:12.1%}")
    shares = [tally.rejected / tally.total for tally in (before, now)]
    lines += [f"{'I do not know':<14}{shares[0]:12.1%}{shares[1]:12.1%}", ""]
    lines.append(f"{'test':<14}{'size':>12}{'p':>12}")
    for finding in findings:
        verdict = "CHANGED" if finding.changed else "as before"
        lines.append(f"{finding.what:<14}{finding.size:12.2%}{finding.p:12.4f}  {verdict}")
    return "\n".join(lines)


def main() -> None:
    """Entry point."""
    sys.exit(run_app(drift))
