"""An epoch of the recipe `improved`: our loop against a plain one, in one run.

    python benchmarks/training_speed.py [--images 6000] [--rounds 3] [--json]

The plain loop is what student projects write: a Dataset with PIL images, torchvision's transforms one image at a time, a
DataLoader, float32, the default memory layout. Network, optimiser, batch size and augmentation are the same. Both loops
alternate; the ratio is that of the medians. Times are of an epoch over so many images, without validation.
"""

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from fmnist_train.data import Split, find_dataset
from fmnist_train.loop import Training
from fmnist_train.models import build_model
from fmnist_train.recipes import RECIPES, Recipe

WORKERS = 2


class Pictures(Dataset):
    """PIL images, transformed one at a time; ``255 *`` because our networks take pixels."""

    def __init__(self, split: Split, recipe: Recipe) -> None:
        a = recipe.augmentation
        affine = transforms.RandomAffine(a.rotation, (a.translation, a.translation), a.scale)
        self.split, self.transform = split, transforms.Compose([affine, transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return 255 * self.transform(Image.fromarray(self.split.images[index])), int(self.split.labels[index])


class PlainLoop:
    """The loop of a tutorial."""

    def __init__(self, split: Split, recipe: Recipe) -> None:
        self.loader = DataLoader(Pictures(split, recipe), recipe.batch_size, shuffle=True, num_workers=WORKERS)
        self.model = build_model(recipe.model)
        self.optimiser = torch.optim.Adam(
            self.model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.criterion = nn.CrossEntropyLoss()

    def epoch(self) -> float:
        start, total = time.perf_counter(), 0.0
        self.model.train()
        for images, labels in self.loader:
            self.optimiser.zero_grad()
            loss = self.criterion(self.model(images), labels)
            loss.backward()
            self.optimiser.step()
            total += loss.item()
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    source = find_dataset(options.data)
    everything = source.load("train")
    split = everything.take(np.arange(min(options.images, len(everything))))
    recipe = dataclasses.replace(
        RECIPES["improved"], epochs=options.rounds + 1, validation=0, patience=0, scheduler="none"
    )
    plain, seconds = PlainLoop(split, recipe), {"plain": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        about = {"labels": list(source.labels), "dataset": source.name}
        ours = Training(recipe, split, split.take(np.arange(0)), Path(folder), device=torch.device("cpu"), about=about)
        ours.run(lambda epoch: (seconds["ours"].append(epoch.seconds), seconds["plain"].append(plain.epoch())))
    times = {name: median(values[1:]) for name, values in seconds.items()}  # the first round warms up
    result = {
        **times,
        "ratio": times["plain"] / times["ours"],
        "images": len(split),
        "threads": torch.get_num_threads(),
    }
    if options.json:
        print(json.dumps(result))
        return
    print(f"plain loop {times['plain']:.2f} s, ours {times['ours']:.2f} s: {result['ratio']:.2f} times faster")


if __name__ == "__main__":
    main()
