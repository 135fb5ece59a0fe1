"""Tiny projects of generated images: the settings they share, and the command line in this process."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from maskx_pipeline.commands import run
from maskx_pipeline.project import read_toml, write_project

DETECT: dict[str, object] = {
    "backbone": "resnet18", "backbone-weights": "none", "fpn-channels": 16, "box-head-dim": 16, "min-size": 64,
    "max-size": 64, "anchor-sizes": [4, 8, 16, 32, 64], "rpn-pre-nms": 50, "rpn-post-nms": 20, "rois-per-image": 16,
    "iterations": 2, "images-per-batch": 2, "warmup-iterations": 1, "steps": [2], "score-threshold": 0.0,
    "detections-per-image": 5, "workers": 0,
}  # fmt: skip
"""[detect] of a detector that is there, and has learnt nothing."""

TRAINED = DETECT | {
    "box-head-dim": 32, "canonical-box-size": 32, "rpn-pre-nms": 100, "rpn-post-nms": 50, "rois-per-image": 32,
    "iterations": 12, "images-per-batch": 4, "lr": 0.01, "warmup-iterations": 4, "steps": [10], "clip-grad-norm": 5.0,
    "detections-per-image": 10,
}  # fmt: skip
"""[detect] of one that is trained for long enough to be measured, saved and resumed."""


SAVED = DETECT | {
    "fpn-channels": 8, "canonical-box-size": 32, "iterations": 6, "clip-grad-norm": 5.0, "checkpoint-every": 2,
}  # fmt: skip
"""[detect] of one that is as small as can be, and saved three times while it is trained."""


class Done(NamedTuple):
    """What a command printed."""

    stdout: str
    stderr: str


def maskx(project: Path, *words: str, code: int = 0) -> Done:
    """Run a command in this process, as from the project folder: importing torch anew would take longer than it."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(project), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        returned = run(words)
    done = Done(out.getvalue(), err.getvalue())
    assert returned == code, f"maskx {' '.join(words)} -> {returned}\n{done.stdout}\n{done.stderr}"
    return done


def shapes_of(*, train: int, val: int, size: int = 64) -> tuple[str, ...]:
    """The words of `maskx init` for so many images, of so many pixels, with eight categories."""
    return (
        "--shapes", "--shapes-shapes", "2", "--shapes-textures", "2", "--shapes-hues", "2",
        "--shapes-train-count", str(train), "--shapes-val-count", str(val), "--shapes-image-size", str(size),
    )  # fmt: skip


def write_settings(project: Path, tables: Mapping[str, Mapping[str, object]]) -> None:
    """Put tables in place of those that `maskx init` wrote for the stages."""
    written = read_toml(project / "maskx.toml")
    write_project(project, {name: written[name] for name in ("data", "shapes")} | dict(tables))
