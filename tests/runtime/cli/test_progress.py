"""The progress bar."""

import pytest

from fmnist_runtime.cli.progress import Progress


def test_the_bar_shows_count_rate_and_time_left() -> None:
    progress = Progress(40)
    for _ in range(10):
        progress.step()
    assert progress.line(2.0) == f"[{'#' * 7:<30}] 10 of 40, 5 a second, 6 s left"


def test_the_bar_is_drawn_at_intervals_and_removed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = Progress(4)
    for seconds in (0.05, 0.2, 0.25, 0.4):
        now[0] = seconds
        progress.step()
    progress.close()
    err = capsys.readouterr().err
    assert err.count("of 4") == 2 and "2 of 4, 10 a second" in err and err.endswith("\r\x1b[K")
