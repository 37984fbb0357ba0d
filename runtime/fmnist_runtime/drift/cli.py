"""The command ``fmnist-drift``: reads two sets of answers, tests them for a change, and prints the result."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_runtime.console import printable, run_argparse, use_one_blas_thread
from fmnist_runtime.options import CommandParser, number_between

if TYPE_CHECKING:
    from fmnist_runtime.drift.counts import AnswerCounts
    from fmnist_runtime.drift.permutation import Finding

__all__ = ["CHANGED", "build_parser", "drift", "main"]

CHANGED = 3
"""Exit code where the answers have changed; the same as that of a failed gate."""


def build_parser() -> CommandParser:
    """Returns the parser of ``fmnist-drift``."""
    parser = CommandParser(
        "fmnist-drift",
        "Test whether answers have changed, or differ by chance. The exit code is 3 if they have changed.",
        "A FILE contains lines of fmnist-infer --json, responses of fmnist-serve, or its /metrics; it may be gzipped.",
    )
    add = parser.add_argument
    add("reference", metavar="REFERENCE_FILE", type=Path, help="answers to compare with")
    add("today", metavar="FILE", type=Path, help="answers of today; - reads standard input")
    add("--since", type=Path, metavar="FILE", help="subtract this earlier reading of today's /metrics")
    add("--picture", type=Path, metavar="PNG", help="write a chart of the comparison to this file")
    add(
        "--alpha",
        type=number_between(0.0003, 0.5),
        default=0.01,
        metavar="P",
        help="largest probability of reporting a change by chance (default: 0.01)",
    )
    add(
        "--least",
        type=number_between(0, 1),
        default=0.0,
        metavar="SIZE",
        help="smallest difference of shares, 0 to 1, that counts as a change (default: 0)",
    )
    add("--json", action="store_true", help="print one JSON object")
    return parser


def drift(args: Sequence[str] | None = None) -> int:
    """Runs the command, and returns its exit code.

    Args:
        args: Arguments; None: those of the process.
    """
    chosen = build_parser().parse_arguments(args)
    if chosen.picture is not None:
        from fmnist_runtime.drift.chart import check_chart, write_chart

        check_chart(chosen.picture)
    from fmnist_runtime.drift.counts import read_counts
    from fmnist_runtime.drift.permutation import detect_drift

    before, subtracts = read_counts(chosen.reference), chosen.since is not None
    now = read_counts(chosen.today, metrics=subtracts)
    if subtracts:
        now = now.since(read_counts(chosen.since, metrics=True))
    findings = detect_drift(before, now, alpha=chosen.alpha, least=chosen.least)
    if chosen.picture is not None:
        write_chart(chosen.picture, before, now, findings)
    if chosen.json:
        unreadable = {"reference": before.unreadable, "today": now.unreadable}
        counts = {"reference": before.total, "today": now.total, "unreadable": unreadable}
        print(json.dumps({**counts, "findings": [asdict(finding) for finding in findings]}))
    else:
        print(_table(before, now, findings))
    return CHANGED if any(finding.changed for finding in findings) else 0


def _table(before: "AnswerCounts", now: "AnswerCounts", findings: "list[Finding]") -> str:
    width = max(12, *(len(f"  {counts.total:,}") for counts in (before, now)))
    lines = [
        f"{'':<14}{'reference':>{width}}{'today':>{width}}",
        f"{'images':<14}{before.total:{width},}{now.total:{width},}",
    ]
    if before.unreadable or now.unreadable:
        lines.append(f"{'unreadable':<14}{before.unreadable:{width},}{now.unreadable:{width},}")
    for name in sorted({*before.labels, *now.labels}):
        shares = [counts.labels.get(name, 0) / counts.total for counts in (before, now)]
        lines.append(f"{printable(name):<14}{shares[0]:{width}.1%}{shares[1]:{width}.1%}")
    shares = [counts.rejected / counts.total for counts in (before, now)]
    unknown = "I don't know"
    lines += [f"{unknown:<14}{shares[0]:{width}.1%}{shares[1]:{width}.1%}", ""]
    lines.append(f"{'test':<14}{'size':>12}{'p':>12}")
    for finding in findings:
        verdict = "CHANGED" if finding.changed else "as before"
        lines.append(f"{finding.what:<14}{finding.size:12.2%}{finding.p:12.4f}  {verdict}")
    return "\n".join(lines)


def main() -> None:
    """Entry point."""
    use_one_blas_thread()
    sys.exit(run_argparse(drift))
