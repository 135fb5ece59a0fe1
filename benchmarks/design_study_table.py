"""The tables of the study of designs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from design_study_rows import BASELINE, ORACLE, Design
from mean_of_tables import mean_of_seeds

RESULT = "figures.json"
FIGURES = {
    "iou": "Mask IoU at the ground-truth boxes of val",
    "ap_at_boxes": "Mask AP at the ground-truth boxes of val",
    "ap": "Mask AP of the detections in val",
}
DIRECTIONS = ((0, "A -> B"), (1, "B -> A"))


def print_study(title: str, projects: Mapping[int, Path], designs: Sequence[Design]) -> None:
    """Print what is there, in Markdown: a table for each figure."""
    for figure, meaning in FIGURES.items():
        print(f"\n### {meaning}, {title}\n")
        print(f"In percent, mean ± standard deviation over {len(projects)} seeds.\n")
        sides = [f"{name}: {side}" for _, name in DIRECTIONS for side in ("unseen", "minus baseline", "way", "seen")]
        print(f"| masks from | {' | '.join(sides)} |\n| --- |{' ---: |' * len(sides)}")
        for design in designs:
            cells = [cell for half, _ in DIRECTIONS for cell in _cells(projects, design, half, figure)]
            print(f"| {design.title} | {' | '.join(cells)} |")


def _cells(projects: Mapping[int, Path], design: Design, half: int, figure: str) -> list[str]:
    """Unseen, that minus the baseline, the share of the way from the baseline to the oracle, and seen."""
    found = _values(projects, design.name, half, figure)
    base, oracle = (_values(projects, name, half, figure) for name in (BASELINE, ORACLE))
    if len(found) < len(projects) and design.rival:  # the same for every seed of the fits
        found = dict.fromkeys(projects, next(iter(found.values()), (float("nan"),) * 2)) if found else {}
    unseen = mean_of_seeds([value[1] for value in found.values()], len(projects))
    seen = mean_of_seeds([value[0] for value in found.values()], len(projects))
    both = [] if design.name == BASELINE else [seed for seed in found if seed in base]
    gain = mean_of_seeds([found[seed][1] - base[seed][1] for seed in both], len(projects), sign="+")
    way = "-"
    if both and len(oracle) == len(projects) and design.name != ORACLE:
        whole = statistics.mean(oracle[seed][1] - base[seed][1] for seed in both)
        way = f"{100 * statistics.mean(found[seed][1] - base[seed][1] for seed in both) / whole:.0f} %"
    return [unseen, gain, way, seen]


def _values(projects: Mapping[int, Path], name: str, half: int, figure: str) -> dict[int, tuple[float, float]]:
    """Of each seed that is there, the figure on the half with masks and on the other."""
    values = {}
    for seed, project in projects.items():
        paths = [project / f"runs/seed-{seed}/{name}@{end}/{RESULT}" for end in ("AB"[half], "all")]
        for path in filter(Path.exists, paths):
            of_halves = json.loads(path.read_text("utf-8"))[figure]
            values[seed] = (of_halves[half], of_halves[1 - half])
    return values
