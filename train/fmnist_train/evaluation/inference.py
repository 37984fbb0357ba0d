"""Inference of a trained network on a set of images."""

import numpy as np
import torch
from torch import nn

__all__ = ["predict_logits"]


def predict_logits(model: nn.Module, images: np.ndarray, batch: int = 1000) -> np.ndarray:
    """Computes the logits of every image, in float32 and evaluation mode, on the model's device.

    The model's mode (training or evaluation) is restored.

    Args:
        model: Network from pixels ``[N, 1, 28, 28]`` to logits ``[N, classes]``.
        images: uint8 ``[N, 28, 28]``.
        batch: Number of images in a batch; it bounds the memory and does not change the result.

    Returns:
        float32 ``[N, classes]``.
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    layout = torch.channels_last if device.type == "cpu" else torch.preserve_format
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            pixels = torch.from_numpy(np.require(images, requirements=["C", "W"])).unsqueeze(1)
            parts = [
                model(part.to(device).to(memory_format=layout)).float().cpu() for part in torch.split(pixels, batch)
            ]
            return torch.cat(parts).numpy()
    finally:
        model.train(was_training)
