"""Who gives masks for boxes beside a trained model, and what is done with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskx_pipeline.config.shared import AMP, AMP_HELP, DEVICE_HELP, SEED_HELP
from maskx_pipeline.settings import StageConfig, option, settings

SAM_WEIGHTS = {"sam": "facebook/sam-vit-base", "sam2": "facebook/sam2.1-hiera-small"}
"""The teachers of the extra `sam`, and the weights that they take where none are given."""

TEACHERS = ("grabcut", *SAM_WEIGHTS)
TEACHER_HELP = f"{', '.join(TEACHERS)}, or a class package.module:Name or FILE.py:Name"


@settings
class GrabCutConfig(StageConfig):
    """OpenCV's GrabCut on boxes, for the baselines of the paper's section 4.3, which gives no settings."""

    table = "grabcut"
    iterations: int = option(5, "Rounds of fitting colours and cutting.", minimum=1)
    context: float = option(
        0.0,
        "Margin around a box, relative to its longer side, that background colours are taken from; 0: the whole image, "
        "which is slow for small boxes in large images.",
        minimum=0,
    )
    workers: int = option(4, "Threads, an image each.", identity=False, minimum=0)
    seed: int = option(0, SEED_HELP, minimum=0)


@settings
class SamConfig(StageConfig):
    """Segment Anything, prompted with boxes: SAM and SAM 2 of Hugging Face transformers (the extra `sam`)."""

    table = "sam"
    weights: str = option(  # known by their content
        "",
        "Name on the Hugging Face Hub, from which the weights are downloaded once, or a folder. By default "
        + " and ".join(f"{weights} for {name}" for name, weights in SAM_WEIGHTS.items())
        + ".",
        identity=False,
        may_name_folder=True,
    )
    revision: str = option("main", "Branch, tag or commit on the Hub.", identity=False)
    amp: str = option("auto", f"{AMP_HELP} It is that of the image encoder; the rest is float32.", choices=AMP)
    boxes_per_batch: int = option(32, "Boxes of an image that are segmented at once.", identity=False, minimum=1)


@dataclass(frozen=True, slots=True)
class TeacherSettings:
    """The settings of the teachers that come with maskx."""

    grabcut: GrabCutConfig
    sam: SamConfig


DEFAULT_TEACHERS = TeacherSettings(
    GrabCutConfig.from_mapping({}, source="defaults"), SamConfig.from_mapping({}, source="defaults")
)


@settings
class EvaluateTeacherConfig(StageConfig):
    """A teacher in the place of a model: what `maskx evaluate` takes with --teacher."""

    table = "evaluate-teacher"
    boxes: str = option(
        "detected",
        "detected: the cached detections; given: the boxes of val, as a perfect detector would find them.",
        choices=("detected", "given"),
    )
    cache: Path = option(Path("runs/cache.h5"), "RoI cache that holds the detections.")
    out: Path | None = option(
        None,
        "Folder of the run; by default RUNS/transfer/TEACHER, with -given-boxes behind it at given boxes.",
    )
    seen: str = option(
        "masked",
        "Category set reported as seen, to stand beside models trained on its masks; a teacher is trained on none.",
        identity=False,
        may_name_file=True,
    )


@settings
class ConvertTeacherConfig(StageConfig):
    """Training masks by a teacher."""

    table = "convert-teacher"
    out: Path = option(Path("data/teacher.json"), "Annotation file to write: the training set with a teacher's masks.")
    keep: str = option(
        "all", "Category set whose own masks are kept; none: each mask is the teacher's.", may_name_file=True
    )
    device: str = option("auto", DEVICE_HELP, identity=False)
