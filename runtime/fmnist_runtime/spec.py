"""Constants shared by training, export and the device, each defined only here."""

__all__ = ["DATASET_LABELS", "IMAGE_SIZE", "PIXEL_MEAN", "PIXEL_STD"]

IMAGE_SIZE = 28
"""Side of the square network input, in pixels."""

PIXEL_MEAN = 73
PIXEL_STD = 90
"""Mean and standard deviation of Fashion-MNIST in 8-bit pixels, rounded from 72.93 and 90.02. A raw ``uint8`` image is then
the quantized input of an int8 model with scale 1/90 and zero point 73."""

DATASET_LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""Fashion-MNIST's class names; the position is the class id. A model file has its own labels, which may differ."""
