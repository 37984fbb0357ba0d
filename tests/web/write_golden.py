"""Golden vectors of the preprocessing: decoded pictures in, 28×28 out.

    python tests/web/write_golden.py        # writes golden.json.gz beside itself, after a change that is meant

The page's JavaScript and the device's Python must both give these very bytes.
"""

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.preprocessing.pipeline import to_network_input

FILE = Path(__file__).with_name("golden.json.gz")
EXAMPLES = Path(__file__).parents[2] / "examples"


def pictures() -> Iterator[tuple[str, Image.Image]]:
    """Real photos, at several sizes, and what photos rarely are: tiny, long, transparent, flat, noise."""
    for place, path in enumerate(sorted(EXAMPLES.glob("*.jpg"))):
        photo = open_image(path).convert("RGB")
        photo.thumbnail((60 + 15 * place, 60 + 15 * place))
        yield path.stem, photo
    rng = np.random.default_rng(0)
    for width, height in ((28, 28), (1, 1), (5, 40), (7, 300), (300, 7), (130, 129), (49, 141), (64, 64)):
        gray = rng.integers(0, 256, (height, width), dtype=np.uint8)
        yield f"grey noise {width}×{height}", Image.fromarray(gray)
        color = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
        yield f"flat {width}×{height}", Image.fromarray(color)
        color[height // 4 : height // 2 + 1, width // 4 : width // 2 + 1] = rng.integers(0, 256, 3)
        yield f"patch {width}×{height}", Image.fromarray(color)
        alpha = np.where(rng.random((height, width)) < 0.5, 255, gray).astype(np.uint8)
        yield f"transparent {width}×{height}", Image.fromarray(np.dstack([color, alpha]))
    pale = np.full((120, 90, 3), 255, np.uint8)
    pale[15:105, 20:70], pale[15:22, 38:52] = 246, 120
    yield "pale on white", Image.fromarray(pale)


def encode(name: str, picture: Image.Image) -> dict[str, object]:
    """One vector as JSON: ``rgba`` uint8 ``[height, width, 4]`` and ``seen`` uint8 ``[28, 28]``, both in base64."""
    rgba, seen = (
        base64.b64encode(a.tobytes()).decode() for a in (np.asarray(picture.convert("RGBA")), to_network_input(picture))
    )
    return {"name": name, "width": picture.width, "height": picture.height, "rgba": rgba, "seen": seen}


if __name__ == "__main__":
    vectors = [encode(name, picture) for name, picture in pictures()]
    FILE.write_bytes(gzip.compress(json.dumps(vectors).encode(), 9, mtime=0))
    print(f"wrote {len(vectors)} vectors, {FILE.stat().st_size / 1e3:.0f} kB")
