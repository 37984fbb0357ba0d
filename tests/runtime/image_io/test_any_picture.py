"""Properties that hold for every picture, and damaged files of every format."""

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fmnist_runtime.errors import ImageError
from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.preprocessing.pipeline import careful_inputs, to_network_input

SIDE = st.one_of(st.integers(1, 12), st.integers(13, 300))
COLOR = st.tuples(*[st.integers(0, 255)] * 4)


@st.composite
def pictures(draw: st.DrawFn) -> Image.Image:
    """Flat color, a box on a background, with or without noise and alpha: what photos can come down to at worst."""
    width, height = draw(SIDE), draw(SIDE)
    pixels = np.empty((height, width, 4), np.uint8)
    pixels[:] = draw(COLOR)
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    pixels[top : top + draw(st.integers(0, height)), left : left + draw(st.integers(0, width))] = draw(COLOR)
    noise = draw(st.sampled_from([0, 0, 4, 255]))
    spread = np.random.default_rng(draw(st.integers(0, 99))).integers(-noise, noise + 1, pixels.shape)
    return Image.fromarray((pixels + spread).clip(0, 255).astype(np.uint8)).convert(
        draw(st.sampled_from(["L", "RGB", "RGBA"]))
    )


@settings(max_examples=150)
@given(pictures())
def test_every_picture_has_an_input(picture: Image.Image) -> None:
    seen = to_network_input(picture)
    assert seen.shape == (28, 28) and seen.dtype == np.uint8
    assert np.array_equal(seen, to_network_input(picture))
    assert np.array_equal(careful_inputs(picture)[0], seen)


@settings(max_examples=60)
@given(pictures(), st.sampled_from(["PNG", "TIFF", "WEBP", "BMP", "TGA"]))
def test_files_without_loss_are_seen_as_the_picture(picture: Image.Image, kind: str) -> None:
    file = io.BytesIO()
    picture.save(file, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    opened = open_image(file.getvalue())
    if not (kind == "BMP" and picture.mode == "RGBA"):  # whose alpha the format does not keep
        assert np.array_equal(np.asarray(opened.convert("RGBA")), np.asarray(picture.convert("RGBA")))


@settings(max_examples=200)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0", b"MM\0+", b"GIF89a"]),
)
def test_bytes_that_are_no_picture(content: bytes, signature: bytes) -> None:
    try:
        open_image(signature + content)
    except ImageError as error:
        assert str(error).isprintable()
