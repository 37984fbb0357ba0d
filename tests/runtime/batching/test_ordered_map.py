"""The ordered map where no thread can start."""

import pytest

from fmnist_runtime.batching.ordered_map import map_ordered


def test_no_thread_at_all_still_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", refuse)
    assert list(map_ordered(lambda some: [2 * each for each in some], range(50), threads=4, chunk=3)) == [
        2 * each for each in range(50)
    ]
