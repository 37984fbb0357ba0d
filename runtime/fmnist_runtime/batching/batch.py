"""Pictures by the batch: each comes to a prediction or to why there is none, and a bad one spoils no other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fmnist_runtime.classifier import Classifier
from fmnist_runtime.errors import ImageError
from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.prediction import Outcome

__all__ = ["answer_batch"]


def answer_batch(
    classifier: Classifier,
    pictures: Sequence[bytes | str],
    *,
    top_k: int = 3,
    reject: bool = True,
    max_pixels: int | None = None,
    show: str | Path | None = None,
) -> list[Outcome]:
    """Decode one by one, then classify in one call of the model.

    Args:
        classifier: what to ask.
        pictures: files' bytes, or their paths.
        top_k, reject: see ``Classifier.__call__``.
        max_pixels: see ``open_image``.
        show: a folder to write, for each path, a PNG of the photo beside what the network saw.

    Raises:
        ModelError: the model call failed.
    """
    prepared: list[np.ndarray | Exception] = []
    for picture in pictures:
        try:
            prepared.append(_prepare(classifier, picture, max_pixels, show))
        except MemoryError:
            prepared.append(ImageError("the picture needs more memory than there is"))
        except Exception as error:  # even a fault of ours in one picture must not hit its neighbours
            prepared.append(error)
    views = [each for each in prepared if isinstance(each, np.ndarray)]
    predictions = iter(classifier.classify_inputs(np.stack(views), top_k=top_k, reject=reject) if views else [])
    return [next(predictions) if isinstance(each, np.ndarray) else each for each in prepared]


def _prepare(
    classifier: Classifier, picture: bytes | str, max_pixels: int | None, show: str | Path | None
) -> np.ndarray:
    if show is None:
        return classifier.prepare(picture, max_pixels=max_pixels)
    from fmnist_runtime.cli.comparison_image import write_comparison

    image = open_image(picture, max_pixels=max_pixels)
    views = classifier.prepare(image)
    write_comparison(image, views[0], Path(show), str(picture))
    return views
