"""How many photos are answered right: by kind of photo, with the reject option on and off.

    python benchmarks/photos.py FOLDER [--model FILE] [--careful]

``FOLDER/<kind>/<answers>/<photo>``: ``answers`` lists the accepted classes joined by ``+`` (``pullover+coat``), ``none``
where a rejection is right.
"""

import argparse
import json
from pathlib import Path

from fmnist_runtime import Classifier, ImageError
from fmnist_runtime.images import find_images


def slug(label: str) -> str:
    return label.lower().replace("-", "").replace("/", "-").replace(" ", "-")  # T-shirt/top is tshirt-top


def measure(folder: Path, classifier: Classifier) -> dict[str, dict[str, float]]:
    """Counts by kind: ``photos``, ``right`` (no rejection), ``kept``, ``right_of_kept``."""
    table: dict[str, dict[str, float]] = {}
    for path in find_images(folder):
        kind, answers = path.relative_to(folder).parts[:2]
        row = table.setdefault(kind, {"photos": 0, "right": 0, "kept": 0, "right_of_kept": 0})
        try:
            prediction = classifier(path)
        except ImageError as error:
            raise SystemExit(f"error: {path}: {error}") from error
        right = slug(prediction.top[0].label) in answers.split("+")
        row["photos"] += 1
        row["right"] += right
        row["kept"] += not prediction.rejected
        row["right_of_kept"] += right and not prediction.rejected
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--careful", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    table = measure(options.folder, Classifier.load(options.model, careful=options.careful))
    if options.json:
        print(json.dumps(table))
        return
    print(f"{'kind':<10}{'photos':>7}{'right':>8}{'coverage':>10}{'right of kept':>15}")
    for kind, row in table.items():
        kept = f"{row['right_of_kept'] / row['kept']:15.1%}" if row["kept"] else f"{'-':>15}"
        print(
            f"{kind:<10}{row['photos']:7}{row['right'] / row['photos']:8.1%}{row['kept'] / row['photos']:10.1%}{kept}"
        )


if __name__ == "__main__":
    main()
