"""What the class weights of the study's detectors hold: noise of their start, what all categories share, attributes.

    python benchmarks/class_weights.py shapes-study/seed-*      (after benchmarks/shapes_study.sh)

A category of `shapes` is a hue, a texture and a shape, as its name says. A ridge regression from the class weights of
one half of the categories to these attributes is asked for those of the other half; that is how much a linear T could
know about categories whose masks it never saw. No mask is read.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch
from mean_of_tables import mean_and_spread
from side_by_side import print_table
from torch import Tensor

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import DetectConfig
from maskx_pipeline.detection.class_weights import ClassWeights, class_weights
from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.engine.loop import seed_step
from maskx_pipeline.provenance.run_folder import read_run
from maskx_pipeline.transfer.embedding.class_embedding import principal_components
from maskx_pipeline.transfer.embedding.class_weights import ClassWeightVectors

KINDS = ("cls", "box", "cls+box")
ATTRIBUTES = ("hue", "texture", "shape")
COMPONENTS, COMPONENT_STD = 16, 0.3
_RIDGE = 0.1  # relative to the mean squared length of the rows


def initial_class_weights(run_folder: Path, categories: int) -> ClassWeights:
    """The class weights of the detector before its first step: the same seed and settings give the same numbers."""
    config = DetectConfig.from_mapping(read_run(run_folder, stage="detect")["config"], source=str(run_folder))
    seed_step(config.seed, -1)
    return class_weights(build_detector(num_classes=categories + 1, **detector_arguments(config)))


def decoded(rows: Tensor, values: Tensor, train: Tensor) -> float:
    """How many of the rows not in ``train`` a ridge regression from those in ``train`` gets right, in percent.

    Args:
        rows (FloatTensor[K, D]): The class embedding.
        values (int64 [K]): The attribute.
        train (bool [K]): The half that is learned from.
    """
    rows = rows.double() - rows.double().mean(dim=0)  # over all categories, which all have boxes
    wanted = torch.nn.functional.one_hot(values).double()
    known, offset = rows[train], wanted[train].mean(dim=0)
    gram = known @ known.T
    gram += _RIDGE * gram.diagonal().mean() * torch.eye(len(known), dtype=torch.float64)
    guess = rows @ known.T @ torch.linalg.solve(gram, wanted[train] - offset) + offset
    right = guess.argmax(dim=1) == values
    return 100 * right[~train].double().mean().item()


def figures(project: Path) -> dict[str, list[float]]:
    """The numbers of one seed, by kind of class embedding."""
    with RoICache(project / "runs" / "cache.h5") as cache:
        weights, names = cache.class_weights, [category.name for category in cache.categories]
    seen = set((project / "data" / "shapes" / "seen.txt").read_text(encoding="utf-8").splitlines())
    half = torch.tensor([name in seen for name in names])
    words = [sorted(set(column)) for column in zip(*(name.split() for name in names), strict=True)]
    values = torch.tensor([[words[n].index(word) for n, word in enumerate(name.split())] for name in names]).T
    start = initial_class_weights(project / "runs" / "detector", len(names))
    found = {}
    for kind in KINDS:
        rows, first = (ClassWeightVectors(kind).vectors(each) for each in (weights, start))
        correlation = torch.corrcoef(torch.stack([rows.flatten(), first.flatten()]))[0, 1].item()
        mean = rows.mean(dim=0)
        common = 100 * (mean.square().sum() / rows.square().sum(dim=1).mean()).item()
        variances = torch.linalg.svdvals((rows - mean).double()).square()
        kept = 100 * (variances[:COMPONENTS].sum() / variances.sum()).item()
        components = principal_components(rows, components=COMPONENTS, std=COMPONENT_STD).scores
        both = [
            statistics.mean(decoded(what, column, train) for train in (half, ~half))
            for what in (rows, components)
            for column in values
        ]
        found[kind] = [correlation, common, kept, *both]
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("projects", type=Path, nargs="+", help="Project folders of the study, one a seed.")
    seeds = [figures(project) for project in parser.parse_args().projects]
    header = [
        f"{len(seeds)} seeds",
        "correlation with the start",
        "common to all, %",
        f"in {COMPONENTS} components, %",
        *(f"{attribute}, {what}, %" for what in ("raw", "components") for attribute in ATTRIBUTES),
    ]
    rows = []
    for kind in KINDS:
        columns = list(zip(*(seed[kind] for seed in seeds), strict=True))
        digits = [2] + [0] * (len(columns) - 1)
        rows.append([f"`{kind}`", *map(mean_and_spread, columns, digits)])
    print_table(header, rows)


if __name__ == "__main__":
    main()
