"""Share of photos that are classified correctly: by kind of photo and by class, with the reject option off and on.

    python benchmarks/studies/photos.py FOLDER [--model FILE] [--careful | --naive resized | --naive inverted] [--json | --readme]

Photos lie in ``FOLDER/<kind>/<answers>/<photo>``: ``answers`` lists the accepted classes joined by ``+``
(``pullover+coat``), or is ``none`` where a rejection is correct. Photos take the path of `fmnist-infer`; `--naive` replaces
the preprocessing by conversion to gray and resizing to 28×28, optionally inverted. `--readme` measures all four ways, and all
shipped models; it writes `benchmarks/results/photos.json`, `photos_by_model.json` and the tables in `docs/accuracy.md` and
README.md.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tables import NAMES, RESULTS, ROOT, write_tables

from fmnist_runtime import Classifier, ImageError
from fmnist_runtime.files import write_atomically
from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.image_io.sources import find_images
from fmnist_train.data.photos import slug
from fmnist_train.evaluation.metrics import calibration_error

WAYS: dict[str, dict[str, Any]] = {
    "the photo resized (`--naive resized`)": {"method": "resized"},
    "resized and inverted (`--naive inverted`)": {"method": "inverted"},
    "**as it ships**": {},
    "as it ships, `--careful`": {"careful": True},
}
"""Rows of the table in ``docs/accuracy.md``, each with the same model."""


def naive(path: Path, *, inverted: bool) -> np.ndarray:
    """Returns the photo in gray, resized to uint8 ``[28, 28]``, as most Fashion-MNIST projects do."""
    pixels = np.asarray(open_image(path).convert("L").resize((28, 28), Image.Resampling.BILINEAR))
    return 255 - pixels if inverted else pixels


def measure(folder: Path, classifier: Classifier, method: str | None = None) -> dict[str, dict[str, float]]:
    """Counts photos for each ``kind`` and ``kind/answers``.

    Returns:
        Rows with ``photos``, ``right`` (correct, rejection ignored), ``kept`` (accepted) and ``right_of_kept`` (correct
        among accepted). Rows of kinds also have ``class_mean``, the mean accuracy over their answers, ``ece``, the
        expected calibration error of the first answer's probability, and ``ece_by_chance`` (see there); all ignore the
        rejection.
    """
    table: dict[str, dict[str, float]] = {}
    answered: dict[str, list[tuple[float, bool]]] = {}
    for path in find_images(folder):
        kind, answers = path.relative_to(folder).parts[:2]
        if unknown := set(answers.split("+")) - {"none", *map(slug, classifier.labels)}:
            raise SystemExit(f"error: {path}: no class is called {unknown.pop()}; give the folder that holds the kinds")
        try:
            prediction = classifier(naive(path, inverted=method == "inverted") if method else path)
        except ImageError as error:
            raise SystemExit(f"error: {path}: {error}") from error
        right = slug(prediction.top[0].label) in answers.split("+")
        answered.setdefault(kind, []).append((prediction.top[0].probability, right))
        for row in (kind, f"{kind}/{answers}"):
            counts = table.setdefault(row, {"photos": 0, "right": 0, "kept": 0, "right_of_kept": 0})
            counts["photos"] += 1
            counts["right"] += right
            counts["kept"] += not prediction.rejected
            counts["right_of_kept"] += right and not prediction.rejected
    for kind, pairs in answered.items():
        rows = [counts for row, counts in table.items() if row.startswith(f"{kind}/")]
        table[kind]["class_mean"] = float(np.mean([counts["right"] / counts["photos"] for counts in rows]))
        confidence, correct = (np.array(column) for column in zip(*pairs, strict=True))
        table[kind] |= {"ece": calibration_error(confidence, correct), "ece_by_chance": ece_by_chance(confidence)}
    return table


def ece_by_chance(confidence: np.ndarray, draws: int = 500) -> float:
    """Returns the mean calibration error that perfectly calibrated probabilities have on as many photos.

    Few photos in a bin differ from its confidence by chance, so the error of a small set is never near 0.
    """
    random = np.random.default_rng(0)
    errors = [calibration_error(confidence, random.random(len(confidence)) < confidence) for _ in range(draws)]
    return float(np.mean(errors))


def show(table: dict[str, dict[str, float]]) -> None:
    """Prints the table, one row for each kind, then one for each kind and answer."""
    only_none = {kind for kind in table if {r for r in table if r.startswith(kind + "/")} == {f"{kind}/none"}}
    print(f"{'':<28}{'photos':>7}{'correct':>8}{'coverage':>10}{'of accepted':>15}{'class mean':>12}{'ECE':>7}")
    for row, counts in sorted(table.items(), key=lambda item: ("/" in item[0], item[0])):
        photos, kept = counts["photos"], counts["kept"]
        none = row.endswith("/none") or row in only_none
        right = f"{'-':>8}" if none else f"{counts['right'] / photos:8.1%}"
        of_kept = f"{counts['right_of_kept'] / kept:15.1%}" if kept and not none else f"{'-':>15}"
        whole = "" if none or "class_mean" not in counts else f"{counts['class_mean']:12.1%}{counts['ece']:7.1%}"
        print(f"{row:<28}{photos:7}{right}{kept / photos:10.1%}{of_kept}{whole}")


def write_results(folder: Path, model: str | None) -> None:
    """Measures all ``WAYS`` with one model, and all shipped models; writes the results and their tables."""
    ways = {
        name: measure(folder, Classifier.load(model, careful=way.get("careful", False)), way.get("method"))
        for name, way in WAYS.items()
    }
    models = {name: measure(folder, Classifier.load(ROOT / "artifacts" / name / "model.int8.onnx")) for name in NAMES}
    write_atomically(RESULTS / "photos.json", json.dumps(ways, indent=1) + "\n")
    write_atomically(RESULTS / "photos_by_model.json", json.dumps(models, indent=1) + "\n")
    write_tables("photos", "photos by class", "which model")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model")
    view = parser.add_mutually_exclusive_group()
    view.add_argument("--careful", action="store_true")
    view.add_argument("--naive", choices=["resized", "inverted"])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    if options.readme:
        write_results(options.folder, options.model)
        return
    table = measure(options.folder, Classifier.load(options.model, careful=options.careful), options.naive)
    if options.json:
        print(json.dumps(table))
    else:
        show(table)


if __name__ == "__main__":
    main()
