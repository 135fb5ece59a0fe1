"""Stage 1: the detector, and the RoI cache."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

from maskx_pipeline.config.shared import AMP, AMP_HELP, DEVICE_HELP, SEED_HELP, ImageTraining
from maskx_pipeline.settings import StageConfig, option, settings

IMAGENET, NONE = "imagenet", "none"
"""What the weights of a backbone may come from, beside a file."""

ASSIGNED, FINEST_AND_ASSIGNED = "assigned", "finest+assigned"
POOLS = {ASSIGNED: 1, FINEST_AND_ASSIGNED: 2}
"""How RoI features are pooled from the FPN, and from how many of its maps at once."""


@settings
class DetectConfig(ImageTraining, StageConfig):
    """Stage 1, Faster R-CNN; the defaults are the paper's (section 4.1) and those of the authors' Detectron."""

    table = "detect"
    out: Path = option(Path("runs/detector"), "Folder of the run.")
    backbone: str = option(
        "resnet50", "Backbone, with FPN.", choices=("resnet18", "resnet50", "resnet101"), forward=True
    )
    backbone_weights: str = option(  # known by the file's content
        "imagenet", "imagenet (torchvision downloads it), none, or a weights file.", identity=False, may_name_file=True
    )
    allow_mask_weights: bool = option(
        False,
        "Accept a weights file of a Mask R-CNN, which was trained with masks; not for work on unseen categories.",
        identity=False,
    )
    norm: str = option(
        "auto",
        "Normalisation: frozen or batch; auto freezes it where the backbone starts from weights.",
        choices=("auto", "frozen", "batch"),
        forward=True,
    )
    trainable_layers: int = option(3, "ResNet stages trained when the backbone starts from weights.", minimum=0)
    architecture: str = option(
        "v1",
        "v1: Faster R-CNN as in the paper; v2: torchvision's fasterrcnn_resnet50_fpn_v2, with batch norm in the FPN, "
        "two convolutions in the RPN, and four and a fully connected layer in the box head.",
        choices=("v1", "v2"),
        forward=True,
    )
    frozen_eps: float = option(
        1e-5,
        "Added to the variance by frozen normalisation; set by `maskx detect import`.",
        minimum=0,
        forward=True,
    )
    other_outputs: int = option(
        0,
        "Classes beside the data set's that the box head knows and that count as background; set by `maskx detect "
        "import`.",
        minimum=0,
        forward=True,
    )
    fpn_channels: int = option(256, "Channels of the FPN, and so of the RoI features.", minimum=8, forward=True)
    box_head_dim: int = option(1024, "Width of the two-FC box head, and so of w_cls.", minimum=8, forward=True)
    min_size: int = option(800, "Short side of the resized image, in pixels.", minimum=32, forward=True)
    max_size: int = option(1333, "Longest allowed long side, in pixels.", minimum=32, forward=True)
    anchor_sizes: tuple[int, ...] = option(
        (32, 64, 128, 256, 512), "Anchor side per FPN level, in pixels.", forward=True
    )
    canonical_box_size: int = option(
        224, "Box side that is pooled from FPN level 4, in pixels.", minimum=8, forward=True
    )
    rpn_pre_nms: int = option(
        2000, "Proposals per level before NMS in training (1000 at test).", minimum=1, forward=True
    )
    rpn_post_nms: int = option(1000, "Proposals per image after NMS.", minimum=1, forward=True)
    rois_per_image: int = option(512, "RoIs sampled per image for the box head.", minimum=1)
    score_threshold: float = option(
        0.05, "Detections below this score are dropped.", minimum=0, maximum=1, forward=True
    )
    nms_threshold: float = option(0.5, "IoU of the per-class NMS.", minimum=0, maximum=1, forward=True)
    detections_per_image: int = option(100, "Most detections of an image.", minimum=1, forward=True)
    cls_init_std: float = option(0.01, "Initial std of w_cls; T reads these weights, so keep it small.", minimum=0)
    box_init_std: float = option(0.001, "Initial std of w_box.", minimum=0)
    smooth_l1_beta: float = option(1.0, "Beta of the box loss (Detectron 1.0, torchvision 1/9).", minimum=0)

    def identity(self) -> dict[str, Any]:
        """What describes an imported detector counts only where it differs from the paper's."""
        usual = {item.name: item.default for item in dataclasses.fields(cast(Any, self))}
        return {
            name: value
            for name, value in super().identity().items()
            if name not in ("architecture", *IMPORTED_ONLY) or value != usual[name]
        }


IMPORTED_ONLY = ("frozen_eps", "other_outputs")
"""Fields of :class:`DetectConfig` that no training sets, but `maskx detect import`."""


@settings
class ImportConfig(StageConfig):
    """A torchvision Faster R-CNN instead of one trained here."""

    table = "detect-import"
    weights: str = option(
        "fasterrcnn_resnet50_fpn",
        "fasterrcnn_resnet50_fpn or fasterrcnn_resnet50_fpn_v2, whose COCO_V1 weights torchvision downloads; or a "
        "file: .safetensors, or a torch state dict.",
        identity=False,  # known by the file's content
        may_name_file=True,
    )
    names: Path | None = option(
        None,
        "Text file with the category name of each output in order, without the background; needed where the weights "
        "have other outputs than COCO's 91.",
    )
    out: Path = option(Path("runs/detector"), "Folder of the run.")
    min_size: int = option(800, "Short side of the resized image, in pixels.", minimum=32)
    max_size: int = option(1333, "Longest allowed long side, in pixels.", minimum=32)
    frozen_eps: float | None = option(
        None,
        "Added to the variance by frozen normalisation: 0 for weights that come from fasterrcnn_resnet50_fpn's "
        "COCO_V1, 1e-5 for those trained otherwise; by default 0 for that very file.",
        minimum=0,
    )
    allow_mask_weights: bool = option(
        False,
        "Accept a weights file of a Mask R-CNN, which was trained with masks; not for work on unseen categories.",
        identity=False,
    )


_OF_VAL = ("only", "roi_size", "pool", "mask_size", "amp")
"""The settings of an export that decide what is stored of val."""


@settings
class ExportConfig(StageConfig):
    """From the frozen detector to the RoI cache."""

    table = "export-embeddings"
    detector: Path = option(
        Path("runs/detector"),
        "Run folder of stage 1; or a detector of your own, FILE.py:Name or package.module:Name, whose arguments are "
        "the table [detector].",
        may_name_class=True,
    )
    checkpoint: str = option(  # known by the weights
        "best", "Which weights of that run.", choices=("best", "last"), identity=False
    )
    out: Path = option(Path("runs/cache.h5"), "RoI cache to write.")
    only: str | None = option(
        None,
        "val: store the detections and objects of val alone, for evaluating from the cache; nothing can be fitted to "
        "it. By default train too.",
        choices=("val",),
    )
    rois_per_object: int = option(4, "Proposals stored per object, beside its ground-truth box.", minimum=0)
    proposal_iou: float = option(0.5, "Smallest IoU of such a proposal with its object.", minimum=0, maximum=1)
    box_jitter: float = option(
        0.0,
        "Also store one more RoI for each object, its box with each side moved at random by up to this share of the "
        "box's width or height; 0 stores none.",
        minimum=0,
        maximum=0.5,
    )
    unmasked_objects: str = option(
        "1000",
        "Objects without a mask whose RoIs are stored for the box losses, at most so many of each category: all, none, "
        "or a number.",
        count_or=("all", "none"),
    )
    colours: bool = option(
        False,
        "Also store the image in the frame of each RoI of train, mask-size x mask-size pixels, for the pairwise loss.",
    )
    flip: bool = option(False, "Also store the RoIs of the mirrored training images.")
    roi_size: int = option(14, "Side of the pooled RoI features.", minimum=1)
    pool: str = option(
        ASSIGNED,
        "Maps of the FPN that RoI features are pooled from: the one that suits the size of the box; or the finest one "
        "beside it, for twice the channels and bytes.",
        choices=tuple(POOLS),
    )
    mask_size: int = option(28, "Side of the mask targets; twice roi-size for the FCN head.", minimum=1)
    feature_dtype: str = option(
        "float16",
        "Type of the features of train. int8, with a scale for each channel of each RoI, takes half of the room; the "
        "features of val stay float16.",
        choices=("float16", "int8"),
    )
    amp: str = option("auto", AMP_HELP, choices=AMP)
    flush_every: int = option(
        50, "Images between flushes; an interrupted export loses at most these.", identity=False, minimum=1
    )
    workers: int = option(4, "Threads that read images.", identity=False, minimum=0)
    device: str = option("auto", DEVICE_HELP, identity=False)
    seed: int = option(0, SEED_HELP, minimum=0)

    def identity(self) -> dict[str, Any]:
        """Without what is said of train, where only val is stored."""
        identity = super().identity()
        return identity if self.only is None else {name: identity[name] for name in _OF_VAL}

    @property
    def most_rois_of_object(self) -> int:
        """The most RoIs of an object in an image of train: its own box, the moved one, and proposals."""
        return 1 + (self.box_jitter > 0) + self.rois_per_object
