"""Runs a page of the documentation as it is written, but for what these lists say."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from docs_pages import ROOT, SHELL, Block, blocks_of, commands_of, read_page
from maskx_in_process import run_script

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "pipelines" / "README.md", *(ROOT / "docs").rglob("*.md"))
)
NOT_RUN = ("text", "toml", "json")


class Instead(NamedTuple):
    """What is run in place of a command of a page, or nothing, and why."""

    page: str
    command: str
    run: str
    why: str


QUICKSTART = "installs into .venv, and takes minutes; the stages are those of these pages"
DOWNLOAD = "downloads the weights"
SCHEDULE = "days; what is given but for the schedule comes from the settings of the test"
RUN = "its stages follow in the page; it is run in docs/quickstart.md"
GPUS = "8 GPUs; two processes without one"
INSTEAD = (
    Instead("README.md", "./pipelines/quickstart.sh", "", QUICKSTART),
    Instead("docs/quickstart.md", "./pipelines/quickstart.sh", "", QUICKSTART),
    Instead("docs/explanation/study.md", "benchmarks/shapes_study.sh", "", "hours"),
    Instead("docs/explanation/study.md", "python benchmarks/class_weights.py", "", "reads what the study made"),
    Instead("docs/how-to/annotate.md", "label-studio-converter", "", "wants label-studio-sdk; a test of its own"),
    Instead(
        "docs/how-to/annotate.md",
        "maskx annotate data/train.json --wanted-iou 0.8",
        "maskx annotate data/train.json --wanted-iou 0.01 --out sure.json",
        "a model of two steps has no mask that good",
    ),
    Instead("docs/how-to/your-dataset.md", "maskx detect import", "", DOWNLOAD),
    *(Instead(page, "maskx run", "", RUN) for page in ("README.md", "docs/how-to/your-dataset.md")),
    Instead("docs/how-to/import-and-export.md", "maskx detect import   ", "", DOWNLOAD),
    Instead("docs/how-to/import-and-export.md", "maskx detect import --weights fasterrcnn", "", DOWNLOAD),
    *(
        Instead(
            "docs/how-to/resume-and-many-gpus.md",
            f"torchrun --nproc-per-node 8 -m maskx_pipeline {stage}",
            f"torchrun --standalone --nproc-per-node 2 -m maskx_pipeline {stage}",
            GPUS,
        )
        for stage in (
            *("detect train", "export-embeddings", "fit-transfer", "e2e", "evaluate", "predict"),
            *("annotate data/train.json", "run"),
        )
    ),
    *(
        Instead(
            page,
            "torchrun --nproc-per-node 8 -m maskx_pipeline tune",
            "torchrun --standalone --nproc-per-node 2 -m maskx_pipeline tune",
            GPUS,
        )
        for page in ("docs/how-to/resume-and-many-gpus.md", "docs/how-to/tune.md")
    ),
    Instead("docs/how-to/resume-and-many-gpus.md", "torchrun --nnodes 2", "", "a test has two agents on one machine"),
    Instead("docs/how-to/resume-and-many-gpus.md", "sbatch --nodes 2", "", "SLURM; a test has stand-ins for it"),
    Instead("docs/how-to/resume-and-many-gpus.md", "tensorboard --logdir runs", "", "a server"),
    Instead("docs/how-to/resume-and-many-gpus.md", "maskx detect train --images-per-batch 4", "", SCHEDULE),
    Instead("docs/how-to/resume-and-many-gpus.md", "maskx fit-transfer --embedding cls --device cuda:0 &", "", GPUS),
    Instead("docs/how-to/resume-and-many-gpus.md", "maskx fit-transfer --embedding none --device cuda:1 &", "", GPUS),
    Instead("docs/how-to/shell-completion.md", 'eval "$(_MASKX_COMPLETE=zsh_source maskx)"', "", "zsh is not bash"),
    Instead(
        "docs/how-to/visual-genome.md", "maskx detect train --backbone resnet101", "maskx detect train", SCHEDULE
    ),
    Instead("pipelines/README.md", "GPUS=8 pipelines/table1a.sh", "", GPUS),
    Instead(
        "pipelines/README.md",
        "pipelines/table1a.sh PROJECT_FOLDER",
        "QUICK=1 pipelines/table1a.sh PROJECT_FOLDER",
        SCHEDULE,
    ),
    Instead(
        "pipelines/README.md",
        "SPLIT_A=masked SPLIT_B= pipelines/table1a.sh PROJECT_FOLDER",
        "QUICK=1 SPLIT_A=masked SPLIT_B= pipelines/table1a.sh PROJECT_FOLDER",
        SCHEDULE,
    ),
    Instead("pipelines/README.md", "for trial in 1 2 3 4 5", "", "50 models; the recipe has a test of its own"),
    Instead("pipelines/README.md", "pipelines/figure3.sh", "", "as above"),
    Instead("pipelines/README.md", ".venv/bin/python tests/convert/generate_visual", "", "minutes; a test of its own"),
    Instead("pipelines/README.md", "QUICK=1 pipelines/visual_genome.sh", "", "as above"),
)  # fmt: skip
"""``command`` is how it begins."""

BLOCKS_NOT_RUN = {
    ("docs/how-to/other-detector.md", '"""YOLOX-nano, run by'): "it is the class that the next block names",
    ("docs/how-to/annotate.md", "import fiftyone"): "FiftyOne wants a database server",
}
"""Page and beginning of the block: why."""

BEFORE = {
    ("docs/how-to/resume-and-many-gpus.md", "maskx fit-transfer --embedding cls+box --epochs 18"): "maskx fit-transfer",
    ("docs/how-to/annotate.md", "maskx annotate annotated.json --rejected"): (
        "printf 'annotation_id,decision\\n1,rejected\\n' > decisions.csv"
    ),
    ("docs/how-to/import-and-export.md", "maskx detect import --weights mine.pth"): "rm -r runs",
    (
        "docs/how-to/import-and-export.md",
        "maskx fit-transfer --embedding cls+box --no-coordinates",
    ): "maskx export-embeddings && maskx fit-transfer",
}
"""Page and beginning of the block: what its reader has done before, and the page does not say."""


def script_of(page: str, folder: Path) -> str:
    """All blocks of a page as one script for bash, which stops at the first command that fails."""
    lines = ["set -euo pipefail"]
    for block in blocks_of(page, read_page(page)):
        if block.language in NOT_RUN or matching(block, BLOCKS_NOT_RUN):
            continue
        lines.append(f"echo '== {page}, line {block.line}' >&2")
        lines += [BEFORE[key] for key in matching(block, BEFORE)]
        if block.language == "python":
            file = folder / f"block-{block.line}.py"
            file.write_text(block.text, encoding="utf-8")
            lines.append(f"python {file}")
        else:
            assert block.language in SHELL, f"{page}, line {block.line}: a block of {block.language}"
            lines += [_instead(page, command) for command in commands_of(block)]
    return "\n".join([*lines, ""])


def _instead(page: str, command: str) -> str:
    found = [entry.run for entry in INSTEAD if entry.page == page and command.startswith(entry.command)]
    return found[0] if found else command


def matching(block: Block, table: Mapping[tuple[str, str], str]) -> list[tuple[str, str]]:
    return [key for key in table if key[0] == block.page and block.text.startswith(key[1])]


def run_page(page: str, folder: Path, scripts: Path, *, settings: Mapping[str, str]) -> str:
    """Run a page in a folder; what it printed."""
    scripts.mkdir()
    script = scripts / "page.sh"
    script.write_text(script_of(page, scripts), encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MASKX")}
    environment = {
        **inherited, **settings, "HOME": str(scripts), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }  # fmt: skip
    with contextlib.chdir(folder):
        done = run_script(script, environment=environment, on_path=True)
    assert done.returncode == 0, f"{page}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    return done.stdout
