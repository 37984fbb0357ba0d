"""Batch jobs on Ray: what does not need Ray itself."""

import sys
from types import SimpleNamespace

import pytest

from fmnist_runtime.errors import WorkerError
from fmnist_runtime.workers.ray_batch import _start_ray


def test_a_slow_start_of_ray_is_one_line_that_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise Exception("The current node timed out during startup.\nThis could happen because ...")  # noqa: TRY002

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=init))
    with pytest.raises(WorkerError) as caught:
        _start_ray(2)
    assert str(caught.value) == (
        "Ray did not start; a slow machine may need a larger RAY_raylet_start_wait_time_s, in seconds: "
        "The current node timed out during startup."
    )
