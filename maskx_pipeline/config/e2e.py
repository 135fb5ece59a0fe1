"""Joint training of detector, T and mask head."""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.config.detection import ASSIGNED, POOLS
from maskx_pipeline.config.shared import ImageTraining, MaskTraining
from maskx_pipeline.config.transfer import TransferConfig
from maskx_pipeline.settings import StageConfig, option, settings


@settings
class E2EConfig(ImageTraining, MaskTraining, StageConfig):
    """Joint training of detector, T and mask head; the defaults are the paper's schedule (section 3.2).

    The detector is that of `init`, or that of [detect]; the mask model that of `init`, or that of [fit-transfer].
    """

    table = "e2e"
    init: Path = option(
        Path("runs/detector"),
        "What it starts from: the run folder of a detector or of a transfer model, or the word backbone, for the "
        "backbone weights of [detect].",
    )
    checkpoint: str = option("best", "Which weights of that run.", choices=("best", "last"))
    out: Path = option(Path("runs/e2e"), "Folder that holds the runs of this stage.")
    stop_gradient: bool = option(True, "Keep the gradient of the mask loss from the class weights that T reads.")
    roi_size: int = option(14, "Side of the RoI features that the mask head reads.", minimum=1)
    pool: str = option(
        ASSIGNED,
        "Maps of the FPN that these are pooled from: the one that suits the size of the box; or the finest one beside "
        "it.",
        choices=tuple(POOLS),
    )


def mask_options() -> tuple[str, ...]:
    """The fields of :class:`TransferConfig` that describe the mask model; those of its fitting joint training has."""
    of_fitting = {"cache", "cache_in", "detector", "epochs", "rois_per_batch", "box_rois_per_batch", "rois", "lr_drops"}
    of_fitting |= {item.name for item in E2EConfig.fields()}
    return tuple(item.name for item in TransferConfig.fields() if item.name not in of_fitting)
