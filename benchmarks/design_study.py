"""Run and print the study of designs; see design_study.sh.

A run is what `maskx fit-transfer` with these settings makes, but for the AP that the command measures at the end. Runs
are made by a few long-lived processes, so that PyTorch is loaded once in each.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from design_study_rows import BASELINE, DESIGNS, ORACLE, Design, Options
from design_study_table import RESULT, print_study
from other_detector import SCRIPT, fit, make_project


@dataclass(frozen=True)
class Data:
    """What is learned from, and how.

    Attributes:
        title: In the tables.
        halves: Two category sets, A and B.
        sizes: The settings of stage 2 that all designs share.
        seeds_share_cache: Whether the seeds are of the fits alone.
    """

    title: str
    halves: tuple[str, str]
    sizes: Options
    seeds_share_cache: bool


DATA = {
    "shapes": Data(
        "generated data",
        ("@data/shapes/seen.txt", "@data/shapes/unseen.txt"),
        {"head-width": 64, "rois-per-batch": 64, "epochs": 3.0, "eval-every": 0.0},
        seeds_share_cache=False,
    ),
    "photographs": Data(
        "photographs",
        ("voc", "nonvoc"),
        {"head-width": 64, "rois-per-batch": 32, "lr": 0.1, "epochs": 6.0, "eval-every": 0.0},
        seeds_share_cache=True,
    ),
}
Task = tuple[str, Path, int, Design, int | None]  # data, project, seed, design, which half has masks (None: all)


def prepare(name: str, project: Path, seed: int, shared: Path) -> None:
    """A project and its RoI cache, with colours for the pairwise loss."""
    from maskx_pipeline.commands import run

    project.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(project):
        if name == "photographs":
            make_project(shared)
            stages = [["export-embeddings", "--detector", f"{SCRIPT}:YoloxNano", "--colours"]]
        else:
            if not Path("maskx.toml").exists() and run(["init", "--shapes", "--shapes-masks", "all"]):
                sys.exit("no project")
            number = ["--seed", str(seed)]
            stages = [["detect", "train", *number], ["export-embeddings", "--colours", *number]]
        if not Path("runs/cache.h5").exists():
            for words in stages:
                if run(words):
                    sys.exit(f"failed: maskx {' '.join(words)}")


def run_task(task: Task) -> tuple[str, float]:
    """Fit and measure one design, as far as that is not done. Returns its name and its seconds."""
    from maskx_pipeline.cache.reader import RoICache
    from maskx_pipeline.config import DataConfig
    from maskx_pipeline.data.category_sets import resolve_category_set
    from maskx_pipeline.data.coco import read_coco
    from maskx_pipeline.project import read_project
    from maskx_pipeline.provenance.files import write_json
    from maskx_pipeline.transfer.load import load_mask_model

    name, project, seed, design, half = task
    began = time.monotonic()
    study = DATA[name]
    folder = Path(f"runs/seed-{seed}/{design.name}@{'all' if half is None else 'AB'[half]}")
    with contextlib.chdir(project), RoICache(Path("runs/cache.h5")) as cache:
        if not (folder / RESULT).exists():
            config = read_project(Path()).load(DataConfig)
            val = read_coco(config.val_annotations, config.val_images, categories=cache.categories)
            sets = [resolve_category_set(s, val.categories, masked=(), seen=None) for s in study.halves]
            seen = frozenset().union(*sets) if half is None else sets[half]
            if design.rival:
                model = rival(design.rival, cache.mask_size)
            else:
                fit(folder, {**study.sizes, **design.options, "seed": seed, "split": "all"}, cache, seen)
                model = load_mask_model(folder).mask_model
            write_json(folder / RESULT, measure(model, cache, val, sets))
    return f"{project.name}/{folder}", time.monotonic() - began


def rival(kind: str, size: int) -> object:
    """The filled box, or the ellipse in it, in the place of a mask model."""
    import torch
    from torch import Tensor, nn

    class Shape(nn.Module):
        logits: Tensor

        def __init__(self) -> None:
            super().__init__()
            axis = (torch.arange(size) + 0.5) * (2 / size) - 1
            inside = axis.square().unsqueeze(0) + axis.square().unsqueeze(1) <= 1
            self.register_buffer("logits", torch.where(inside | (kind == "box"), 20.0, -20.0))

        def forward(self, roi_features: Tensor, labels: Tensor) -> Tensor:
            return self.logits.expand(len(labels), -1, -1)

    return Shape()


def measure(model: object, cache: object, val: object, sets: Sequence[frozenset[int]]) -> Mapping[str, list[float]]:
    """In percent on each half: mask IoU and mask AP at the ground-truth boxes of val, and mask AP of the detections."""
    import torch

    from maskx_pipeline.engine.device import amp_dtype
    from maskx_pipeline.evaluation.coco_ap import precision_table
    from maskx_pipeline.evaluation.predictions import predictions_from_cache
    from maskx_pipeline.transfer.mask_iou import mask_iou

    cpu = torch.device("cpu")
    dtype = amp_dtype("auto", cpu)
    found = {"iou": [100 * mask_iou(model, cache, labels=half, device=cpu, amp_dtype=dtype) for half in sets]}
    for key, group in (("ap_at_boxes", "ground_truth"), ("ap", "detections")):
        results = predictions_from_cache(cache, model, val, device=cpu, amp_dtype=dtype, group=group)
        table = precision_table(val, results, labels=frozenset().union(*sets), iou_type="segm")
        found[key] = [table.summary(half).ap for half in sets]
    return found


def tasks_of(name: str, projects: Mapping[int, Path], designs: Sequence[Design]) -> Iterator[Task]:
    """Whole rows first: all seeds and directions of a design, then the next."""
    for design in designs:
        for seed, project in projects.items():
            if design.rival or design.name == ORACLE:
                if not design.rival or seed == min(projects) or not DATA[name].seeds_share_cache:
                    yield name, project, seed, design, None
            else:
                yield from ((name, project, seed, design, half) for half in (0, 1))


def main() -> None:
    """Read the command line, run what is not done yet, print the tables."""
    parser = argparse.ArgumentParser(description="Designs of T, mask heads and box losses side by side.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shared", type=Path, required=True, help="Folder with coco-mini and yolox-nano.")
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="Processes side by side.")
    parser.add_argument("--designs", nargs="+", default=[], help="Only designs of these names.")
    parser.add_argument("--only-print", action="store_true", help="Print from the runs that are there.")
    options = parser.parse_args()
    designs = [design for design in DESIGNS if not options.designs or design.name in (*options.designs, BASELINE)]
    for name in options.data:
        shared_cache = DATA[name].seeds_share_cache
        projects = {
            seed: (options.folder / name / ("" if shared_cache else f"seed-{seed}")).resolve() for seed in options.seeds
        }
        if not options.only_print:
            with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
                each = {project: (name, project, seed, options.shared.resolve()) for seed, project in projects.items()}
                pool.starmap(prepare, each.values())
                tasks = list(tasks_of(name, projects, designs))
                for number, (done, seconds) in enumerate(pool.imap(run_task, tasks), start=1):
                    print(f"[{number}/{len(tasks)}] {done}: {seconds:.0f} s", file=sys.stderr)
        print_study(DATA[name].title, projects, designs)


if __name__ == "__main__":
    main()
