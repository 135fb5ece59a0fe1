"""Does `maskx tune` pick a design within a point of the best in hindsight, and does its interval hold the truth?

Of one half of the categories the masks are given to tune; of the other their boxes alone. The truth is what the fits of
design_study.sh with the same settings reach on the other half, mean over their seeds: mask IoU at the true boxes and
mask AP of the detections, each a mean over categories, as tune has them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from design_study import DATA
from design_study_rows import DESIGNS, Design

STUDY = DATA["photographs"]
FEW = ("agnostic", "agnostic+coordinates+boxes", "linear+boxes", "rbf-hidden.25+coordinates+boxes")
MODELS = [design for design in DESIGNS if not design.rival and design.name != "oracle"]


def write_project(study: Path, project: Path, designs: Sequence[Design]) -> None:
    """A project with the study's data and cache, its sizes, and the designs as tune takes them."""
    project.mkdir(parents=True, exist_ok=True)
    sizes = {**STUDY.sizes, "cache": str(study / "runs" / "cache.h5")}
    _write_tables(project / "designs.toml", {design.name: design.options for design in designs})
    _write_tables(project / "sizes.toml", {"fit-transfer": sizes})
    toml = (study / "maskx.toml").read_text("utf-8") + (project / "sizes.toml").read_text("utf-8")
    (project / "maskx.toml").write_text(toml, "utf-8")


def _write_tables(path: Path, tables: dict[str, object]) -> None:
    lines = []
    for name, table in tables.items():
        settings = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        lines += ["", f"[{json.dumps(name)}]", *settings]
    path.write_text("\n".join([*lines, ""]), "utf-8")


def truths(study: Path, project: Path, design: Design, half: int, seeds: Sequence[int]) -> list[tuple[float, float]]:
    """Of each seed that was fitted, mask IoU and AP on the other half, means of categories; kept in the project."""
    import torch

    from maskx_pipeline.cache.reader import RoICache
    from maskx_pipeline.config import DataConfig
    from maskx_pipeline.data.category_sets import resolve_category_set
    from maskx_pipeline.data.coco import read_coco
    from maskx_pipeline.engine.device import amp_dtype
    from maskx_pipeline.project import read_project
    from maskx_pipeline.stages.tune_fits import by_id, read_figures, write_figures
    from maskx_pipeline.study.hidden_figures import hidden_figures
    from maskx_pipeline.study.tuning import DESIGN, TunedDesign
    from maskx_pipeline.transfer.load import load_mask_model

    found = []
    cpu = torch.device("cpu")
    for seed in seeds:
        run = study / f"runs/seed-{seed}/{design.name}@{'AB'[half]}"
        path = project / "truth" / f"{design.name}@{STUDY.halves[half]}-{seed}.json"
        if not path.exists() and (run / "best.safetensors").exists():
            with RoICache(study / "runs" / "cache.h5") as cache:
                data = read_project(study).load(DataConfig)
                val = read_coco(data.val_annotations, data.val_images, categories=cache.categories)
                labels = resolve_category_set(STUDY.halves[1 - half], val.categories, masked=(), seen=None)
                model, dtype = load_mask_model(run).mask_model, amp_dtype("auto", cpu)
                figures = hidden_figures(model, cache, val, labels=labels, device=cpu, amp_dtype=dtype)
                write_figures(path, by_id(figures, cache))
        if path.exists():
            truth = TunedDesign(design.name, DESIGN, (read_figures(path),))
            found.append((truth.mean("iou"), truth.mean("ap")))
    return found


def tune(project: Path, half: int, folds: int, jobs: int) -> dict[str, object]:
    """What `maskx tune` finds from the masks of one half."""
    from maskx_pipeline.commands import run

    out = f"tune-{folds}-folds"
    words = ["tune", "--designs", "designs.toml", "--split", STUDY.halves[half], "--folds", str(folds), "--out", out]
    with contextlib.chdir(project), contextlib.redirect_stdout(sys.stderr):
        if run([*words, "--jobs", str(jobs), "--no-refit"]):
            sys.exit("tune failed")
        return json.loads(Path(out, f"designs@{STUDY.halves[half]}", "run.json").read_text("utf-8"))["results"]


def print_direction(half: int, result: dict[str, object], truth: dict[str, list[tuple[float, float]]]) -> None:
    """The table of one direction, and the two answers."""
    means = {name: tuple(statistics.mean(column) for column in zip(*rows, strict=True)) for name, rows in truth.items()}
    print(f"\n### Masks of {STUDY.halves[half]}, truth on {STUDY.halves[1 - half]}\n")
    print("| design | folds | IoU by tune | IoU in truth | AP by tune | AP in truth |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for row in result["designs"]:
        iou, ap = means.get(row["name"], (float("nan"),) * 2)
        cells = [f"{value:.1f}" for value in (row["mask_iou"], iou, row["mask_ap"], ap)]
        print(f"| {row['name']} | {len(row['folds'])} | {' | '.join(cells)} |")
    best, expected = result["best"], result["expected"]
    behind = max(iou for iou, _ in means.values()) - means[best][0]
    print(f"\nPicked {best}: {behind:.1f} points of IoU behind the best in hindsight.")
    for place, (name, key) in enumerate((("IoU", "mask_iou"), ("AP", "mask_ap"))):
        low, mean, high = (expected[key][part] for part in ("low", "mean", "high"))
        held = sum(low <= row[place] <= high for row in truth[best])
        known = f"holds the truth of {held} of {len(truth[best])} seeds"
        print(f"{name} expected {mean:.1f} ({low:.1f} to {high:.1f}): {known}.")


def main() -> None:
    """Read the command line, run what is not done yet, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="That of design_study.sh.")
    parser.add_argument("--out", type=Path, default=Path("tune-study"))
    parser.add_argument("--halves", nargs="+", choices=STUDY.halves, default=list(STUDY.halves))
    parser.add_argument("--designs", nargs="+", choices=[d.name for d in MODELS], default=list(FEW))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="Of the truth.")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="Processes side by side.")
    options = parser.parse_args()
    study, project = (options.folder / "photographs").resolve(), options.out.resolve()
    designs = [design for design in MODELS if design.name in options.designs]
    write_project(study, project, designs)
    for half in map(STUDY.halves.index, options.halves):
        result = tune(project, half, options.folds, options.jobs)
        found = {design.name: truths(study, project, design, half, options.seeds) for design in designs}
        print_direction(half, result, {name: rows for name, rows in found.items() if rows})


if __name__ == "__main__":
    main()
