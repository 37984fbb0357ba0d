"""Calibration of a model's confidence on garments, and rejection of images that show no garment.

    python benchmarks/studies/confidence.py [MODEL ...] [--photos FOLDER] [--validation] [--json] [--readme]

Needs the extra `bench` (scikit-image and scikit-learn contain the images). For each model, on the test images: accuracy,
expected calibration error (15 bins), negative log-likelihood and coverage. For each kind of other images: the AUROC against
the test images, the share accepted at the threshold that accepts 95% of the garments, and the share accepted at the model's
own threshold. Photos of other things are compared with the photos of garments in FOLDER instead. Images take the path of
`fmnist-infer`: 28×28 gray images enter the network directly, others pass the preprocessing.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.metrics import roc_auc_score
from tables import RESULTS, write_tables

from fmnist_runtime import Classifier
from fmnist_runtime.files import write_atomically
from fmnist_runtime.image_io.sources import find_images
from fmnist_runtime.reject import RejectRule
from fmnist_train.data.sources import find_dataset, split_validation
from fmnist_train.evaluation.metrics import expected_calibration_error, softmax
from fmnist_train.training.run import SPLIT_SEED

COUNT = 300
"""Images of each kind that is generated or cropped at random."""


def other_images(rng: np.random.Generator) -> dict[str, list[Image.Image]]:
    """Returns images that show no garment, by kind."""
    return {
        "handwritten digits": list(digits()),
        "noise": [Image.fromarray(rng.integers(0, 256, (28, 28), dtype=np.uint8)) for _ in range(COUNT)],
        "flat tones": [Image.new("L", (28, 28), tone) for tone in range(256)],
        "frames of noise": [frame(rng, np.full(3, 128), deviation) for deviation in np.linspace(5, 100, COUNT)],
        "blank frames": [frame(rng, rng.integers(0, 256, 3), rng.uniform(0, 5)) for _ in range(COUNT)],
        "text": [text(rng) for _ in range(COUNT)],
        "textures": list(crops(rng, "brick", "grass", "gravel")),
        "faces": list(faces()),
        "scenes": list(crops(rng, "astronaut", "chelsea", "coffee", "rocket", "coins", "hubble_deep_field", "retina")),
        "scanned letters": [sheet(rng, (600, 850)) for _ in range(COUNT)],
        "receipts on a table": [receipt(rng) for _ in range(COUNT)],
        "photographed writing": list(crops(rng, "page", "text")),
    }


def frame(rng: np.random.Generator, color: np.ndarray, deviation: float) -> Image.Image:
    """Returns a camera frame without an object: one color with sensor noise, in one of four common sizes."""
    size = ((480, 640), (640, 480), (1080, 1920), (300, 300))[rng.integers(4)]
    pixels = color + deviation * rng.standard_normal((*size, 3), np.float32)
    return Image.fromarray(np.rint(pixels.clip(0, 255)).astype(np.uint8))


def digits() -> Iterator[Image.Image]:
    """Yields the 1,797 handwritten digits of scikit-learn, enlarged from 8×8 to 28×28, light on black as the garments are."""
    from sklearn.datasets import load_digits

    for pixels in load_digits().images:
        small = Image.fromarray(np.rint(pixels * (255 / 16)).astype(np.uint8))
        yield small.resize((28, 28), Image.Resampling.BICUBIC)


def text(rng: np.random.Generator) -> Image.Image:
    """Returns one to three lines of letters, dark on light."""
    picture = Image.new("L", (200, 120), int(rng.integers(190, 256)))
    lines = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz  "), 14)) for _ in range(rng.integers(1, 4))]
    ImageDraw.Draw(picture).multiline_text(
        (10, 15), "\n".join(lines), int(rng.integers(0, 90)), ImageFont.load_default(22)
    )
    return picture


def sheet(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Returns a sheet of paper with lines of words, dark on light, which may end anywhere on it."""
    picture = Image.new("RGB", size, (int(rng.integers(225, 256)),) * 3)
    draw, height = ImageDraw.Draw(picture), int(rng.integers(12, 25))
    left, bottom = int(rng.uniform(0.05, 0.15) * size[0]), int(rng.uniform(0.4, 0.95) * size[1])
    for top in range(left, bottom, int(1.4 * height)):
        words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(2, 10))) for _ in range(20)]
        longest = int((size[0] - 2 * left) / (0.5 * height))
        line = " ".join(words)[: int(longest * rng.uniform(0.5, 1))]
        draw.text((left, top), line, (int(rng.integers(0, 80)),) * 3, ImageFont.load_default(height))
    return picture


def receipt(rng: np.random.Generator) -> Image.Image:
    """Returns a narrow sheet, a little rotated, on a table of one color."""
    width = int(rng.integers(140, 260))
    paper = sheet(rng, (width, int(width * rng.uniform(1.4, 3))))
    turned = paper.convert("RGBA").rotate(rng.uniform(-15, 15), Image.Resampling.BICUBIC, expand=True)
    table = frame(rng, rng.integers(20, 170, 3), 4).resize((turned.width + 200, turned.height + 200))
    table.paste(turned, (100, 100), turned)
    return table


def crops(rng: np.random.Generator, *names: str) -> Iterator[Image.Image]:
    """Yields random square crops of images of scikit-image, at least 60 pixels wide."""
    from skimage import data

    pictures = [np.asarray(getattr(data, name)()) for name in names]
    for i in range(COUNT):
        pixels = pictures[i % len(pictures)]
        side = int(rng.integers(60, min(pixels.shape[:2]) + 1))
        top, left = (int(rng.integers(0, size - side + 1)) for size in pixels.shape[:2])
        yield Image.fromarray(pixels[top : top + side, left : left + side])


def faces() -> Iterator[Image.Image]:
    """Yields the 100 faces of scikit-image's subset of Labeled Faces in the Wild, enlarged from 25×25."""
    from skimage import data

    for pixels in data.lfw_subset()[:100]:  # type: ignore[no-untyped-call,unused-ignore]  # scikit-image has no types
        yield Image.fromarray((pixels * 255).astype(np.uint8)).resize((100, 100), Image.Resampling.BICUBIC)


def scores(classifier: Classifier, inputs: np.ndarray, rule: RejectRule) -> np.ndarray:
    """Returns the reject option's scores of uint8 ``[N, 28, 28]``; a large negative number for a blank image."""
    logits, probabilities = classifier.run(inputs[:, None])
    return rule.scores(inputs, logits, probabilities).clip(min=-1e6)


def photo_scores(classifier: Classifier, folder: Path, rule: RejectRule) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores of the photos of garments, and of those in folders named `none`."""
    garments: list[np.ndarray] = []
    others: list[np.ndarray] = []
    for path in find_images(folder):
        (others if path.parent.name == "none" else garments).append(classifier.prepare(path)[0])
    return scores(classifier, np.stack(garments), rule), scores(classifier, np.stack(others), rule)


def separation(garments: np.ndarray, others: np.ndarray, threshold: float) -> dict[str, float]:
    """Compares the scores of garments with those of other images."""
    truth = np.concatenate([np.ones(len(garments)), np.zeros(len(others))])
    return {
        "pictures": len(others),
        "auroc": float(roc_auc_score(truth, np.concatenate([garments, others]))),
        "accepted_at_95": float((others >= np.quantile(garments, 0.05)).mean()),
        "accepted": float((others >= threshold).mean()),
    }


def evaluate(model: str | None, photos: Path | None, *, validation: bool) -> dict[str, dict[str, float]]:
    """Returns all figures of one model."""
    classifier = Classifier.load(model)
    rule = RejectRule.from_metadata(classifier.metadata.reject)
    if rule is None:
        raise SystemExit(f"error: {model} has no reject rule; export it again")
    source = find_dataset("fashion-mnist")
    split = split_validation(source.load("train"), 5000, SPLIT_SEED)[1] if validation else source.load("test")
    logits, probabilities = classifier.run(split.images[:, None])
    correct = probabilities.argmax(1) == split.labels
    known = rule.scores(split.images, logits, probabilities)
    probabilities = softmax(logits, classifier.metadata.temperature)
    figures: dict[str, dict[str, float]] = {
        "garments": {
            "pictures": len(correct),
            "accuracy": float(correct.mean()),
            "ece": expected_calibration_error(probabilities, split.labels),
            "nll": float(-np.log(probabilities[np.arange(len(correct)), split.labels]).mean()),
            "accepted": float((known >= rule.threshold).mean()),
            "accuracy_of_accepted": float(correct[known >= rule.threshold].mean()),
        }
    }
    for kind, pictures in other_images(np.random.default_rng(0)).items():
        inputs = np.stack([classifier.prepare(picture)[0] for picture in pictures])
        figures[kind] = separation(known, scores(classifier, inputs, rule), rule.threshold)
    if photos:
        figures["photos of other things"] = separation(*photo_scores(classifier, photos, rule), rule.threshold)
    return figures


def show(model: str, figures: dict[str, dict[str, float]]) -> None:
    """Prints the figures of one model."""
    garments = figures["garments"]
    print(
        f"{model}: accuracy {garments['accuracy']:.2%}, ECE {garments['ece']:.2%}, NLL {garments['nll']:.4f}; "
        f"accepts {garments['accepted']:.1%}, of which {garments['accuracy_of_accepted']:.2%} are correct"
    )
    print(f"{'not a garment':<24}{'pictures':>9}{'AUROC':>8}{'accepted at 95%':>17}{'accepted':>10}")
    for kind, row in figures.items():
        if kind != "garments":
            print(
                f"{kind:<24}{row['pictures']:9}{row['auroc']:8.4f}{row['accepted_at_95']:17.1%}{row['accepted']:10.1%}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[None], metavar="MODEL")
    parser.add_argument("--photos", type=Path, metavar="FOLDER")
    parser.add_argument("--validation", action="store_true", help="use the validation split instead of the test images")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--readme", action="store_true", help="also write the results of the first model and their table"
    )
    options = parser.parse_args()
    results = {m or "default": evaluate(m, options.photos, validation=options.validation) for m in options.models}
    if options.readme:
        first = next(iter(results.values()))
        write_atomically(RESULTS / "confidence.json", json.dumps(first, indent=1) + "\n")
        write_tables("confidence")
    if options.json:
        print(json.dumps(results))
        return
    for model, figures in results.items():
        show(model, figures)


if __name__ == "__main__":
    main()
