"""Run and print the experiment on real images with a detector that maskx has never seen; see other_detector.sh.

A run is what `maskx fit-transfer` with these settings makes, but for the AP that the command measures at the end,
which would take half of the time. All runs are made in one process, so that PyTorch is loaded once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mean_of_tables import mean_of_seeds

if TYPE_CHECKING:
    from maskx_pipeline.cache.reader import RoICache
    from maskx_pipeline.data.records import CocoData

Options = Mapping[str, str | float | bool]
HALVES = ("voc", "nonvoc")
SIZES: Options = {
    "head-width": 64, "head-depth": 4, "rois-per-batch": 32, "lr": 0.1, "epochs": 6.0, "eval-every": 0.0,
    "box-loss": "none", "coordinates": False,
}  # fmt: skip
RESULT = "at-ground-truth.json"
BY_CATEGORY = {"class-agnostic": "agnostic", "cls, linear": "cls-linear", "cls, linear, rbf": "cls-rbf"}
OBJECTS = 20  # of a category in val, at least, for a line of its own
SCRIPT = Path(__file__).parents[1] / "docs" / "how-to" / "other_detector.py"
Figures = Mapping[str, Mapping[str, float]]  # mask_iou or ap -> half -> percent


def rows(glove: Path) -> Iterator[tuple[str, str, Options]]:
    """What each method is called, the folder of its runs, and its settings."""
    yield "class-agnostic (baseline)", "agnostic", {"embedding": "none"}
    for form in ("published", "linear"):
        for embedding in ("randn", "glove", "cls"):
            files = {"embedding-file": str(glove)} if embedding == "glove" else {}
            yield f"{embedding}, {form}", f"{embedding}-{form}", {"embedding": embedding, "form": form, **files}
    for embedding in ("randn", "cls"):
        yield (
            f"{embedding}, linear, rbf",
            f"{embedding}-rbf",
            {"embedding": embedding, "form": "linear", "kernel": "rbf"},
        )
    yield "fully supervised (oracle)", "oracle", {"embedding": "none", "class-specific": True}


def make_project(shared: Path) -> None:
    """The project folder, which is the working directory."""
    from maskx_pipeline.commands import run

    coco = shared / "coco-mini"
    if not Path("maskx.toml").exists():
        words = ["init"]
        for part in ("train", "val"):
            words += [f"--{part}-images", str(coco / f"{part}2017")]
            words += [f"--{part}-annotations", str(coco / "annotations" / f"instances_{part}2017.json")]
        if run(words):
            sys.exit("no project")
        detector = {"file": str(shared / "yolox-nano" / "yolox_nano.onnx"), "images": str(coco / "train2017")}
        lines = ["[detector]", *(f"{key} = {json.dumps(value)}" for key, value in detector.items())]
        with Path("maskx.toml").open("a", encoding="utf-8") as file:
            file.write("\n".join(["", *lines, ""]))


def make_cache(shared: Path) -> None:
    """The one RoI cache of all runs."""
    from maskx_pipeline.commands import run

    make_project(shared)
    if not Path("runs/cache.h5").exists() and run(["export-embeddings", "--detector", f"{SCRIPT}:YoloxNano"]):
        sys.exit("no cache")


def fit_all(seeds: Sequence[int], methods: Sequence[tuple[str, str, Options]]) -> None:
    """Fit and measure each method in both directions, as far as that is not done; the oracle is one model for both."""
    from maskx_pipeline.cache.reader import RoICache
    from maskx_pipeline.config import DataConfig
    from maskx_pipeline.data.category_sets import resolve_category_set
    from maskx_pipeline.data.coco import read_coco
    from maskx_pipeline.project import read_project
    from maskx_pipeline.provenance.files import write_json

    data = read_project(Path()).load(DataConfig)
    with RoICache(Path("runs/cache.h5")) as cache:
        val = read_coco(data.val_annotations, data.val_images, categories=cache.categories)
        sets = {half: resolve_category_set(half, val.categories, masked=(), seen=None) for half in (*HALVES, "all")}
        for seed in seeds:
            for _, name, options in methods:
                for half in ("all",) if name == "oracle" else HALVES:
                    folder = Path(f"runs/seed-{seed}/{name}@{half}")
                    if not (folder / RESULT).exists():
                        fit(folder, {**SIZES, **options, "seed": seed, "split": half}, cache, sets[half])
                        write_json(folder / RESULT, measure(folder, cache, val, sets))
                        print(folder, (folder / RESULT).read_text("utf-8"), file=sys.stderr)


def fit(folder: Path, options: Options, cache: RoICache, seen: frozenset[int]) -> None:
    """As `maskx fit-transfer`; interrupted, it continues."""
    from maskx_pipeline.config import TransferConfig
    from maskx_pipeline.engine.device import amp_dtype
    from maskx_pipeline.engine.runlog import open_run
    from maskx_pipeline.transfer.fit import fit_transfer
    from maskx_pipeline.transfer.mask_iou import mask_iou
    from maskx_pipeline.transfer.mask_model import MaskModel

    config = TransferConfig.from_mapping(options, source="other_detector.py")
    inputs = {"cache": cache.digest, "seen categories": ",".join(map(str, sorted(seen)))}
    run = open_run(
        folder, stage="fit-transfer", identity=config.identity(), config=config.to_mapping(), inputs=inputs, command=""
    )

    def evaluate(model: MaskModel) -> dict[str, float]:
        device = next(model.parameters()).device
        dtype = amp_dtype(config.amp, device)
        return {"seen_mask_ap": 100 * mask_iou(model, cache, labels=seen, device=device, amp_dtype=dtype)}

    if run.state != "finished":
        fit_transfer(config, cache, seen=seen, run=run, evaluate=evaluate)


def measure(folder: Path, cache: RoICache, val: CocoData, sets: Mapping[str, frozenset[int]]) -> Figures:
    """Mask IoU and mask AP at the ground-truth boxes of val, in percent, on each half of the categories."""
    import torch

    from maskx_pipeline.engine.device import amp_dtype
    from maskx_pipeline.evaluation.coco_ap import precision_table
    from maskx_pipeline.evaluation.predictions import predictions_from_cache
    from maskx_pipeline.transfer.load import load_mask_model
    from maskx_pipeline.transfer.mask_iou import mask_iou

    model, cpu = load_mask_model(folder).mask_model, torch.device("cpu")
    dtype = amp_dtype("auto", cpu)
    results = predictions_from_cache(cache, model, val, device=cpu, amp_dtype=dtype, group="ground_truth")
    ap = precision_table(val, results, labels=sets["all"], iou_type="segm")
    iou = {half: 100 * mask_iou(model, cache, labels=sets[half], device=cpu, amp_dtype=dtype) for half in HALVES}
    return {"mask_iou": iou, "ap": {half: ap.summary(sets[half]).ap for half in HALVES}}


def print_tables(methods: Sequence[tuple[str, str]], seeds: Sequence[int]) -> None:
    """Print what is there, in Markdown."""
    for metric, title in (("mask_iou", "Mask IoU"), ("ap", "Mask AP")):
        print(f"\n{title} at the ground-truth boxes of val, in percent, mean ± standard deviation over seeds.\n")
        print(
            "| method | voc -> nonvoc: unseen | minus baseline | seen | nonvoc -> voc: unseen | minus baseline | seen |"
        )
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        for method, name in methods:
            cells = []
            for trained, other in (HALVES, HALVES[::-1]):
                found = {seed: f[metric] for seed in seeds if (f := _figures(seed, name, trained))}
                base = {seed: f[metric] for seed in seeds if (f := _figures(seed, "agnostic", trained))}
                both = [] if name == "agnostic" else [seed for seed in found if seed in base]
                cells.append(mean_of_seeds([found[seed][other] for seed in found], len(seeds)))
                cells.append(
                    mean_of_seeds([found[seed][other] - base[seed][other] for seed in both], len(seeds), sign="+")
                )
                cells.append(mean_of_seeds([found[seed][trained] for seed in found], len(seeds)))
            print(f"| {method} | {' | '.join(cells)} |")


def print_categories(seeds: Sequence[int]) -> None:
    """Where T wins and loses from nonvoc to voc: mask IoU of each unseen category that has enough objects in val."""
    import torch

    from maskx_pipeline.cache.reader import RoICache
    from maskx_pipeline.data.category_sets import resolve_category_set
    from maskx_pipeline.engine.device import amp_dtype
    from maskx_pipeline.transfer.load import load_mask_model
    from maskx_pipeline.transfer.mask_iou import mask_iou

    cpu = torch.device("cpu")
    dtype = amp_dtype("auto", cpu)
    print("\nMask IoU of unseen categories, nonvoc -> voc, in percent, mean ± standard deviation over seeds.\n")
    print(f"| category, objects in val | {' | '.join(BY_CATEGORY)} |")
    print(f"| --- |{' ---: |' * len(BY_CATEGORY)}")
    with RoICache(Path("runs/cache.h5")) as cache:
        truth = cache.ground_truth
        models = [
            [load_mask_model(Path(f"runs/seed-{seed}/{name}@nonvoc")).mask_model for seed in seeds]
            for name in BY_CATEGORY.values()
        ]
        for label in sorted(resolve_category_set("voc", cache.categories, masked=(), seen=None)):
            count = int(((truth.labels == label) & (truth.has_mask == 1)).sum())
            if count < OBJECTS:
                continue
            cells = []
            for of_seeds in models:
                found = [100 * mask_iou(m, cache, labels={label}, device=cpu, amp_dtype=dtype) for m in of_seeds]
                cells.append(mean_of_seeds(found, len(seeds)))
            print(f"| {cache.categories[label - 1].name}, {count} | {' | '.join(cells)} |")


def _figures(seed: int, name: str, half: str) -> Figures | None:
    half = "all" if name == "oracle" else half
    path = Path(f"runs/seed-{seed}/{name}@{half}/{RESULT}")
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def main() -> None:
    """Read the command line, run what is not done yet, print the tables."""
    parser = argparse.ArgumentParser(description="YOLOX-nano through the RoI cache, on real images.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shared", type=Path, required=True, help="Folder with coco-mini, yolox-nano and glove.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--only-print", action="store_true", help="Print from the runs that are there.")
    options = parser.parse_args()
    shared = options.shared.resolve()
    methods = list(rows(shared / "glove" / "fixed_embedding_mat_coco_glove.npy"))
    options.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(options.folder):
        if not options.only_print:
            make_cache(shared)
            fit_all(options.seeds, methods)
        print_tables([(method, name) for method, name, _ in methods], options.seeds)
        print_categories(options.seeds)


if __name__ == "__main__":
    main()
