"""A learned segmentation in place of the color search: trains it, and measures photos and time with either.

    python benchmarks/studies/segmentation.py train ../shared/photos/train --cache FOLDER [--round 2]
    python benchmarks/studies/segmentation.py evaluate ../shared/photos/dev --cache FOLDER

Round 1 learns the masks of the color search, where the classifier's answer through the mask is an accepted one. Round 2 goes
on from there: for each photo the mask of the color search or of round 1 is the target, by the probability of the accepted
answers; and the loss of the frozen classifier on the crop is added. `evaluate` puts each network, as int8, into the
runtime's pipeline; it writes `benchmarks/results/segmentation.json`.
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from photos import measure
from PIL import Image
from segmentation_augmentation import Sample, change
from segmentation_network import (
    HALF,
    SIDE,
    Segment,
    SegmentationNetwork,
    canvas,
    classifier_inputs,
    int8_log_odds,
    macs,
    segmentations,
    to_int8,
)
from tables import RESULTS, ROOT
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_runtime import Classifier
from fmnist_runtime.files import write_atomically
from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.image_io.sources import find_images
from fmnist_runtime.preprocessing import pipeline
from fmnist_runtime.preprocessing.person import remove_person
from fmnist_runtime.preprocessing.segmentation import segment
from fmnist_train.checkpoint import load_checkpoint
from fmnist_train.data.photos import read_photos

CLASSIFIER = ROOT / "artifacts" / "improved"


@dataclass(frozen=True)
class Round:
    """Settings of one round of training."""

    steps: int
    batch: int = 32
    rate: float = 3e-3
    """Learning rate; it rises for 100 steps and falls linearly in the last 40%."""
    weight_decay: float = 0.01
    average: float = 0.995
    """Decay of the moving average of the weights, which is what is evaluated."""
    classifier: float = 0.0
    """Weight of the classifier's loss on the crop."""


ROUNDS = {1: Round(900), 2: Round(900, rate=1.5e-3, classifier=0.2)}


def targets(folder: Path, cache: Path, network: SegmentationNetwork | None) -> Sample:
    """Returns the training photos with their targets, from the cache if they are there.

    Args:
        folder: holds ``train.csv``.
        cache: folder of the arrays.
        network: of the round before; None for the first.
    """
    file = cache / f"targets{1 if network is None else 2}.npz"
    if file.is_file():
        return Sample(**np.load(file))
    classifier = Classifier.load(CLASSIFIER / "model.int8.onnx")
    photos = [photo for photo in read_photos(folder, classifier.labels) if photo.answers]
    ways: list[Segment] = [segment]
    if network is not None:
        model = to_int8(network, _calibration(cache))
        ways.append(segmentations(int8_log_odds(model))["network"])
    rows: dict[str, list[Any]] = {name: [] for name in Sample.__dataclass_fields__}
    for photo in photos:
        image = open_image(photo.path)
        rgb, _ = pipeline._working_image(image)
        answers = np.isin(np.arange(10), photo.answers)
        choices = []
        for way in ways:
            mask, plain = way(rgb)
            mask = remove_person(rgb, mask) if plain and mask.any() else mask
            with patch.object(pipeline, "_garment_mask", return_value=(mask, True)):
                logits, probabilities = classifier.run(pipeline.to_network_input(image)[None, None])
            choices.append((answers[logits[0].argmax()], probabilities[0] @ answers, mask))
        right, _, mask = max(choices, key=lambda choice: choice[:2])
        padded = np.zeros((SIDE, SIDE), bool)
        padded[: mask.shape[0], : mask.shape[1]] = mask
        for name, value in (
            ("rgb", canvas(rgb).reshape(3, SIDE, SIDE)),
            ("mask", padded),
            ("size", rgb.shape[:2]),
            ("trusted", right),
            ("answers", answers),
        ):
            rows[name].append(value)
    sample = Sample(**{name: np.stack(values) for name, values in rows.items()})
    np.savez(file, **vars(sample))
    return sample


def train(sample: Sample, settings: Round, start: SegmentationNetwork | None, checkpoint: Path) -> SegmentationNetwork:
    """Trains one round; goes on from ``checkpoint`` where it exists."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = SegmentationNetwork().to(memory_format=torch.channels_last)
    average = SegmentationNetwork()
    if start is not None:
        network.load_state_dict(start.state_dict())
    average.load_state_dict(network.state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), settings.rate, weight_decay=settings.weight_decay)
    states: dict[str, Any] = {"network": network, "average": average, "optimizer": optimizer}
    step, seconds = 0, 0.0
    if checkpoint.is_file():
        saved = torch.load(checkpoint)
        step, seconds = saved["step"], saved["seconds"]
        for name, part in states.items():
            part.load_state_dict(saved[name])
    classifier = load_checkpoint(CLASSIFIER).model.requires_grad_(False)
    losses: list[list[float]] = []
    while step < settings.steps:
        began = time.process_time()
        rng = np.random.default_rng([int(1e6 * settings.rate), step])
        optimizer.param_groups[0]["lr"] = settings.rate * min((step + 1) / 100, (1 - step / settings.steps) / 0.4, 1)
        batch = change(sample.take(rng.choice(len(sample.size), settings.batch, replace=False)), rng)
        parts = _losses(network.train(), batch, classifier if settings.classifier else None)
        optimizer.zero_grad()
        torch.autograd.backward(parts[0] + parts[1] + settings.classifier * parts[2])
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        _average(average, network, min(settings.average, (1 + step) / (10 + step)))
        losses.append([float(part.detach()) for part in parts])
        step += 1
        seconds += time.process_time() - began
        if step % 100 == 0 or step == settings.steps:
            print(step, f"{seconds:.0f} s", *np.mean(losses, axis=0).round(4), flush=True)
            losses = []
            state = {name: part.state_dict() for name, part in states.items()} | {"step": step, "seconds": seconds}
            torch.save(state, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)
    return average.eval()


def _losses(network: nn.Module, batch: Sample, classifier: nn.Module | None) -> tuple[Tensor, Tensor, Tensor]:
    """Returns binary cross-entropy and Dice loss over trusted masks, and the classifier's loss over all photos."""
    with torch.autocast("cpu", torch.bfloat16):
        log_odds = network(torch.from_numpy(batch.rgb.reshape(-1, 1, 3 * SIDE, SIDE)))[:, 0].float()
    target = torch.from_numpy(batch.mask[:, ::2, ::2]).float()
    inside = torch.zeros(len(target), HALF, HALF)
    for number, (height, width) in enumerate(batch.size.tolist()):
        inside[number, : (height + 1) // 2, : (width + 1) // 2] = 1
    weight = inside * torch.from_numpy(batch.trusted).float()[:, None, None]
    entropy = (F.binary_cross_entropy_with_logits(log_odds, target, reduction="none") * weight).sum() / weight.sum()
    chance = torch.sigmoid(log_odds) * weight
    overlap = (2 * (chance * target).sum((1, 2)) + 1) / (chance.sum((1, 2)) + (target * weight).sum((1, 2)) + 1)
    dice = 1 - overlap[torch.from_numpy(batch.trusted)].mean()
    if classifier is None:
        return entropy, dice, torch.zeros(())
    images, found = classifier_inputs(log_odds, batch.rgb, batch.size)
    likely = torch.log_softmax(classifier(images), dim=1)
    accepted = torch.from_numpy(batch.answers[found])
    return entropy, dice, -torch.logsumexp(likely.masked_fill(~accepted, -torch.inf), dim=1).mean()


@torch.no_grad()
def _average(average: nn.Module, network: nn.Module, decay: float) -> None:
    for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


@contextmanager
def replaced(way: Segment) -> Iterator[None]:
    """Puts another segmentation into the runtime's pipeline."""
    with patch.object(pipeline, "segment", way):
        yield


def evaluate(folder: Path, cache: Path, classifier: Classifier) -> dict[str, Any]:
    """Measures dev photos and time with the color search and with each trained network, as int8."""
    ways: dict[str, Segment] = {"color search": segment}
    about: dict[str, Any] = {}
    training: dict[str, Any] = {}
    for name in ROUNDS:
        if (cache / f"round{name}.pt").is_file():
            network = load_network(cache / f"round{name}.pt")
            model = to_int8(network, _calibration(cache))
            about = {"weights": sum(p.numel() for p in network.parameters()), "macs": macs(network)}
            about["bytes"] = len(model.SerializeToString())
            state = torch.load(cache / f"training{name}.pt")
            training[f"round {name}"] = vars(ROUNDS[name]) | {key: state[key] for key in ("step", "seconds")}
            ways |= {f"round {name}: {way}": found for way, found in segmentations(int8_log_odds(model)).items()}
    rows: dict[str, Any] = {}
    for way, chosen in ways.items():
        with replaced(chosen):
            table = measure(folder, classifier)
        rows[way] = {kind: table[kind] for kind in ("wild", "product", "ood")}
        print(_line(way, rows[way]), flush=True)
    timed = {way: chosen for way, chosen in ways.items() if not way.startswith("round 1")}
    return about | {"training": training, "photos": rows, "milliseconds": times(folder, timed)}


def _calibration(cache: Path) -> np.ndarray:
    """Returns 459 training photos, uint8 ``[N, 384, 128]``, for the ranges of the activations."""
    images: np.ndarray = np.load(cache / "targets1.npz")["rgb"][::6]
    return images.reshape(-1, 3 * SIDE, SIDE)


def _line(way: str, row: dict[str, dict[str, float]]) -> str:
    own, shop = row["wild"], row["product"]
    shares = [own["right"] / own["photos"], own["class_mean"], shop["right"] / shop["photos"], shop["class_mean"]]
    return f"| {way} | " + " | ".join(f"{share:.1%}" for share in shares) + " |"


def times(folder: Path, ways: dict[str, Segment]) -> dict[str, dict[str, float]]:
    """Returns milliseconds of ``to_network_input``: the least of five calls, the median over every fourth photo.

    All ways take turns on each photo; decoding is excluded. "mask at no cost" is the rest of the pipeline: what any
    segmentation leaves.
    """
    result: dict[str, dict[str, float]] = {}
    for kind in ("wild", "product"):
        measured: dict[str, list[float]] = {}
        for path in list(find_images(folder / kind))[::4]:
            image = open_image(path)
            known = segment(pipeline._working_image(image)[0])
            every = ways | {"mask at no cost": lambda _, known=known: known}
            calls = [{way: _milliseconds(chosen, image) for way, chosen in every.items()} for _ in range(5)]
            for way in every:
                measured.setdefault(way, []).append(min(call[way] for call in calls))
        for way, values in measured.items():
            result.setdefault(way, {})[kind] = float(np.median(values))
            print(f"{kind}: {way}: {result[way][kind]:.2f} ms", flush=True)
    return result


def _milliseconds(way: Segment, image: Image.Image) -> float:
    with replaced(way):
        began = time.perf_counter()
        pipeline.to_network_input(image)
        return 1e3 * (time.perf_counter() - began)


def load_network(file: Path) -> SegmentationNetwork:
    """Returns the network of a finished round."""
    network = SegmentationNetwork()
    network.load_state_dict(torch.load(file))
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["train", "evaluate"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="folder of targets, checkpoints and networks")
    parser.add_argument("--round", type=int, default=1, choices=ROUNDS)
    parser.add_argument("--classifier", type=Path, default=CLASSIFIER / "model.int8.onnx")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    if options.command == "train":
        start = load_network(options.cache / "round1.pt") if options.round == 2 else None
        sample = targets(options.folder, options.cache, start)
        print(f"{len(sample.size)} photos, {sample.trusted.mean():.1%} with a trusted mask", flush=True)
        network = train(sample, ROUNDS[options.round], start, options.cache / f"training{options.round}.pt")
        torch.save(network.state_dict(), options.cache / f"round{options.round}.pt")
        return
    document = evaluate(options.folder, options.cache, Classifier.load(options.classifier))
    write_atomically(RESULTS / "segmentation.json", json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
