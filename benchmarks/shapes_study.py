"""Run and print the study on shapes; see shapes_study.sh.

The commands are those a user types (each log begins with it); they are run by a few long-lived processes, so that
PyTorch is loaded once in each and not once per command.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from shapes_study_rows import A, B, Row, rows_of
from shapes_study_table import print_study

# Beside those of `maskx init --shapes`: sizes with which the whole study takes two hours on two cores.
EPOCHS = ("--epochs", "3")
MASKS_ALONE = ("--box-loss", "none", "--no-coordinates")  # as the paper
JOINT = ("--iterations", "80", "--steps", "55,72")
# The std of torchvision's box predictor, uniform within 1 / sqrt(inputs), for the 256 inputs of the shapes project.
TORCHVISION_STD = str(round((1 / 3 / 256) ** 0.5, 4))
GRABCUT = ("--keep", "none", "--out", "data/grabcut.json")
GRABCUT_DATA = {"MASKX_DATA_TRAIN_ANNOTATIONS": "data/grabcut.json"}

Command = tuple[dict[str, str], tuple[str, ...]]  # environment beside the usual one, arguments of maskx
Task = tuple[Path, str, list[Command]]  # project folder, name of the log, commands


def stage1(seed: int, rows: Sequence[Row]) -> Iterator[tuple[str, list[Command]]]:
    """The detectors and RoI caches of a seed, by name."""
    number = ("--seed", str(seed))
    export = ("export-embeddings", *number)
    names = {row.stage1 for row in rows}
    yield "stage1", [({}, ("detect", "train", *number)), ({}, export)]
    if "grabcut" in names:
        yield (
            "stage1-grabcut",
            [
                ({"MASKX_GRABCUT_WORKERS": "1"}, ("convert", "teacher", "grabcut", *GRABCUT)),
                (GRABCUT_DATA, (*export, "--out", "runs/cache-grabcut.h5")),
            ],
        )
    if "torchvision-scale" in names:
        std = ("--cls-init-std", TORCHVISION_STD, "--box-init-std", TORCHVISION_STD)
        folder = "runs/detector-torchvision-scale"
        yield (
            "stage1-torchvision-scale",
            [
                ({}, ("detect", "train", *number, *std, "--out", folder)),
                ({}, (*export, "--detector", folder, "--out", "runs/cache-torchvision-scale.h5")),
            ],
        )


def stage2(seed: int, rows: Sequence[Row]) -> Iterator[tuple[str, list[Command]]]:
    """The models of a seed, by name: fitted and evaluated."""
    for row in rows:
        for half in row.halves:
            name = row.name if half == "all" else f"{row.name}@{half}"
            split = ("--split", half if half == "all" else f"@data/shapes/{half}.txt")
            if row.command == "evaluate":
                seen = ("--seen", f"@data/shapes/{A}.txt")
                yield name, [({}, (row.command, *row.options.split(), *seen, "--out", f"runs/transfer/{name}"))]
                continue
            options = (*row.options.split(), *split, "--name", name, "--out", "runs/transfer", "--seed", str(seed))
            of_command = MASKS_ALONE + (
                EPOCHS if row.command == "fit-transfer" else (*JOINT, "--init", f"runs/transfer/{row.init}@{half}")
            )
            if row.stage1:
                of_command += ("--cache", f"runs/cache-{row.stage1}.h5")
            if row.stage1 == "torchvision-scale":
                of_command += ("--detector", "runs/detector-torchvision-scale")
            yield (
                name,
                [
                    # The last of an option counts.
                    (GRABCUT_DATA if row.stage1 == "grabcut" else {}, (row.command, *of_command, *options)),
                    ({}, ("evaluate", "--model", f"runs/transfer/{name}", "--split", "all")),
                ],
            )


def run_task(task: Task) -> tuple[str, float, float, bool]:
    """Run the commands of a task one after the other; what they print goes to its log.

    Returns:
        Its name, its wall seconds, its seconds of CPU with those of processes it started, and whether all went well.
    """
    from maskx_pipeline.commands import run

    project, name, commands = task
    began, cpu_began = time.monotonic(), sum(os.times()[:4])
    os.chdir(project)
    good = True
    Path("logs").mkdir(exist_ok=True)
    with Path("logs", f"{name}.txt").open("w", buffering=1, encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        for environment, arguments in commands:
            words = [f"{key}={value}" for key, value in environment.items()] + ["maskx", *arguments]
            log.write(f"$ {' '.join(words)}\n")
            os.environ.update(environment)
            try:
                code = run(arguments)
            finally:
                for key in environment:
                    del os.environ[key]
            sys.stdout.flush()
            if code:
                good = False
                break
    return f"{project.name}/{name}", time.monotonic() - began, sum(os.times()[:4]) - cpu_began, good


def run_all(tasks: Sequence[Task], jobs: int) -> None:
    """Run tasks side by side, and say which are done.

    Raises:
        SystemExit: Some failed, after the others are done.
    """
    failed, in_all = [], 0.0
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for number, (name, seconds, cpu, good) in enumerate(pool.imap_unordered(run_task, tasks), start=1):
            in_all += cpu
            times = f"{seconds:.0f} s, {cpu:.0f} s of CPU ({in_all / 3600:.2f} h so far)"
            print(f"[{number}/{len(tasks)}] {name}: {'' if good else 'FAILED, '}{times}", file=sys.stderr)
            failed += [] if good else [name]
        pool.close()
        pool.join()
    if failed:
        sys.exit(f"failed, see the logs of: {', '.join(failed)}")


def make_project(folder: Path) -> None:
    """The data set with the masks of all categories, of which each run takes a half. One data set for all seeds."""
    from maskx_pipeline.commands import run

    if not (folder / "maskx.toml").exists() and run(
        ["init", "--shapes", "--shapes-masks", "all", "--project", str(folder)]
    ):
        sys.exit(f"no project in {folder}")


def main() -> None:
    """Read the command line, run what is not done yet, print the tables."""
    parser = argparse.ArgumentParser(description="The paper's tables on generated data.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="Processes side by side.")
    parser.add_argument("--tables", nargs="+", default=[], help="Only tables whose title has one of these words.")
    parser.add_argument("--only-print", action="store_true", help="Print from the runs that are there.")
    options = parser.parse_args()
    rows = rows_of(options.tables)
    projects = {seed: (options.folder / f"seed-{seed}").resolve() for seed in options.seeds}
    if not options.only_print:
        for project in projects.values():
            make_project(project)
        for stage in (stage1, stage2):
            named = [(project, list(stage(seed, rows))) for seed, project in projects.items()]
            # All seeds of a row one after the other, so that what is there after an hour is whole rows.
            tasks = [
                (project, *tasks[number])
                for number in range(max(len(tasks) for _, tasks in named))
                for project, tasks in named
            ]
            run_all(tasks, options.jobs)
    print_study(list(projects.values()), rows, halves=(A, B))


if __name__ == "__main__":
    main()
