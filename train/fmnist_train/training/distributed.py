"""Training in several processes started by ``torchrun``: each takes a part of every batch, and gradients are averaged."""

import contextlib
import os
from collections.abc import Iterator

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from fmnist_runtime.errors import ConfigError

__all__ = ["is_first", "mean_over_processes", "process_group", "rank_and_world", "share_buffers", "wrap_distributed"]


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[torch.device]:
    """Context manager that connects the processes of ``torchrun``, by NCCL on GPUs and by gloo elsewhere.

    It has no effect with a single process.

    Yields:
        Device of this process; with several GPUs, that of the local rank.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def rank_and_world() -> tuple[int, int]:
    """Returns the rank of this process, and the number of processes; 0 and 1 outside of ``process_group``."""
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


def is_first() -> bool:
    """Returns whether this process writes files and messages."""
    return rank_and_world()[0] == 0


def wrap_distributed(model: nn.Module, batch_size: int) -> nn.Module:
    """Returns the network that the loop calls: wrapped by PyTorch's DDP if there are several processes.

    Raises:
        ConfigError: The batch size is not a multiple of the number of processes.
    """
    world = rank_and_world()[1]
    if world == 1:
        return model
    if batch_size % world:
        raise ConfigError(
            f"batch size {batch_size} cannot be divided among {world} processes; set a multiple of {world}"
        )
    return DistributedDataParallel(model)


def share_buffers(*models: nn.Module | None) -> None:
    """Copies the first process's batch-norm statistics to all, so that all validate the same network."""
    if rank_and_world()[1] > 1:
        for buffer in (buffer for model in models if model is not None for buffer in model.buffers()):
            distributed.broadcast(buffer, 0)


def mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    """Returns the mean of a value over the processes."""
    world = rank_and_world()[1]
    if world > 1:
        distributed.all_reduce(value)
    return value / world
