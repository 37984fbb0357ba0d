"""Views of photos as a network sees them: each photo changed at random, then put through the device's preprocessing.

View 0 is the unchanged photo. The others imitate further photos of the same garment, by a random crop, tilt, distance, tone,
color, blur and JPEG quality. Views are made in worker processes and cached. The cache's key covers the bytes of the photos,
the settings, and the code of the preprocessing; after a change of any of them, the views are made again.
"""

import ast
import dataclasses
import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageEnhance, ImageFilter

import fmnist_runtime.preprocessing
from fmnist_runtime.console import counted
from fmnist_runtime.cpus import start_threads
from fmnist_runtime.errors import DataError, reason_of
from fmnist_runtime.files import write_atomically
from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.preprocessing.pipeline import to_network_input
from fmnist_runtime.preprocessing.segmentation import segment
from fmnist_runtime.spec import IMAGE_SIZE
from fmnist_train.data import paper

__all__ = ["ViewSettings", "load_views", "paper_views", "paste_views", "photo_views"]


@dataclass(frozen=True)
class ViewSettings:
    """Largest differences between a photo and its views; each value is drawn uniformly from its range."""

    count: int = 6
    """Views of each photo, the first unchanged."""
    crop: float = 0.12
    """Largest share of the side cut off at each edge."""
    tilt: float = 10.0
    """Largest rotation either way, degrees."""
    distance: tuple[int, int] = (96, 320)
    """Longest side of the photo, pixels: a small one imitates a garment far from the camera."""
    tone: float = 0.3
    """Largest relative change of brightness and of contrast."""
    gamma: float = 0.35
    """Largest change, either way, of the natural logarithm of the gamma exponent."""
    color: float = 0.12
    """Largest relative change of each color channel, as by colored light; the saturation changes by up to three times as much."""
    blur: float = 1.2
    """Largest radius, pixels; half of the views stay sharp."""
    quality: tuple[int, int] = (30, 95)
    """JPEG quality."""


def load_views(
    paths: Sequence[Path], settings: ViewSettings, folder: Path, *, note: Callable[[str], None] = lambda text: None
) -> np.ndarray:
    """Returns the views of every photo, from the cache if they are there: uint8 ``[N, count, 28, 28]``.

    Args:
        paths: Photos, which can be read.
        settings: Number and differences of the views.
        folder: Folder of the cache.
        note: Called with one line before views are made.
    """
    shape = (len(paths), settings.count, IMAGE_SIZE, IMAGE_SIZE)
    key = _key("photos", settings, paths, b"")
    make = partial(photo_views, settings=settings)
    return _cached(folder / f"{key}.views", make, [(path,) for path in paths], shape=shape, note=note)


def paste_views(
    images: np.ndarray,
    backgrounds: Sequence[Path | None],
    settings: ViewSettings,
    folder: Path,
    *,
    note: Callable[[str], None] = lambda text: None,
) -> np.ndarray:
    """Returns views of data set images pasted on the backgrounds of photos: uint8 ``[N, count, 28, 28]``.

    Args:
        images: uint8 ``[N, 28, 28]``, light garment on black.
        backgrounds: N photos, of which the widest strip beside the garment is used; None for a plain background, as in a
            shop.
        settings: See ``load_views``.
        folder: See ``load_views``.
        note: See ``load_views``.
    """
    shape = (len(images), settings.count, IMAGE_SIZE, IMAGE_SIZE)
    plain = bytes(path is None for path in backgrounds)
    key = _key("pasted", settings, [path for path in backgrounds if path is not None], images.tobytes() + plain)
    make = partial(_pasted_views, settings=settings)
    jobs = [(image, path) for image, path in zip(images, backgrounds, strict=True)]
    return _cached(folder / f"{key}.views", make, jobs, shape=shape, note=note)


def paper_views(
    grounds: Sequence[Path],
    settings: ViewSettings,
    folder: Path,
    *,
    note: Callable[[str], None] = lambda text: None,
) -> np.ndarray:
    """Returns views of drawn sheets of paper (see ``paper.py``): uint8 ``[N, count, 28, 28]``.

    Args:
        grounds: N photos, one for each sheet; in some views it lies on the widest strip beside the garment.
        settings: See ``load_views``.
        folder: See ``load_views``.
        note: See ``load_views``.
    """
    shape = (len(grounds), settings.count, IMAGE_SIZE, IMAGE_SIZE)
    key = _key("paper", settings, grounds, b"")
    make = partial(_paper_views, settings=settings)
    return _cached(folder / f"{key}.views", make, list(enumerate(grounds)), shape=shape, note=note)


def photo_views(path: Path, settings: ViewSettings) -> np.ndarray:
    """Returns the views of one photo, uint8 ``[count, 28, 28]``; the random draws depend on the photo's bytes alone."""
    data = path.read_bytes()
    photo = _opaque(open_image(data))
    rng = np.random.default_rng(list(hashlib.sha256(data).digest()))
    changed = [to_network_input(_change(photo, settings, rng)) for _ in range(settings.count - 1)]
    return np.stack([to_network_input(open_image(data)), *changed])


def _pasted_views(image: np.ndarray, path: Path | None, settings: ViewSettings) -> np.ndarray:
    rng = np.random.default_rng(list(hashlib.sha256(image.tobytes()).digest()))
    strip = None if path is None else _background(_opaque(open_image(path)))
    photos = [_paste(image, strip or _plain_background(rng), rng) for _ in range(settings.count)]
    return np.stack([to_network_input(_change(photo, settings, rng)) for photo in photos])


def _paper_views(number: int, path: Path, settings: ViewSettings) -> np.ndarray:
    rng = np.random.default_rng([number, _PAPER_SEED])
    strip = _background(_opaque(open_image(path)))
    photos = [_photograph_sheet(paper.draw_sheet(rng), strip, rng) for _ in range(settings.count)]
    return np.stack([to_network_input(_change(photo, settings, rng)) for photo in photos])


_PAPER_SEED = 2_749
"""Seed of the sheets, with the number of each."""


def _photograph_sheet(sheet: Image.Image, strip: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Returns a sheet as it was scanned, or as it lies on a photographed ground or one of a single color."""
    if rng.random() < 0.25:
        return sheet
    size = (int(rng.integers(200, 340)), int(rng.integers(200, 340)))
    if rng.random() < 0.5:
        return paper.lay_on(sheet, _tiled(strip, size, rng), rng)
    color = rng.uniform(0, 255) * (1 - rng.uniform(0, 0.6, 3) * (rng.random() < 0.7))
    ground = color + rng.normal(0, rng.uniform(0, 5), (*size, 1))
    return paper.lay_on(sheet, ground.astype(np.float32), rng)


def _opaque(photo: Image.Image) -> Image.Image:
    """Returns the photo in RGB, on white where it is transparent: the color stored there is arbitrary, and mostly black."""
    if photo.mode != "RGBA":
        return photo.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo).convert("RGB")


def _change(photo: Image.Image, settings: ViewSettings, rng: np.random.Generator) -> Image.Image:
    """Returns one randomly changed copy of a photo."""
    if (scale := rng.uniform(*settings.distance) / max(photo.size)) < 1:
        photo = photo.resize(
            (max(8, round(photo.width * scale)), max(8, round(photo.height * scale))), Image.Resampling.BOX
        )
    if rng.random() < 0.6:
        photo = _tilt(photo, rng.uniform(-settings.tilt, settings.tilt))
    left, top, right, bottom = rng.uniform(0, settings.crop, 4) * (rng.random(4) < 0.6)
    width, height = photo.size
    photo = photo.crop(
        (round(left * width), round(top * height), round((1 - right) * width), round((1 - bottom) * height))
    )
    photo = _change_tones(photo, settings, rng)
    if rng.random() < 0.5:
        photo = photo.filter(ImageFilter.GaussianBlur(rng.uniform(0, settings.blur)))
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=int(rng.integers(*settings.quality)))
    return open_image(buffer.getvalue())


def _tilt(photo: Image.Image, degrees: float) -> Image.Image:
    """Rotates a photo about its center; the corners are filled by reflection."""
    pad = round(0.2 * max(photo.size))
    padded = Image.fromarray(np.pad(np.asarray(photo), ((pad, pad), (pad, pad), (0, 0)), "symmetric"))
    rotated = padded.rotate(degrees, Image.Resampling.BILINEAR)
    return rotated.crop((pad, pad, pad + photo.width, pad + photo.height))


def _change_tones(photo: Image.Image, settings: ViewSettings, rng: np.random.Generator) -> Image.Image:
    photo = ImageEnhance.Contrast(photo).enhance(1 + rng.uniform(-settings.tone, settings.tone))
    photo = ImageEnhance.Color(photo).enhance(1 + rng.uniform(-3 * settings.color, 3 * settings.color))
    exponent = np.exp(rng.uniform(-settings.gamma, settings.gamma))
    gain = 1 + rng.uniform(-settings.tone, settings.tone) * 0.5
    channels = gain * (1 + rng.uniform(-settings.color, settings.color, 3))
    steps = (np.arange(256) / 255) ** exponent * 255
    table = np.concatenate([np.clip(steps * factor, 0, 255) for factor in channels]).round().astype(int)
    return photo.point(table.tolist())


def _background(photo: Image.Image) -> Image.Image:
    """Returns the widest strip of a photo beside its garment; the whole photo if the strip is narrow."""
    small = photo.copy()
    small.thumbnail((128, 128))
    mask, _ = segment(np.asarray(small))
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return photo
    width, height = small.size
    strips = [
        (0, 0, width, int(rows[0])),
        (0, int(rows[-1]) + 1, width, height),
        (0, 0, int(columns[0]), height),
        (int(columns[-1]) + 1, 0, width, height),
    ]
    best = max(strips, key=lambda box: min(box[2] - box[0], box[3] - box[1]))
    if min(best[2] - best[0], best[3] - best[1]) < 8:
        return photo
    scale = photo.width / width
    left, top, right, bottom = (round(edge * scale) for edge in best)
    return photo.crop((left, top, min(right, photo.width), min(bottom, photo.height)))


def _plain_background(rng: np.random.Generator) -> Image.Image:
    """Returns a light background of nearly one color, mostly white, with a gradient of brightness."""
    color = np.full(3, 255.0) if rng.random() < 0.6 else rng.uniform(150, 255) * (1 - rng.uniform(0, 0.12, 3))
    slope = 1 - rng.uniform(0, 0.08) * np.linspace(0, 1, 64)[:, None, None]
    noise = rng.normal(0, rng.uniform(0, 1.5), (64, 64, 1))
    return Image.fromarray((color * slope + noise).clip(0, 255).round().astype(np.uint8))


def _paste(image: np.ndarray, background: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Returns a data set image, enlarged, colored and with a shadow, on a background that is mirrored and repeated."""
    side = int(rng.integers(112, 200))
    canvas = _tiled(background, (side, side), rng)
    size = round(side * rng.uniform(0.55, 0.95))
    big = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC), np.float32) / 255
    outline = Image.fromarray(((image > 8) * 255).astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    alpha = np.clip((np.asarray(outline, np.float32) - 64) / 128, 0, 1)
    # The preprocessing inverts tones, so the garment is darkest where the data set's image is lightest.
    low, high = rng.uniform(0, 0.5), rng.uniform(0.5, 1)
    tones = low + (high - low) * (1 - big)
    color = 1 + rng.uniform(-0.5, 0.3, 3) * rng.integers(0, 2)
    garment = np.clip(tones[..., None] * color * 255, 0, 255)
    top, left = (int(rng.integers(0, side - size + 1)) for _ in range(2))
    place = np.s_[top : top + size, left : left + size]
    shadow = np.asarray(outline.filter(ImageFilter.GaussianBlur(size / 20)), np.float32) / 255
    canvas[place] *= 1 - rng.uniform(0, 0.5) * shadow[..., None]
    canvas[place] += alpha[..., None] * (garment - canvas[place])
    return Image.fromarray(canvas.round().astype(np.uint8))


def _tiled(background: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Returns the background, mirrored at its edges until it covers ``size``: float32 ``[H, W, 3]``."""
    scale = rng.uniform(0.6, 1.0) * max(size) / max(background.size)
    small = background.resize((max(4, round(background.width * scale)), max(4, round(background.height * scale))))
    pixels = np.asarray(small, np.float32)
    pad = [(0, max(0, side - found)) for side, found in zip(size, pixels.shape[:2], strict=True)]
    return np.pad(pixels, (*pad, (0, 0)), "symmetric")[: size[0], : size[1]].copy()


def _key(kind: str, settings: ViewSettings, paths: Sequence[Path], extra: bytes) -> str:
    """Returns the cache key, 20 hexadecimal digits: a hash of photos, settings, code and library versions."""
    digest = hashlib.sha256(extra)
    conditions = [kind, dataclasses.asdict(settings), PIL.__version__, np.__version__]
    digest.update(json.dumps(conditions).encode())
    folder = Path(fmnist_runtime.preprocessing.__file__).parent
    for source in (*sorted(folder.rglob("*.py")), Path(__file__), Path(paper.__file__)):
        digest.update(_code(source).encode())
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:20]


def _code(source: Path) -> str:
    """Returns a module's code without docstrings and comments, which do not affect the views."""
    tree = ast.parse(source.read_bytes())
    for node in ast.walk(tree):
        if hasattr(node, "body") and isinstance(node.body, list):
            node.body = [each for each in node.body if not _is_text(each)]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _cached(
    path: Path,
    make: Callable[..., np.ndarray],
    jobs: Sequence[tuple[object, ...]],
    *,
    shape: tuple[int, ...],
    note: Callable[[str], None],
) -> np.ndarray:
    views = _read_cache(path, shape)
    if views is not None:
        return views
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    note(
        f"making {counted(shape[1], 'view')} of {counted(shape[0], 'photo')} in {counted(workers, 'process', 'processes')}"
    )
    with ProcessPoolExecutor(workers, get_context("spawn"), _end_with_parent) as pool:
        try:
            views = np.stack(list(pool.map(make, *zip(*jobs, strict=True), chunksize=16)))
        except BrokenProcessPool:
            raise DataError(
                "a process that made views of photos was ended, perhaps for lack of memory; run again"
            ) from None
    try:
        write_atomically(path, hashlib.sha256(views.data).digest() + views.tobytes())
    except OSError as error:  # a user without a home folder, or a full disk: the next run makes them again
        note(f"the views are not kept for the next run ({error.filename or path}: {reason_of(error)})")
    return views


def _end_with_parent() -> None:
    """Makes this process end where its parent is killed: it would wait for jobs for ever."""

    def wait() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    start_threads(wait, 1)


def _read_cache(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Returns a cached array, uint8 of this shape; None if there is none, or if it is damaged: it is then made anew.

    The file is the SHA-256 of the array's bytes, and these.
    """
    try:
        data = path.read_bytes() if path.is_file() else b""  # a pipe of that name would be waited for
    except OSError:
        return None
    size = hashlib.sha256().digest_size
    if len(data) != size + math.prod(shape) or hashlib.sha256(memoryview(data)[size:]).digest() != data[:size]:
        return None
    return np.frombuffer(data, np.uint8, offset=size).reshape(shape).copy()  # writeable, for PyTorch
