"""Display of the benchmark: a table that grows on a terminal, lines of progress elsewhere, and the final table.

It uses no library, because a device has none for tables. Control sequences are those of ECMA-48.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from fmnist_runtime.console import printable
from fmnist_runtime.streams import use_color

__all__ = ["LiveTable", "terminal_table"]

Results = dict[str, dict[str, Any]]
"""Figures by contestant, as in ``measure.Results``, as far as they are measured."""

_COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "p50 µs": lambda r: f"{r['hot']['p50']:,.0f}",
    "95% interval": lambda r: "{:,.0f} to {:,.0f}".format(*r["hot"]["p50 interval"]),
    "ratio": lambda r: f"{r['ratio']['ratio']:.2f}",
    "p99": lambda r: f"{r['hot']['p99']:,.0f}",
    "paced": lambda r: f"{r['paced']['p50']:,.0f}",
    "cold ms": lambda r: f"{r['cold_start']['p50'] / 1e3:,.0f}",
    "RSS MB": lambda r: f"{r['peak_rss'] / 1e6:,.0f}",
    "accuracy": lambda r: f"{r['accuracy']:.2%}",
    "agreement": lambda r: f"{r['agreement']:.2%}",
    "images/s": lambda r: f"{max(rate for by in r['throughput'].values() for rate in by.values()):,.0f}",
}
"""Functions that return a cell, by column title, the most important first: a narrow terminal shows the first ones."""
_BOLD, _GREEN, _RED, _DIM, _PLAIN = "\x1b[1m", "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[0m"
"""Colors of titles, of the fastest contestant, of wrong answers and of missing contestants (ECMA-48, section 8.3.117)."""
_GAP = 2
"""Spaces between columns."""
_LINE_SECONDS = 30
"""Shortest time between two lines of progress, so that a log of the whole benchmark has some twenty."""


class LiveTable:
    """Table on a terminal that is drawn again after each step; on other streams, a line for the step every 30 s."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._active = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._drawn = 0
        self._last_line = time.monotonic()

    def update(self, step: str, results: Results) -> None:
        """Draws the figures so far, and the step in progress below them."""
        if not self._active:
            if time.monotonic() - self._last_line >= _LINE_SECONDS:
                self._last_line = time.monotonic()
                print(printable(step), file=self._stream, flush=True)
            return
        width, height = shutil.get_terminal_size()
        lines, _ = _draw(results, width, color=use_color(self._stream))
        lines = [*lines[: height - 2], printable(step)[: width - 1]]
        self._erase()
        print("\n".join(lines), end="", file=self._stream, flush=True)
        self._drawn = len(lines)

    def close(self) -> None:
        """Removes the table."""
        if self._active:
            self._erase()
            self._stream.flush()

    def _erase(self) -> None:
        if self._drawn:
            up = f"\x1b[{self._drawn - 1}A" if self._drawn > 1 else ""
            print(f"{up}\r\x1b[J", end="", file=self._stream)
        self._drawn = 0


def terminal_table(document: dict[str, Any], stream: TextIO) -> str:
    """Returns the final table in the width of the terminal.

    Args:
        document: The result of the benchmark.
        stream: Terminal that shows it.
    """
    width, machine = shutil.get_terminal_size().columns, document["machine"]
    lines, hidden = _draw(document["results"], width, color=use_color(stream))
    if hidden:
        lines.append(f"More in a wider terminal, and in --json: {', '.join(hidden)}.")
    lines.append("p50, p99: calls in a row. paced: 10 calls a second. ratio: to the first row. One thread, one image.")
    return "\n".join([f"{machine['processor']}, governor {machine['governor'] or 'unknown'}", "", *lines])


def _draw(results: Results, width: int, *, color: bool) -> tuple[list[str], list[str]]:
    """Returns the lines of the table, and the titles of columns with figures that do not fit."""
    name_width = max(map(len, results), default=0)
    cells = {name: {title: _cell(cell, r) for title, cell in _COLUMNS.items()} for name, r in results.items()}
    widths = {title: max([len(title), *(len(row[title]) for row in cells.values())]) for title in _COLUMNS}
    filled = [title for title in _COLUMNS if any(row[title] for row in cells.values())]
    shown: list[str] = []
    for title in filled:
        if name_width + sum(widths[each] + _GAP for each in [*shown, title]) >= width:
            break
        shown.append(title)
    fastest = min((r["hot"]["p50"] for r in results.values() if "hot" in r and not r.get("wrong")), default=None)
    lines = (
        [_paint(_line("", {title: title for title in shown}, widths, name_width), _BOLD, color=color)] if shown else []
    )
    for name, r in results.items():
        if "missing" in r:
            text, style = f"{name.ljust(name_width)}  missing: {r['missing']}", _DIM
        else:
            text = _line(name, {title: cells[name][title] for title in shown}, widths, name_width)
            text += "  wrong answers" if r.get("wrong") else ""
            style = _RED if r.get("wrong") else _GREEN if r.get("hot", {}).get("p50") == fastest is not None else ""
        lines.append(_paint(printable(text)[: width - 1], style, color=color))
    return lines, filled[len(shown) :]


def _cell(cell: Callable[[dict[str, Any]], str], result: dict[str, Any]) -> str:
    try:
        return cell(result)
    except (KeyError, ValueError):  # not measured yet, or no rate at all
        return ""


def _line(name: str, cells: dict[str, str], widths: dict[str, int], name_width: int) -> str:
    return name.ljust(name_width) + "".join(text.rjust(widths[title] + _GAP) for title, text in cells.items())


def _paint(text: str, style: str, *, color: bool) -> str:
    return f"{style}{text}{_PLAIN}" if color and style else text
