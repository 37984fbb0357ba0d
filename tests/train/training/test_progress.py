"""Progress of a training on standard error."""

import pytest

from fmnist_train.recipes import get_recipe
from fmnist_train.training.device import choose_device
from fmnist_train.training.progress import Progress
from fmnist_train.training.state import Epoch


def test_the_time_left_may_be_more_than_a_day(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    with progress.of_run(get_recipe("custom", epochs=50), 100, 0, choose_device("cpu")):
        progress.epoch(Epoch(1, 0.5, 0.5, None, None, 0.1, seconds=3600.4), best=False)
    assert capsys.readouterr().err.splitlines()[-1].endswith("49:00:20")
