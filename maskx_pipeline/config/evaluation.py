"""What is measured, and what is predicted."""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.config.shared import DEVICE_HELP
from maskx_pipeline.settings import StageConfig, option, settings


@settings
class EvaluateGrabCutConfig(StageConfig):
    """Faster R-CNN tested with GrabCut: the cached detections, each with GrabCut's foreground of its box."""

    table = "evaluate-grabcut"
    cache: Path = option(Path("runs/cache.h5"), "RoI cache that holds the detections.")
    out: Path = option(Path("runs/transfer/grabcut"), "Folder of the run.")
    split: str = option("all", "Category set on which AP is reported.", may_name_file=True)
    seen: str = option(
        "masked",
        "Category set reported as seen, to stand beside models trained on its masks; GrabCut is trained on none.",
        may_name_file=True,
    )


@settings
class EvaluateConfig(StageConfig):
    """AP on a category set."""

    table = "evaluate"
    model: Path | None = option(None, "Run folder of a transfer model; the newest of --runs if not given.")
    runs: Path = option(Path("runs"), "Folder in which the newest model is looked for.")
    checkpoint: str = option("best", "Which weights of that run.", choices=("best", "last"))
    split: str = option("all", "Category set on which AP is reported.", may_name_file=True)
    from_: str = option(
        "auto",
        "cache: the cached detections; images: the whole model; auto: the cache if it is there.",
        choices=("auto", "cache", "images"),
    )
    device: str = option("auto", DEVICE_HELP, identity=False)


@settings
class PredictConfig(StageConfig):
    """Masks for new images."""

    table = "predict"
    model: Path | None = option(None, "Run folder of a transfer model; the newest of --runs if not given.")
    runs: Path = option(Path("runs"), "Folder in which the newest model is looked for.")
    checkpoint: str = option("best", "Which weights of that run.", choices=("best", "last"))
    out: Path = option(Path("predictions"), "Folder to write: overlays and results.json.")
    score_threshold: float = option(0.5, "Detections below this score are left out.", minimum=0)
    limit: int = option(0, "Segment at most this many images; 0: all.", minimum=0)
    device: str = option("auto", DEVICE_HELP, identity=False)
