"""The command ``fmnist-drift``: read two sets of answers, test, print."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fmnist_runtime.console import run_app

if TYPE_CHECKING:
    from fmnist_runtime.drift.compare import Finding
    from fmnist_runtime.drift.tally import Tally

__all__ = ["app", "main"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

CHANGED = 3
"""Exit code where something changed: a failed gate, for use in a timer."""


@app.command()
def drift(
    reference: Annotated[Path, typer.Argument(help="Answers to compare with; see below.")],
    today: Annotated[Path, typer.Argument(help="Answers of today; - is standard input.")],
    since: Annotated[
        Path | None, typer.Option(help="An earlier reading of today's /metrics, to subtract.", show_default=False)
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Write a PNG here.", show_default=False)] = None,
    alpha: Annotated[
        float, typer.Option(min=0.0003, max=0.5, help="How often an unchanged world may be called changed.")
    ] = 0.01,
    least: Annotated[
        float, typer.Option(min=0, max=1, help="Differences under this size are no change, however sure.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> int:
    """Have answers changed, or is it chance? Exit code 3 where they have.

    A file of answers holds lines of fmnist-infer --json, responses of fmnist-serve, or a reading of its /metrics.
    """
    from fmnist_runtime.drift.compare import compare
    from fmnist_runtime.drift.tally import read_tally

    before, now = read_tally(reference), read_tally(today)
    if since is not None:
        now = now.since(read_tally(since))
    findings = compare(before, now, alpha=alpha, least=least)
    if picture is not None:
        from fmnist_runtime.drift.picture import write_picture

        write_picture(picture, before, now, findings)
    if as_json:
        counts = {"reference": before.total, "today": now.total}
        print(json.dumps({**counts, "findings": [dataclasses.asdict(finding) for finding in findings]}))
    else:
        print(_table(before, now, findings))
    return CHANGED if any(finding.changed for finding in findings) else 0


def _table(before: "Tally", now: "Tally", findings: "list[Finding]") -> str:
    lines = [f"{'':<14}{'reference':>12}{'today':>12}", f"{'pictures':<14}{before.total:12,}{now.total:12,}"]
    for name in sorted({*before.labels, *now.labels}):
        shares = [tally.labels.get(name, 0) / tally.total for tally in (before, now)]
        lines.append(f"{name:<14}{shares[0]:12.1%}{shares[1]:12.1%}")
    shares = [tally.rejected / tally.total for tally in (before, now)]
    lines += [f"{'I do not know':<14}{shares[0]:12.1%}{shares[1]:12.1%}", ""]
    lines.append(f"{'test':<14}{'size':>12}{'p':>12}")
    for finding in findings:
        verdict = "CHANGED" if finding.changed else "chance would do as much, or it is small"
        lines.append(f"{finding.what:<14}{finding.size:12.2%}{finding.p:12.4f}  {verdict}")
    return "\n".join(lines)


def main() -> None:
    """Entry point."""
    sys.exit(run_app(app))
