"""Training in several processes that ``torchrun`` started: each takes its part of every batch, the gradients are averaged."""

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
    """Join the processes of ``torchrun`` for the time of the block: NCCL on GPUs, gloo elsewhere; alone it does nothing.

    Yields:
        This process's device: of several GPUs the one with its local rank.
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
    """This process's number and how many there are; 0 and 1 outside ``process_group``."""
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


def is_first() -> bool:
    """Whether this process writes files and messages."""
    return rank_and_world()[0] == 0


def wrap_distributed(model: nn.Module, batch_size: int) -> nn.Module:
    """The network as the loop calls it: wrapped by PyTorch's own DDP where there are several processes.

    Raises:
        ConfigError: the batch cannot be divided evenly.
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
    """Give all processes the first one's batch-norm statistics, so that all validate the same network."""
    if rank_and_world()[1] > 1:
        for buffer in (buffer for model in models if model is not None for buffer in model.buffers()):
            distributed.broadcast(buffer, 0)


def mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    """The mean of a figure over the processes."""
    world = rank_and_world()[1]
    if world > 1:
        distributed.all_reduce(value)
    return value / world
