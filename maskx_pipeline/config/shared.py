"""What several stages share: words, and the settings of a training."""

from __future__ import annotations

from maskx_pipeline.settings import option, settings

AMP = ("auto", "off", "bf16", "fp16")
SEED_HELP = "Seed of every random choice."
DEVICE_HELP = "Device: auto, cpu, cuda or cuda:N."
AMP_HELP = "Mixed precision; auto takes bf16 where the CPU or GPU supports it."

SCALES = {"flip": (1.0, 1.0), "jitter": (0.8, 1.25), "lsj": (0.1, 2.0)}
"""How training images are augmented, and the range of their scale (Ghiasi et al. 2021, section 4)."""


def linear_lr(images: int) -> float:
    """The learning rate for so many images an iteration: the paper's 0.02 for 16, by the rule of Goyal et al. 2017."""
    return 0.02 * images / 16


@settings
class Training:
    """SGD, the same for the detector, stage 2 and joint training; how long it goes on, each says in its own units."""

    lr: float = option(0.02, "Learning rate of SGD.", minimum=0)
    momentum: float = option(0.9, "Momentum of SGD.", minimum=0, maximum=1)
    weight_decay: float = option(1e-4, "Weight decay; biases have none.", minimum=0)
    bias_lr_factor: float = option(2.0, "Learning rate of biases, relative to lr.", minimum=0)
    warmup_iterations: int = option(500, "Steps of linear warm-up, at most a tenth of all.", minimum=0)
    warmup_factor: float = option(1 / 3, "Learning rate at the first step, relative to lr.", minimum=0)
    gamma: float = option(0.1, "Factor of each drop.", minimum=0)
    clip_grad_norm: float = option(10.0, "Largest norm of the gradient; 0 switches clipping off.", minimum=0)
    amp: str = option("auto", AMP_HELP, choices=AMP)
    checkpoint_every: int = option(500, "Steps between resumable checkpoints.", identity=False, minimum=1)
    tensorboard: bool = option(
        False,
        "Also write losses, learning rate and metrics for TensorBoard, into the run folder; needs the extra "
        "tensorboard.",
        identity=False,
    )
    device: str = option("auto", DEVICE_HELP, identity=False)
    deterministic: bool = option(
        False,
        "Ask PyTorch for sums in a fixed order on a GPU, for runs that can be repeated to the last bit. Slower.",
        identity=False,
    )
    seed: int = option(0, SEED_HELP, minimum=0)

    @property
    def learning_rate(self) -> float:
        """``lr`` as a number."""
        return self.lr


@settings
class ImageTraining(Training):
    """Training on images; the defaults are the paper's schedule (section 3.2)."""

    iterations: int = option(90_000, "Training iterations.", minimum=1)
    images_per_batch: int = option(16, "Images of an iteration, over all GPUs.", minimum=1)
    accumulate: int = option(
        1,
        "Parts of equal size in which an iteration goes through its images, one after the other, for less memory; the "
        "losses are averaged over the parts, as over GPUs.",
        minimum=1,
    )
    lr: float | str = option(  # type: ignore[assignment]  # of others it is a number
        0.02,
        "Learning rate; scale it with images-per-batch, or give auto: 0.02 for 16 images, in proportion for others.",
        minimum=0,
        number_or=("auto",),
    )
    ema: float = option(
        0.0,
        "Decay of a moving average of the weights, such as 0.9998, which is measured and written instead of them; 0 "
        "switches it off.",
        minimum=0,
        maximum=1,
    )
    warmup_iterations: int = option(500, "Iterations of linear warm-up.", minimum=0)
    warmup_factor: float = option(1 / 3, "Learning rate at the first iteration, relative to lr.", minimum=0)
    steps: tuple[int, ...] = option((60_000, 80_000), "Iterations at which the learning rate drops.")
    clip_grad_norm: float = option(0.0, "Largest norm of the gradient; 0 switches clipping off.", minimum=0)
    flip: float = option(0.5, "Probability of a horizontal flip.", minimum=0, maximum=1)
    augment: str = option(
        "flip",
        "What is done to training images beside the flip: flip is nothing; jitter scales them by 0.8 to 1.25, and lsj "
        "(large-scale jitter) by 0.1 to 2, in a frame of their own size.",
        choices=tuple(SCALES),
    )
    colour_jitter: float = option(
        0.0,
        "Largest change of brightness, contrast and saturation of training images, as a share; 0 changes none.",
        minimum=0,
        maximum=1,
    )
    eval_every: int = option(5000, "Iterations between measurements of AP; 0: at the end.", minimum=0)
    checkpoint_every: int = option(1000, "Iterations between resumable checkpoints.", identity=False, minimum=1)
    workers: int = option(4, "Processes that read images, one for each core at most.", identity=False, minimum=0)

    @property
    def learning_rate(self) -> float:
        """``lr`` as a number."""
        return linear_lr(self.images_per_batch) if self.lr == "auto" else float(self.lr)


@settings
class MaskTraining(Training):
    """Training on the masks of some categories."""

    name: str = option("", "Folder of the run, OUT/NAME; made from the settings of the model if empty.", identity=False)
    split: str = option(  # known by what it resolves to
        "masked",
        "Category set whose masks may be used: the seen categories.",
        identity=False,
        may_name_file=True,
    )
    allow_mask_weights: bool = option(
        False,
        "Train on a part of the categories although the detector needed --allow-mask-weights: its first weights were "
        "trained with masks, so AP on unseen categories means nothing.",
        identity=False,
    )
