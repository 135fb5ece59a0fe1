"""Does `maskx tune` pick well, and how often does its interval hold the truth?

A case is a cache with the masks of some of its categories, given to `maskx tune`; of the others it is given the boxes
alone. The truth is what is measured on those others: mask IoU at the true boxes and mask AP of the detections, each a
mean over categories, as tune has them.

It is that of the model which tune fits in the end, in small fits, so that there are several cases. With ``--halves``,
on photographs, it is that of the fits of design_study.sh with the same settings, mean over their seeds, for every
design, so that the choice is judged too.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from design_study import DATA
from design_study_rows import DESIGNS, Design

PHOTOGRAPHS = DATA["photographs"]
FEW = ("agnostic", "rbf-hidden.25+coordinates+boxes")
SMALL = {
    "shapes": {**DATA["shapes"].sizes, "head-width": 16, "epochs": 2.0},
    "photographs": {**PHOTOGRAPHS.sizes, "head-width": 16, "epochs": 2.0},
}
MODELS = [design for design in DESIGNS if not design.rival and design.name != "oracle"]
OWN = "@data/shapes/seen.txt"
CASES = (  # the cache, and the categories with masks; one draw of categories on three detectors is hardly three cases
    "shapes-0:random-18-1",
    "shapes-1:random-18-1",
    "shapes-2:random-18-1",
    "shapes-1:random-18-2",
    f"shapes-0:{OWN}",
    "photographs:voc",
    "photographs:nonvoc",
)
Figures = tuple[float, float]  # mask IoU, mask AP
Case = tuple[str, Mapping[str, Any], Figures]  # its name, what tune found, the truth


def write_project(study: Path, project: Path, sizes: Mapping[str, object], designs: Sequence[Design]) -> None:
    """A project with the study's data and cache, sizes, and the designs as tune takes them."""
    project.mkdir(parents=True, exist_ok=True)
    _write_tables(project / "designs.toml", {design.name: design.options for design in designs})
    _write_tables(project / "sizes.toml", {"fit-transfer": {**sizes, "cache": str(study / "runs" / "cache.h5")}})
    text = (study / "maskx.toml").read_text("utf-8")
    data = text[text.index("[data]") :].split("\n\n")[0].replace('"data/', f'"{study}/data/')
    (project / "maskx.toml").write_text(f"{data}\n{(project / 'sizes.toml').read_text('utf-8')}", "utf-8")


def _write_tables(path: Path, tables: Mapping[str, Mapping[str, object]]) -> None:
    lines = []
    for name, table in tables.items():
        settings = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        lines += ["", f"[{json.dumps(name)}]", *settings]
    path.write_text("\n".join([*lines, ""]), "utf-8")


def truth_of(run: Path, project: Path, kept: Path) -> Figures | None:
    """On the categories that a fit has not seen, mean of those that could be measured; None of no fit."""
    import torch

    from maskx_pipeline.cache.reader import RoICache
    from maskx_pipeline.config import DataConfig, TransferConfig
    from maskx_pipeline.data.coco import read_coco
    from maskx_pipeline.engine.device import amp_dtype
    from maskx_pipeline.project import read_project
    from maskx_pipeline.provenance.run_folder import read_run
    from maskx_pipeline.stages.tune_fits import by_id, read_figures, write_figures
    from maskx_pipeline.study.hidden_figures import hidden_figures
    from maskx_pipeline.study.tuning import DESIGN, TunedDesign
    from maskx_pipeline.transfer.load import load_mask_model

    if not kept.exists():
        if not (run / "best.safetensors").exists():
            return None
        cpu = torch.device("cpu")
        with contextlib.chdir(project), RoICache(read_project(Path()).load(TransferConfig).cache) as cache:
            data, seen = read_project(Path()).load(DataConfig), read_run(run)["seen"]
            val = read_coco(data.val_annotations, data.val_images, categories=cache.categories)
            labels = [category.label for category in cache.categories if category.id not in seen]
            model, dtype = load_mask_model(run).mask_model, amp_dtype("auto", cpu)
            figures = hidden_figures(model, cache, val, labels=labels, device=cpu, amp_dtype=dtype)
            write_figures(kept, by_id(figures, cache))
    truth = TunedDesign("", DESIGN, (read_figures(kept),))
    return truth.mean("iou"), truth.mean("ap")


def tune(project: Path, split: str, folds: int, jobs: int, *, refit: bool) -> dict[str, Any]:
    """What `maskx tune` finds from the masks of these categories."""
    from maskx_pipeline.commands import run

    words = [
        "tune",
        "--designs",
        "designs.toml",
        "--split",
        split,
        "--folds",
        str(folds),
        "--out",
        f"tune-{folds}-folds",
    ]
    printed = project / f"{Path(split.lstrip('@')).stem}.json"
    with contextlib.chdir(project), printed.open("w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        if run([*words, "--jobs", str(jobs), "--json", *([] if refit else ["--no-refit"])]):
            sys.exit("tune failed")
    return dict(json.loads(printed.read_text("utf-8")))


def print_designs(split: str, other: str, result: Mapping[str, Any], truth: Mapping[str, Sequence[Figures]]) -> None:
    """The table of one direction of the photographs, and how good the choice is."""
    means = {name: _mean(rows) for name, rows in truth.items()}
    print(f"\n### Masks of {split}, truth on {other}\n")
    print("| design | folds | IoU by tune | IoU in truth | AP by tune | AP in truth |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for row in result["designs"]:
        iou, ap = means.get(row["name"], (float("nan"),) * 2)
        cells = [f"{value:.1f}" for value in (row["mask_iou"], iou, row["mask_ap"], ap)]
        print(f"| {row['name']} | {len(row['folds'])} | {' | '.join(cells)} |")
    best = result["best"]
    behind = max(iou for iou, _ in means.values()) - means[best][0]
    print(f"\nPicked {best}: {behind:.1f} points of IoU behind the best in hindsight.")


def _mean(rows: Sequence[Figures]) -> Figures:
    iou, ap = (statistics.mean(column) for column in zip(*rows, strict=True))
    return iou, ap


def print_cases(cases: Sequence[Case]) -> None:
    """A row for each case, and how many intervals hold their truth, also where they are made of the folds alone."""
    from maskx_pipeline.study.tuning import read_tuning

    print("\n| masks | cosine unseen, seen | folds | halves | expected IoU | truth | expected AP | truth |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    held, by_folds = [0, 0], [0, 0]
    for name, result, truth in cases:
        best = next(row for row in result["designs"] if row["name"] == result["best"])
        like, halved = result["likeness"] or {}, result["halved"] or {}
        before = dataclasses.replace(read_tuning(result), halved=None).expectation().to_json()
        cells = [
            ", ".join(f"{like[key]:.2f}" for key in ("unseen", "seen") if key in like),
            f"{best['mask_iou']:.1f}",
            f"{halved.get('mask_iou', float('nan')):.1f}",
        ]
        for place, key in enumerate(("mask_iou", "mask_ap")):
            low, mean, high = (result["expected"][key][part] for part in ("low", "mean", "high"))
            holds = low <= truth[place] <= high
            held[place] += holds
            by_folds[place] += before[key]["low"] <= truth[place] <= before[key]["high"]
            cells += [f"{mean:.1f} ({low:.1f} to {high:.1f})", f"{truth[place]:.1f}{'' if holds else ' **outside**'}"]
        print(f"| {name} | {' | '.join(cells)} |")
    for counts, what in ((held, "The intervals"), (by_folds, "Those that are made of the folds alone")):
        print(f"\n{what} hold the truth of IoU in {counts[0]} of {len(cases)} cases, and of AP in {counts[1]}.")


def halves(study: Path, options: argparse.Namespace) -> Iterator[Case]:
    """Directions of the photographs in fits of full size, each with a table of what the designs have in truth."""
    designs = [design for design in MODELS if design.name in options.designs]
    project = options.out.resolve() / "halves"
    write_project(study, project, PHOTOGRAPHS.sizes, designs)
    for half, split in enumerate(PHOTOGRAPHS.halves):
        if split not in options.halves:
            continue
        result = tune(project, split, options.folds, options.jobs, refit=False)
        truth = {}
        for design in designs:
            runs = [(seed, study / f"runs/seed-{seed}/{design.name}@{'AB'[half]}") for seed in options.seeds]
            kept = project / "truth"
            found = [truth_of(run, project, kept / f"{design.name}@{split}-{seed}.json") for seed, run in runs]
            if rows := [row for row in found if row is not None]:
                truth[design.name] = rows
        print_designs(split, PHOTOGRAPHS.halves[1 - half], result, truth)
        yield f"photographs, {split}, fits of full size", result, _mean(truth[result["best"]])


def small_case(case: str, folder: Path, options: argparse.Namespace) -> Case:
    """One of the caches with one split, in small fits."""
    data, split = case.split(":", 1)
    kind, _, seed = data.partition("-")
    study = folder / kind / (f"seed-{seed}" if seed else "")
    project = options.out.resolve() / f"{data}-{Path(split.lstrip('@')).stem}"
    write_project(study, project, SMALL[kind], [design for design in MODELS if design.name in options.designs])
    if split.startswith("@"):
        (project / split[1:]).parent.mkdir(parents=True, exist_ok=True)
        (project / split[1:]).write_text((study / split[1:]).read_text("utf-8"), "utf-8")
    result = tune(project, split, options.folds, options.jobs, refit=True)
    truth = truth_of(project / result["run"], project, project / "truth.json")
    assert truth is not None
    print(f"{case}: done", file=sys.stderr)
    return f"{data}, {'its own split' if split == OWN else split}", result, truth


def main() -> None:
    """Read the command line, run what is not done yet, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="That of design_study.sh.")
    parser.add_argument("--out", type=Path, default=Path("tune-study"))
    parser.add_argument("--cases", nargs="+", default=list(CASES), help="As in shapes-0:random-18-1, photographs:voc.")
    parser.add_argument("--halves", nargs="+", choices=PHOTOGRAPHS.halves, default=[], help="In fits of full size.")
    parser.add_argument("--designs", nargs="+", choices=[d.name for d in MODELS], default=list(FEW))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="Of the truth of halves.")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="Processes side by side.")
    options = parser.parse_args()
    folder = options.folder.resolve()
    if options.halves:
        print_cases(list(halves(folder / "photographs", options)))
    else:
        print_cases([small_case(case, folder, options) for case in options.cases])


if __name__ == "__main__":
    main()
