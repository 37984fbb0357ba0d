"""The history of a run as TensorBoard events (needs the extra ``tensorboard``)."""

from collections.abc import Callable
from pathlib import Path

from fmnist_runtime.errors import MissingExtraError, extra_hint
from fmnist_train.training.state import Epoch

__all__ = ["event_writer"]


def event_writer(folder: Path) -> Callable[[Epoch], None]:
    """Returns a function that writes the figures of an epoch into ``folder``; ``tensorboard --logdir`` displays them.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError(f"--tensorboard needs: {extra_hint('tensorboard')}") from error

    def write(epoch: Epoch) -> None:
        figures = {
            "loss/training": epoch.train_loss,
            "loss/validation": epoch.validation_loss,
            "accuracy/training": epoch.train_accuracy,
            "accuracy/validation": epoch.validation_accuracy,
            "learning rate": epoch.learning_rate,
            "seconds": epoch.seconds,
        }
        with SummaryWriter(
            str(folder)
        ) as writer:  # closed after each epoch, so that no events are lost if the run is killed
            for name, value in figures.items():
                if value is not None:
                    writer.add_scalar(name, value, epoch.epoch)

    return write
