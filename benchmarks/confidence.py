"""Which confidence tells good masks from bad ones, by rank correlation with IoU, and what --wanted-iou keeps.

It reads the cache and the runs of design_study.sh; nothing is fitted.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from mean_of_tables import mean_of_seeds
from numpy.typing import NDArray
from side_by_side import print_table

from maskx_pipeline.annotate.fill_masks import expected_iou
from maskx_pipeline.annotate.reliability import MaskScore, least_confidence, reliability
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.engine.device import amp_dtype
from maskx_pipeline.errors import DataError
from maskx_pipeline.transfer.load import load_mask_model
from maskx_pipeline.whole_model import masks_of

DESIGNS = {
    "agnostic": "class-agnostic",
    "linear": "T, linear",
    "rbf-hidden.25": "T, rbf, hidden .25",
    "rbf-hidden.25+boxes": "T, rbf, hidden .25 + boxes",
    "rbf-hidden.25+coordinates+boxes": "T, rbf, hidden .25, coordinates + boxes",
}
DIRECTIONS = {"A": "A -> B", "B": "B -> A"}
WANTED = (0.7, 0.75, 0.8)
TODAY = "expected IoU (mask_confidence)"
Numbers = NDArray[np.float64]


def sides(probs: Numbers) -> Numbers:
    """The share of the four sides of the box that the mask touches."""
    mask = probs > 0.5
    touched = [mask[:, 0].any(1), mask[:, -1].any(1), mask[:, :, 0].any(1), mask[:, :, -1].any(1)]
    return np.mean(touched, axis=0)


def soft_sides(probs: Numbers) -> Numbers:
    """The same with the highest probability along each side."""
    highest = [probs[:, 0].max(1), probs[:, -1].max(1), probs[:, :, 0].max(1), probs[:, :, -1].max(1)]
    return np.mean(highest, axis=0)


def projections(probs: Numbers) -> Numbers:
    """The Dice of the projections onto the two axes against those of the box, which are one everywhere."""
    size = probs.shape[1]
    each = [2 * p.sum(1) / (np.square(p).sum(1) + size) for p in (probs.max(1), probs.max(2))]
    return np.mean(each, axis=0)


def expected(probs: Numbers) -> Numbers:
    """What `maskx annotate` writes."""
    return np.array([expected_iou(torch.from_numpy(one)) for one in probs])


CONFIDENCES: Mapping[str, Callable[[Numbers], Numbers]] = {
    TODAY: expected,
    "sides touched": sides,
    "sides touched, soft": soft_sides,
    "Dice of projections": projections,
    "expected IoU x sides touched": lambda probs: expected(probs) * sides(probs),
    "expected IoU x sides touched, soft": lambda probs: expected(probs) * soft_sides(probs),
    "expected IoU x Dice of projections": lambda probs: expected(probs) * projections(probs),
}


def spearman(first: Numbers, second: Numbers) -> float:
    """The rank correlation; equal values share the mean of their ranks."""
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: Numbers) -> Numbers:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def measured(runs: Path, seeds: list[int]) -> Iterator[tuple[str, str, int, Numbers, Numbers, NDArray[np.bool_]]]:
    """Of each run: design, half with masks, seed, probabilities [N, M, M], IoU [N], seen or not [N]."""
    cpu = torch.device("cpu")
    with RoICache(runs / "cache.h5") as cache:
        group = cache.ground_truth
        rows = np.flatnonzero(group.has_mask != 0)
        targets = cache.read_targets(rows, "ground_truth") != 0
        features = cache.read_features("ground_truth", rows)
        for name in DESIGNS:
            for half in DIRECTIONS:
                for seed in seeds:
                    folder = runs / f"seed-{seed}" / f"{name}@{half}"
                    if not folder.exists():
                        print(f"left out, since it is not there: {folder}", file=sys.stderr)
                        continue
                    model = load_mask_model(folder)
                    parts = (slice(start, start + 128) for start in range(0, len(rows), 128))
                    found = [
                        masks_of(model.mask_model, features[part], group.labels[rows[part]], device=cpu,
                                 amp_dtype=amp_dtype("auto", cpu))
                        for part in parts
                    ]  # fmt: skip
                    probs = torch.cat(found).double().numpy()
                    masks = probs > 0.5
                    union = (masks | targets).sum((1, 2))
                    iou = np.where(union > 0, (masks & targets).sum((1, 2)) / np.maximum(union, 1), 1.0)
                    yield name, half, seed, probs, iou, np.isin(group.labels[rows], sorted(model.seen))


def as_scores(confidence: Numbers, iou: Numbers, seen: NDArray[np.bool_]) -> list[MaskScore]:
    """What annotate's own code takes."""
    return [MaskScore("", bool(s), float(i), float(c)) for c, i, s in zip(confidence, iou, seen, strict=True)]


def calibration_error(scores: list[MaskScore]) -> float:
    """Mean difference of confidence and IoU over ten steps of confidence, by the masks in each; in points."""
    return sum(100 * b.masks * abs(b.confidence - b.iou) for b in reliability(scores)) / len(scores)


def main() -> None:
    """Read the command line, measure, print the tables in Markdown."""
    parser = argparse.ArgumentParser(description="Confidences of masks against their IoU, from fitted runs.")
    parser.add_argument("folder", type=Path, help="The project of photographs that design_study.sh made.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    ranks: dict[tuple[str, str, str], list[float]] = {}
    errors: dict[tuple[str, str, bool], list[float]] = {}
    kept: dict[tuple[str, str, float], list[tuple[float, float, float, float]]] = {}
    objects: dict[str, int] = {}
    for name, half, _, probs, iou, seen in measured(options.folder / "runs", options.seeds):
        for title, confidence in CONFIDENCES.items():
            ranks.setdefault((title, name, half), []).append(spearman(confidence(probs)[~seen], iou[~seen]))
        objects[DIRECTIONS[half]] = int((~seen).sum())
        scores = as_scores(expected(probs), iou, seen)
        for side in (True, False):
            found = calibration_error([score for score in scores if score.seen is side])
            errors.setdefault((name, half, side), []).append(found)
        for wanted in WANTED:
            of_seen = [score for score in scores if score.seen]
            try:
                least = least_confidence(of_seen, wanted, measured_on="val")
            except DataError:
                continue
            others = [score for score in scores if not score.seen]
            sure = [score.iou for score in others if score.confidence >= least.min_confidence]
            figures = (least.kept / len(of_seen), least.iou, len(sure) / len(others), statistics.mean(sure or [0.0]))
            kept.setdefault((name, half, wanted), []).append(figures)
    count = len(options.seeds)
    print(f"Objects of unseen categories: {objects}")
    print("Spearman's rank correlation of confidence and mask IoU on them, x 100:\n")
    columns = [(name, half) for name in DESIGNS for half in DIRECTIONS]
    rows = [
        [
            f"{DESIGNS[name]}, {DIRECTIONS[half]}",
            *(mean_of_seeds([100 * r for r in ranks.get((title, name, half), [])], count) for title in CONFIDENCES),
        ]
        for name, half in columns
    ]
    print_table(["masks from", *CONFIDENCES], rows)
    print("\nMean difference of mask_confidence and IoU, in points, and what --wanted-iou, by seen ones, keeps:\n")
    header = ["masks from", "seen", "unseen"]
    header += [f"{wanted:g}: {what}" for wanted in WANTED for what in ("seen kept", "unseen kept", "unseen IoU")]
    table = []
    for name, half in columns:
        cells = [mean_of_seeds(errors.get((name, half, side), []), count) for side in (True, False)]
        for wanted in WANTED:
            found = kept.get((name, half, wanted), [])
            cells += [mean_of_seeds([100 * figures[at] for figures in found], count) for at in (0, 2, 3)]
        table.append([f"{DESIGNS[name]}, {DIRECTIONS[half]}", *cells])
    print_table(header, table)


if __name__ == "__main__":
    main()
