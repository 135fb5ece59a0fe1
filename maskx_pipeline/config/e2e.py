"""Joint training of detector, T and mask head."""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.config.shared import (
    ALLOW_MASK_WEIGHTS_HELP,
    AMP,
    AMP_HELP,
    DEVICE_HELP,
    SEED_HELP,
    SPLIT_HELP,
    TENSORBOARD_HELP,
    WORKERS_HELP,
)
from maskx_pipeline.config.transfer import TransferConfig
from maskx_pipeline.settings import StageConfig, option, settings


@settings
class E2EConfig(StageConfig):
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
    name: str = option("", "Folder of the run, OUT/NAME; made from the settings of the model if empty.", identity=False)
    split: str = option("masked", SPLIT_HELP, identity=False, may_name_file=True)  # known by what it resolves to
    allow_mask_weights: bool = option(False, ALLOW_MASK_WEIGHTS_HELP, identity=False)
    stop_gradient: bool = option(True, "Keep the gradient of the mask loss from the class weights that T reads.")
    roi_size: int = option(14, "Side of the RoI features that the mask head reads.", minimum=1)
    iterations: int = option(90_000, "Training iterations.", minimum=1)
    images_per_batch: int = option(16, "Images of an iteration, over all GPUs.", minimum=1)
    lr: float = option(0.02, "Learning rate; scale it with images-per-batch.", minimum=0)
    momentum: float = option(0.9, "Momentum of SGD.", minimum=0)
    weight_decay: float = option(1e-4, "Weight decay; biases have none.", minimum=0)
    bias_lr_factor: float = option(2.0, "Learning rate of biases, relative to lr.", minimum=0)
    warmup_iterations: int = option(500, "Iterations of linear warm-up.", minimum=0)
    warmup_factor: float = option(1 / 3, "Learning rate at the first iteration, relative to lr.", minimum=0)
    steps: tuple[int, ...] = option((60_000, 80_000), "Iterations at which the learning rate drops.")
    gamma: float = option(0.1, "Factor of each drop.", minimum=0)
    clip_grad_norm: float = option(0.0, "Largest norm of the gradient; 0 switches clipping off.", minimum=0)
    flip: float = option(0.5, "Probability of a horizontal flip.", minimum=0)
    amp: str = option("auto", AMP_HELP, choices=AMP)
    eval_every: int = option(5000, "Iterations between measurements of box and mask AP; 0: at the end.", minimum=0)
    checkpoint_every: int = option(1000, "Iterations between resumable checkpoints.", identity=False, minimum=1)
    tensorboard: bool = option(False, TENSORBOARD_HELP, identity=False)
    workers: int = option(4, WORKERS_HELP, identity=False, minimum=0)
    device: str = option("auto", DEVICE_HELP, identity=False)
    seed: int = option(0, SEED_HELP, minimum=0)


def mask_options() -> tuple[str, ...]:
    """The fields of :class:`TransferConfig` that describe the mask model; those of its fitting joint training has."""
    of_fitting = {"cache", "cache_in", "detector", "epochs", "rois_per_batch", "lr_drops"}
    of_fitting |= {item.name for item in E2EConfig.fields()}
    return tuple(item.name for item in TransferConfig.fields() if item.name not in of_fitting)
