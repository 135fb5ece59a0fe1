"""Run and print what 8-bit features cost in AP; see eight_bit.sh.

Beside the two caches, each model is fitted once more from the float16 one with another seed of the fit: how far that
moves the AP says how much of a difference is chance.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mean_of_tables import mean_and_spread
from shapes_study import MASKS_ALONE, Command, run_all
from side_by_side import print_machine, print_table

METHODS = {
    "class-agnostic (baseline)": ("agnostic", ("--embedding", "none")),
    "cls+box, published": ("published", ("--embedding", "cls+box", "--form", "published")),
    "cls+box, linear": ("linear", ("--embedding", "cls+box", "--form", "linear")),
}
CACHES = {"float16": "runs/cache.h5", "int8": "runs/cache-int8.h5"}
AGAIN = "float16, another seed of the fit"
FEATURES = ("float16", "int8", AGAIN)
OTHER_SEED = 100  # added to the seed of the fit
ROIS = 2048


def stage1(seed: int) -> list[Command]:
    """A detector, and both caches of it."""
    number = ("--seed", str(seed))
    exports = [("export-embeddings", *number, "--feature-dtype", dtype, "--out", CACHES[dtype]) for dtype in CACHES]
    return [({}, ("detect", "train", *number)), *(({}, export) for export in exports)]


def stage2(seed: int) -> Iterator[tuple[str, list[Command]]]:
    """The models of a seed, by name: fitted and evaluated."""
    for name, options in METHODS.values():
        for features in FEATURES:
            run = run_name(name, features)
            cache = CACHES["int8" if features == "int8" else "float16"]
            number = str(seed + OTHER_SEED if features == AGAIN else seed)
            fit = ("fit-transfer", *options, *MASKS_ALONE, "--cache", cache, "--name", run, "--seed", number)
            yield run, [({}, fit), ({}, ("evaluate", "--model", f"runs/transfer/{run}", "--split", "all"))]


def run_name(method: str, features: str) -> str:
    """The folder of a run."""
    return f"{method}-again" if features == AGAIN else f"{method}-{features}"


def ap_rows(projects: Sequence[Path]) -> Iterator[list[str]]:
    """AP of each method from each cache, and its difference from the first, paired by project."""
    from maskx_pipeline.stages.compare import compare

    for method, (name, _) in METHODS.items():
        found: dict[str, dict[str, list[float]]] = {}
        for features in FEATURES:
            folders = [project / "runs" / "transfer" / run_name(name, features) for project in projects]
            runs = compare(folders).to_json()["runs"]
            found[features] = {kind: [run[f"{kind} mask"]["AP"] for run in runs] for kind in ("unseen", "seen")}
        for features, figures in found.items():
            cells = []
            for kind, values in figures.items():
                differences = [a - b for a, b in zip(values, found["float16"][kind], strict=True)]
                cells += [mean_and_spread(values, 2), "-" if features == "float16" else difference(differences)]
            yield [f"{method}; {features}", *cells]


def difference(values: Sequence[float]) -> str:
    """Mean ± standard deviation with a sign, then the single values."""
    return f"{mean_and_spread(values, 2, sign='+')} ({', '.join(f'{value:+.2f}' for value in values)})"


def size_rows(project: Path) -> Iterator[list[str]]:
    """Megabytes of both caches."""
    from maskx_pipeline.cache.reader import RoICache

    for dtype, path in CACHES.items():
        with RoICache(project / path) as cache:
            sizes = cache.feature_bytes("train"), cache.path.stat().st_size
            yield [dtype, *(f"{size / 1e6:.0f}" for size in sizes)]


def error_rows(project: Path) -> Iterator[list[str]]:
    """Root mean square of the rounding of some RoI features, against that of the features, for ways to take 8 bits."""
    import numpy as np
    import torch
    from torch import Tensor

    from maskx_pipeline.cache.reader import RoICache

    with RoICache(project / CACHES["float16"]) as half, RoICache(project / CACHES["int8"]) as eight:
        rows = np.random.default_rng(0).permutation(len(half.train))[:ROIS]
        exact, stored = (torch.from_numpy(cache.read_features("train", rows)).float() for cache in (half, eight))

    def steps(scales: Tensor) -> Tensor:
        return (exact / scales).round() * scales

    tiny = torch.finfo(torch.float32).tiny
    of_channels = exact.abs().amax(dim=(2, 3), keepdim=True).clamp(min=tiny)
    of_rois = of_channels.amax(dim=1, keepdim=True)
    float8 = torch.float8_e4m3fn
    to_float8 = torch.finfo(float8).max / of_channels
    for name, rounded in (
        ("int8, a scale for each RoI and channel: this cache", stored),
        ("int8, a scale for each RoI", steps(of_rois / 127)),
        ("int8, one scale for all", steps(of_rois.max() / 127)),
        ("float8 (e4m3), a scale for each RoI and channel", (exact * to_float8).to(float8).float() / to_float8),
    ):
        yield [name, f"{((rounded - exact).square().mean() / exact.square().mean()).sqrt():.2%}"]


def main() -> None:
    """Read the command line, run what is not done yet, print the tables."""
    parser = argparse.ArgumentParser(description="What 8-bit features cost in AP, on generated data.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="Processes side by side.")
    options = parser.parse_args()
    from maskx_pipeline.commands import run

    projects = {seed: (options.folder / f"seed-{seed}").resolve() for seed in options.seeds}
    for project in projects.values():
        if not (project / "maskx.toml").exists() and run(["init", "--shapes", "--project", str(project)]):
            sys.exit(f"no project in {project}")
    run_all([(project, "stage1", stage1(seed)) for seed, project in projects.items()], options.jobs)
    run_all([(project, *task) for seed, project in projects.items() for task in stage2(seed)], options.jobs)
    print_machine()
    print(f"Mask AP in percent, mean ± standard deviation over {len(projects)} seeds of detector, export and fit.\n")
    print_table(
        ["method; features", "unseen AP", "minus float16 (each seed)", "seen AP", "minus float16 (each seed)"],
        list(ap_rows(list(projects.values()))),
    )
    first = projects[options.seeds[0]]
    print()
    print_table(["features of train", "MB", "the whole cache, MB"], list(size_rows(first)))
    print()
    print_table(["features of train in 8 bits", "error of the features"], list(error_rows(first)))


if __name__ == "__main__":
    main()
