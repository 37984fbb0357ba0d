"""The table on a terminal: what it shows while contestants are measured, in which width and with which colors."""

import io
import itertools
import re
import time
from typing import Any

import pytest

from fmnist_bench.display import LiveTable, terminal_table

MACHINE = {"processor": "Some Processor", "flags": ["avx2"], "cpus_allowed": 2, "governor": None}
FIGURES: dict[str, Any] = {
    "hot": {"p50": 100.0, "p50 interval": [99.0, 101.0], "p99": 1500.0},
    "ratio": {"ratio": 1.0},
    "paced": {"p50": 300.0},
    "cold_start": {"p50": 150_000.0},
    "peak_rss": 70e6,
    "agreement": 0.998,
    "throughput": {"1": {"1": 5000.0, "32": 9000.0}},
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TERM": "xterm", "COLUMNS": "110", "LINES": "30"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)


def last_screen(terminal: Terminal) -> list[str]:
    """Returns the lines after the last erasure, without colors."""
    text = terminal.getvalue().rpartition("\x1b[J")[2]
    return re.sub(r"\x1b\[\d*m", "", text).splitlines()


def test_rows_grow_as_contestants_are_measured() -> None:
    terminal = Terminal()
    table = LiveTable(terminal)
    table.update("preparing b", {"a": {"model": "x"}})
    assert last_screen(terminal) == ["a", "preparing b"]
    table.update("round 1 of 20: b", {"a": {"hot": {"p50": 100.0}}, "b": {"missing": "not installed"}})
    title, a, b, step = last_screen(terminal)
    assert title.split() == ["p50", "µs"] and a.split() == ["a", "100"]
    assert b == "b  missing: not installed" and step == "round 1 of 20: b"
    table.update("throughput", {"a": FIGURES})
    assert last_screen(terminal)[1].split() == [
        "a",
        "100",
        "99",
        "to",
        "101",
        "1.00",
        "1,500",
        "300",
        "150",
        "70",
        "99.80%",
        "9,000",
    ]
    table.close()
    assert terminal.getvalue().endswith("\x1b[2A\r\x1b[J")


def test_each_drawing_replaces_the_lines_of_the_one_before() -> None:
    terminal = Terminal()
    table = LiveTable(terminal)
    table.update("one", {"a": FIGURES, "b": FIGURES})
    table.update("two", {"a": FIGURES, "b": FIGURES})
    assert terminal.getvalue().count("\x1b[3A\r\x1b[J") == 1


def test_other_streams_and_dumb_terminals_get_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0, 12)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    plain = io.StringIO()
    monkeypatch.setenv("TERM", "dumb")
    dumb = Terminal()
    for stream in (plain, dumb):
        table = LiveTable(stream)
        for step in (
            "one",
            "two",
            "three",
            "four",
        ):  # 12, 24, 36 and, after another look at the clock, 60 seconds later
            table.update(step, {"a": FIGURES})
        table.close()
        assert stream.getvalue() == "three\n"


def test_the_fastest_is_green_and_wrong_answers_are_red(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = {**FIGURES, "hot": {**FIGURES["hot"], "p50": 200.0}}
    wrong = {**FIGURES, "hot": {**FIGURES["hot"], "p50": 10.0}, "wrong": True}
    document = {"machine": MACHINE, "results": {"slow": slow, "fast": FIGURES, "wrong": wrong}}
    text = terminal_table(document, Terminal())
    assert "\x1b[32mfast " in text and "\x1b[31mwrong" in text and "\nslow " in text
    assert "wrong answers" in text and text.startswith("Some Processor, governor unknown\n")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in terminal_table(document, Terminal())
    live = Terminal()
    LiveTable(live).update("one", document["results"])
    assert "fast" in live.getvalue() and not re.search(r"\x1b\[\d*m", live.getvalue())


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_a_narrow_terminal_gets_fewer_columns_and_their_names(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    results = {"TorchScript frozen": FIGURES, "gone": {"missing": "a long reason " * 20}}
    _, _, *table, more, _ = terminal_table({"machine": MACHINE, "results": results}, Terminal()).splitlines()
    assert max(map(len, table)) < width and table[0].split()[:2] == ["p50", "µs"]
    assert "images/s" in table[0] or more.endswith("images/s.")
