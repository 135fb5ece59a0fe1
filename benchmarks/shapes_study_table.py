"""The tables of the study on shapes, from what its runs recorded: mean ± standard deviation over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from mean_of_tables import mean_of_seeds
from shapes_study_rows import ALSO, CLAIMS, TABLES, Claim, Row

Figures = dict[str, tuple[float, float]]  # half trained on -> AP on unseen, AP on seen


def print_study(projects: Sequence[Path], rows: Sequence[Row], *, halves: tuple[str, str]) -> None:
    """Print each table in Markdown, then how far the claims hold."""
    seeds = [_figures_of(project, rows) for project in projects]
    first, second = halves
    print(f"Mask AP in percent, mean ± standard deviation over {len(projects)} seeds of detector, export and fit.")
    print(f"A -> B: the masks of {first}.txt are trained on; B -> A: those of {second}.txt.")
    names = [row.method for row in rows]
    for table in TABLES:
        own = [row.method for row in rows if row.table == table and any(row.method in seed for seed in seeds)]
        methods = [name for name in ALSO.get(table, ()) if name in names and own] + own
        if not own:
            continue
        print(f"\n### {table}\n")
        print("| method | A -> B: unseen (B) | seen (A) | B -> A: unseen (A) | seen (B) |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for method in methods:
            cells = [
                mean_of_seeds([seed[method][half][kind] for seed in seeds if half in seed.get(method, {})], len(seeds))
                for half in halves
                for kind in (0, 1)
            ]
            print(f"| {method} | {' | '.join(cells)} |")
    missing = [row.method for row in rows if not any(row.method in seed for seed in seeds)]
    if missing:
        print(f"\nNot run yet: {'; '.join(missing)}.")
    claims = [claim for claim in CLAIMS if claim.better in names and claim.worse in names]
    if claims:
        print("\n### What must hold\n")
        print("Differences in AP, paired by seed: mean ± standard deviation. `yes`: every seed has it, and the mean is")
        print("above the standard deviation.\n")
        print(f"| on | claim | trained on A ({first}) | | trained on B ({second}) | |")
        print("| --- | --- | ---: | --- | ---: | --- |")
        for claim in claims:
            cells = [cell for half in halves for cell in _verdict(claim, seeds, half)]
            print(f"| {claim.on} | {claim.better} > {claim.worse} | {' | '.join(cells)} |")


def _figures_of(project: Path, rows: Sequence[Row]) -> dict[str, Figures]:
    """The figures of one seed by method; a run that stands for both directions has them for both."""
    from maskx_pipeline.stages.compare import compare

    runs = project / "runs" / "transfer"
    folders: dict[Path, Row] = {}
    for row in rows:
        for half in row.halves:
            folder = runs / (row.name if half == "all" else f"{row.name}@{half}")
            if list(folder.glob("evaluation/*/ap-*.json")):
                folders[folder] = row
    table = compare(folders).to_json()
    by_name = {row.name: row.method for row in rows}
    figures: dict[str, Figures] = {}
    for line in table.get("methods", ()):
        for direction, numbers in line["directions"].items():
            if numbers["AP on B"] is not None:
                half = direction.split(" -> ")[0]
                figures.setdefault(by_name[line["method"]], {})[half] = (numbers["AP on B"], numbers["AP on A"])
    return figures


def _verdict(claim: Claim, seeds: Sequence[Mapping[str, Figures]], half: str) -> tuple[str, str]:
    kind = 0 if claim.on == "unseen" else 1
    differences = [
        seed[claim.better][half][kind] - seed[claim.worse][half][kind]
        for seed in seeds
        if half in seed.get(claim.better, {}) and half in seed.get(claim.worse, {})
    ]
    if len(differences) < 2:
        return "-", "-"
    mean, spread = statistics.mean(differences), statistics.stdev(differences)
    holds = min(differences) > 0 and mean > spread
    return f"{mean:+.1f} ± {spread:.1f}", "yes" if holds else "no"
