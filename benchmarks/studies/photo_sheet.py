"""Contact sheet for the README: each photo, the photo only resized, the network's input, and the answer.

A photo whose file name begins with classes, as in coat-or-pullover.jpg, gets a verdict on the answer.

python benchmarks/studies/photo_sheet.py FOLDER OUT.png [--model FILE] [--columns N]
"""

import argparse
import re
from pathlib import Path

from photos import naive
from PIL import Image, ImageDraw, ImageFont

from fmnist_runtime import Classifier, Prediction
from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.image_io.sources import find_images

TILE, GAP, CAPTION = 150, 6, 46
"""Edge of an image, distance between images, and height of the caption, in pixels."""
COLORS = {"correct": "#1a7f37", "hard: not recognized": "#9a6700", "hard: wrong": "#cf222e"}
"""Verdicts and their colors, all with a contrast over 4.5 on white."""


def verdict(path: Path, classifier: Classifier, prediction: Prediction) -> str:
    """Compares the answer with the classes in a file's name; an empty text where it names none."""
    named = path.stem.split("-or-")
    slugs = {re.sub(r"\W+", "-", label.lower()).strip("-"): label for label in classifier.labels}
    slugs |= {slug.replace("t-shirt", "tshirt"): label for slug, label in slugs.items()}
    if not all(name in slugs for name in named):
        return ""
    if prediction.rejected:
        return "hard: not recognized"
    return "correct" if prediction.label in [slugs[name] for name in named] else "hard: wrong"


def cell(path: Path, classifier: Classifier) -> Image.Image:
    """Draws one photo beside its two 28×28 images, with the answer below."""
    photo = open_image(path).convert("RGB")
    photo.thumbnail((TILE, TILE))
    picture = Image.new("RGB", (3 * TILE + 2 * GAP, TILE + CAPTION), "white")
    picture.paste(photo, ((TILE - photo.width) // 2, (TILE - photo.height) // 2))
    for i, seen in enumerate((naive(path, inverted=False), classifier.prepare(path)[0]), start=1):
        picture.paste(Image.fromarray(seen).resize((TILE, TILE), Image.Resampling.NEAREST), (i * (TILE + GAP), 0))
    prediction = classifier(path)
    top = prediction.top[0]
    answer = "I don't know" if prediction.rejected else f"{top.label} {top.probability:.0%}"
    draw = ImageDraw.Draw(picture)
    draw.text((2, TILE + 2), path.stem.replace("-", " "), "#555555", ImageFont.load_default(15))
    draw.text((TILE + GAP + 2, TILE + 2), "only resized", "#555555", ImageFont.load_default(15))
    right, below = 2 * (TILE + GAP), (2 * (TILE + GAP), TILE + 22)
    draw.text((right, TILE + 2), answer, "black", ImageFont.load_default(15))
    if word := verdict(path, classifier, prediction):
        draw.text(below, word, COLORS[word], ImageFont.load_default(15))
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--columns", type=int, default=3)
    options = parser.parse_args()
    classifier = Classifier.load(options.model)
    cells = [cell(path, classifier) for path in find_images(options.folder)]
    width, height = cells[0].size
    rows = -(-len(cells) // options.columns)
    sheet = Image.new("RGB", (options.columns * (width + 4 * GAP) - 4 * GAP, rows * height), "white")
    for i, picture in enumerate(cells):
        sheet.paste(picture, (i % options.columns * (width + 4 * GAP), i // options.columns * height))
    sheet.save(options.output, optimize=True)


if __name__ == "__main__":
    main()
