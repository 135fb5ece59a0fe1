"""Choose a design, and try it on fewer and on looser boxes; on photographs, after design_study.sh made their cache.

Choosing: of each half of the categories one half again has masks. Of the other their boxes alone are used, and on these
it is measured, so that no figure of the tested directions takes part. Few boxes: of each category without masks so many
objects are left. Loose boxes: theirs are larger by up to so much of their side, each side by another share.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from design_study import DATA, measure, rival
from design_study_rows import BASELINE, DESIGNS, Design
from design_study_table import RESULT
from mean_of_tables import mean_of_seeds
from other_detector import SCRIPT, fit, make_project

BY_NAME = {design.name: design for design in DESIGNS}
CHOSEN = "rbf-hidden.25+coordinates+boxes"
QUARTERS = [(half, part) for half in (0, 1) for part in (0, 1)]
CASES = {
    "all objects, tight boxes": {},
    "100 objects of a category": {"objects": 100},
    "10 objects": {"objects": 10},
    "3 objects": {"objects": 3},
    "boxes up to 10 % larger": {"loose": 0.1},
    "boxes up to 20 % larger": {"loose": 0.2},
}
Task = tuple[str, Path, int, Design, int, int]  # what, project, seed, design, half, part of it (-1: all)


def folder_of(seed: int, design: Design, half: int, part: int) -> Path:
    """The folder of a run in its project."""
    return Path(f"runs/seed-{seed}/{design.name}@{'AB'[half]}{'' if part < 0 else part}")


def run_task(task: Task) -> tuple[str, float]:
    """Fit and measure as far as that is not done. Returns the folder and the seconds."""
    from maskx_pipeline.cache.reader import RoICache
    from maskx_pipeline.config import DataConfig
    from maskx_pipeline.data.category_sets import resolve_category_set
    from maskx_pipeline.data.coco import read_coco
    from maskx_pipeline.project import read_project
    from maskx_pipeline.provenance.files import write_json
    from maskx_pipeline.transfer.load import load_mask_model

    _, project, seed, design, half, part = task
    began, study = time.monotonic(), DATA["photographs"]
    folder = folder_of(seed, design, half, part)
    with contextlib.chdir(project), RoICache(Path("runs/cache.h5")) as cache:
        if not (folder / RESULT).exists():
            config = read_project(Path()).load(DataConfig)
            val = read_coco(config.val_annotations, config.val_images, categories=cache.categories)
            halves = [resolve_category_set(s, val.categories, masked=(), seen=None) for s in study.halves]
            seen, unseen = halves[half], halves[1 - half]
            if part >= 0:
                ordered = sorted(halves[half])
                seen, unseen = frozenset(ordered[part::2]), frozenset(ordered[1 - part :: 2])
            if design.rival:
                model = rival(design.rival, cache.mask_size)
            else:
                fit(folder, {**study.sizes, **design.options, "seed": seed, "split": "all"}, cache, seen)
                model = load_mask_model(folder).mask_model
            write_json(folder / RESULT, measure(model, cache, val, (seen, unseen)))
    return f"{project.name}/{folder}", time.monotonic() - began


def prepare(project: Path, shared: Path, half: int, *, objects: int | None = None, loose: float = 0.0) -> None:
    """A project in which one half has no masks, with so many objects or such boxes of it, and its cache."""
    from maskx_pipeline.commands import run
    from maskx_pipeline.data.category_sets import resolve_category_set
    from maskx_pipeline.data.coco import read_coco

    project.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(project):
        make_project(shared)
        if Path("runs/cache.h5").exists():
            return
        coco = shared / "coco-mini"
        source = coco / "annotations" / "instances_train2017.json"
        categories = read_coco(source, coco / "train2017").categories
        masked = resolve_category_set(DATA["photographs"].halves[half], categories, masked=(), seen=None)
        ids = {category.id for category in categories if category.label in masked}
        content = json.loads(source.read_text("utf-8"))
        sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
        for entry in content["annotations"]:
            if entry["category_id"] not in ids:
                entry.pop("segmentation", None)
                x, y, w, h = entry["bbox"]
                left, top, right, bottom = np.random.default_rng(entry["id"]).uniform(0, loose, 4)
                width, height = sizes[entry["image_id"]]
                x1, y1, x2, y2 = x - left * w, y - top * h, x + w + right * w, y + h + bottom * h
                x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
                entry["bbox"] = [x1, y1, x2 - x1, y2 - y1]
        Path("train.json").write_text(json.dumps(content), "utf-8")
        toml = Path("maskx.toml")
        toml.write_text(toml.read_text("utf-8").replace(str(source), str(Path("train.json").resolve())), "utf-8")
        export = ["export-embeddings", "--detector", f"{SCRIPT}:YoloxNano"]
        if run([*export, *(["--unmasked-objects", str(objects)] if objects is not None else [])]):
            sys.exit(f"no cache in {project}")


def case_project(folder: Path, case: str, half: int) -> Path:
    """Where the runs of a case lie; with all objects and tight boxes, those of the study itself."""
    return folder / f"{case.replace(' ', '-').replace('%', 'percent')}-{'AB'[half]}" if CASES[case] else folder


def figures(project: Path, seeds: Sequence[int], design: Design, half: int, part: int) -> list[dict[str, list[float]]]:
    """Those that are there, by seed."""
    paths = [project / folder_of(seed, design, half, part) / RESULT for seed in seeds]
    return [json.loads(path.read_text("utf-8")) for path in paths if path.exists()]


def print_choice(folder: Path, seeds: Sequence[int], designs: Sequence[Design]) -> None:
    """On the categories whose masks were hidden: their mean over the four quarters, and the worst case."""
    for figure, title in (("iou", "Mask IoU"), ("ap_at_boxes", "Mask AP")):
        print(f"\n### Choosing: {title} at the ground-truth boxes of val, on categories whose masks were hidden\n")
        print("In percent; mean over seeds of each quarter, minus the baseline there.\n")
        print("| masks from | mean | mean minus baseline | worst minus baseline | each quarter |")
        print("| --- | ---: | ---: | ---: | ---: |")
        base: list[float] = []
        for design in designs:
            found = [figures(folder, seeds, design, *quarter) for quarter in QUARTERS]
            if all(found):
                values = [statistics.mean(each[figure][1] for each in quarter) for quarter in found]
                base = base or values
                gains = [value - other for value, other in zip(values, base, strict=True)]
                each = ", ".join(f"{value:.1f}" for value in values)
                print(
                    f"| {design.title} | {statistics.mean(values):.1f} | {statistics.mean(gains):+.1f} | "
                    f"{min(gains):+.1f} | {each} |"
                )


def print_cases(folder: Path, seeds: Sequence[int]) -> None:
    """What is left with fewer and looser boxes."""
    print(
        f"\n### {BY_NAME[CHOSEN].title}, with fewer and looser boxes of unseen categories: at the tight boxes of val\n"
    )
    columns = [f"{way}: {name}" for way in ("A -> B", "B -> A") for name in ("IoU unseen", "AP unseen")]
    print(f"| boxes of unseen categories in training | {' | '.join(columns)} |\n| --- |{' ---: |' * len(columns)}")
    for case in CASES:
        cells = []
        for half in (0, 1):
            found = figures(case_project(folder, case, half), seeds, BY_NAME[CHOSEN], half, -1)
            position = 1 if CASES[case] else 1 - half  # the study's own files are by half
            for figure in ("iou", "ap_at_boxes"):
                cells.append(mean_of_seeds([each[figure][position] for each in found], len(seeds)))
        print(f"| {case} | {' | '.join(cells)} |")


def tasks_of(folder: Path, what: str, seeds: Sequence[int], designs: Sequence[Design]) -> Iterator[Task]:
    """Whole rows first."""
    if what == "choice":
        for design in designs:
            for seed in seeds[:1] if design.rival else seeds:
                yield from (("choice", folder, seed, design, *quarter) for quarter in QUARTERS)
    else:
        for case in filter(CASES.__getitem__, CASES):
            for seed in seeds:
                for half in (0, 1):
                    yield case, case_project(folder, case, half), seed, BY_NAME[CHOSEN], half, -1


def main() -> None:
    """Read the command line, run what is not done yet, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="That of design_study.sh.")
    parser.add_argument("--shared", type=Path, required=True, help="Folder with coco-mini and yolox-nano.")
    parser.add_argument("--what", nargs="+", choices=("choice", "boxes"), default=["choice", "boxes"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="Processes side by side.")
    parser.add_argument("--designs", nargs="+", default=[], help="Only designs of these names.")
    parser.add_argument("--only-print", action="store_true", help="Print from the runs that are there.")
    options = parser.parse_args()
    folder, shared = (options.folder / "photographs").resolve(), options.shared.resolve()
    ordered = [BY_NAME[BASELINE], *(design for design in DESIGNS if design.name not in (BASELINE, "oracle"))]
    designs = [design for design in ordered if not options.designs or design.name in (*options.designs, BASELINE)]
    for what in options.what:
        if not options.only_print:
            with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
                if what == "boxes":
                    for case, how in CASES.items():
                        for half in (0, 1) if how else ():
                            pool.apply(prepare, (case_project(folder, case, half), shared, half), how)
                tasks = list(tasks_of(folder, what, options.seeds, designs))
                for number, (done, seconds) in enumerate(pool.imap(run_task, tasks), start=1):
                    print(f"[{number}/{len(tasks)}] {done}: {seconds:.0f} s", file=sys.stderr)
        if what == "choice":
            print_choice(folder, options.seeds, designs)
        else:
            print_cases(folder, options.seeds)


if __name__ == "__main__":
    main()
