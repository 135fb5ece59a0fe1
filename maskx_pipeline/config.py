"""One frozen dataclass per stage: the only home of defaults.

Each dataclass makes a table of maskx.toml, the options of a command, a page of the reference, and the digest by which
a stage knows whether its result is still the one asked for.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from maskx_pipeline.settings import StageConfig, option, settings

_AMP = ("auto", "off", "bf16", "fp16")
_SEED_HELP = "Seed of every random choice."
_SPLIT_HELP = "Category set whose masks may be used: the seen categories."
_DEVICE_HELP = "Device: auto, cpu, cuda or cuda:N."
_WORKERS_HELP = "Processes that read images."
_AMP_HELP = "Mixed precision; auto takes bf16 where the CPU or GPU supports it."


@settings
class DataConfig(StageConfig):
    """The data set: COCO-format annotation files and their image folders."""

    table = "data"
    train_images: Path = option(Path("data/train"), "Folder of the training images.")
    train_annotations: Path = option(Path("data/train.json"), "COCO-format annotations of the training images.")
    val_images: Path = option(Path("data/val"), "Folder of the validation images.")
    val_annotations: Path = option(Path("data/val.json"), "COCO-format annotations of the validation images.")


@settings
class ShapesConfig(StageConfig):
    """The generated data set `shapes`: each category is a shape, a texture and a hue."""

    table = "shapes"
    out: Path = option(
        Path("data/shapes"), "Folder to write: train/, val/, train.json, val.json, seen.txt, unseen.txt."
    )
    shapes: int = option(3, "Number of shapes, 2 to 6.", minimum=2)
    textures: int = option(3, "Number of textures, 1 to 4.", minimum=1)
    hues: int = option(4, "Number of hues, 2 to 12.", minimum=2)
    categories: int = option(0, "Number of categories; 0 takes every combination.", minimum=0)
    train_count: int = option(1200, "Number of training images.", minimum=1)
    val_count: int = option(300, "Number of validation images.", minimum=1)
    image_size: int = option(96, "Side of the square images, in pixels.", minimum=32)
    objects_min: int = option(3, "Fewest objects in an image.", minimum=1)
    objects_max: int = option(6, "Most objects in an image.", minimum=1)
    masks: str = option(
        "half",
        "Categories with masks in train.json: half of them, or all, so that a split chooses. seen.txt and unseen.txt "
        "list the two halves either way.",
        choices=("half", "all"),
    )
    seed: int = option(0, _SEED_HELP, minimum=0)


@settings
class VisualGenomeConfig(StageConfig):
    """From Visual Genome's own files (v1.4) to COCO-format annotations; the defaults are the paper's (section 5)."""

    table = "visual-genome"
    objects: Path = option(Path("data/visual-genome/objects.json"), "Visual Genome's objects.json.")
    image_data: Path = option(Path("data/visual-genome/image_data.json"), "Visual Genome's image_data.json.")
    coco_val: Path | None = option(
        None, "COCO's instances_val2017.json, or a list of image ids: these images become val."
    )
    out: Path = option(
        Path("data/vg3k"), "Folder to write: train.json, val.json, test.json, coco-categories.json, report.json."
    )
    categories: int = option(3000, "Most frequent synsets that become categories.", minimum=1)
    test_count: int = option(5000, "Images of test: the last of those that are not in COCO.", minimum=0)


@settings
class GrabCutConfig(StageConfig):
    """OpenCV's GrabCut on boxes, for the baselines of the paper's section 4.3, which gives no settings."""

    table = "grabcut"
    out: Path = option(Path("data/grabcut.json"), "Annotation file to write: the training set with GrabCut masks.")
    iterations: int = option(5, "Rounds of fitting colours and cutting.", minimum=1)
    context: float = option(
        0.0,
        "Margin around a box, relative to its longer side, that background colours are taken from; 0: the whole image, "
        "which is slow for small boxes in large images.",
        minimum=0,
    )
    workers: int = option(4, "Threads, an image each.", identity=False, minimum=0)
    seed: int = option(0, _SEED_HELP, minimum=0)


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
class DetectConfig(StageConfig):
    """Stage 1, Faster R-CNN; the defaults are the paper's (section 4.1) and those of the authors' Detectron."""

    table = "detect"
    out: Path = option(Path("runs/detector"), "Folder of the run.")
    backbone: str = option("resnet50", "Backbone, with FPN.", choices=("resnet18", "resnet50", "resnet101"))
    backbone_weights: str = option(  # known by the file's content
        "imagenet", "imagenet (torchvision downloads it), none, or a weights file.", identity=False, may_name_file=True
    )
    allow_mask_weights: bool = option(
        False,
        "Accept a weights file of a Mask R-CNN, whose training saw masks; not for work on unseen categories.",
        identity=False,
    )
    norm: str = option(
        "auto",
        "Normalisation: frozen or batch; auto freezes it where the backbone starts from weights.",
        choices=("auto", "frozen", "batch"),
    )
    trainable_layers: int = option(3, "ResNet stages trained when the backbone starts from weights.", minimum=0)
    fpn_channels: int = option(256, "Channels of the FPN, and so of the RoI features.", minimum=8)
    box_head_dim: int = option(1024, "Width of the two-FC box head, and so of w_cls.", minimum=8)
    min_size: int = option(800, "Short side of the resized image, in pixels.", minimum=32)
    max_size: int = option(1333, "Longest allowed long side, in pixels.", minimum=32)
    anchor_sizes: tuple[int, ...] = option((32, 64, 128, 256, 512), "Anchor side per FPN level, in pixels.")
    canonical_box_size: int = option(224, "Box side that is pooled from FPN level 4, in pixels.", minimum=8)
    rpn_pre_nms: int = option(2000, "Proposals per level before NMS in training (1000 at test).", minimum=1)
    rpn_post_nms: int = option(1000, "Proposals per image after NMS.", minimum=1)
    rois_per_image: int = option(512, "RoIs sampled per image for the box head.", minimum=1)
    score_threshold: float = option(0.05, "Detections below this score are dropped.", minimum=0)
    nms_threshold: float = option(0.5, "IoU of the per-class NMS.", minimum=0)
    detections_per_image: int = option(100, "Most detections of an image.", minimum=1)
    cls_init_std: float = option(0.01, "Initial std of w_cls; T reads these weights, so keep it small.", minimum=0)
    box_init_std: float = option(0.001, "Initial std of w_box.", minimum=0)
    smooth_l1_beta: float = option(1.0, "Beta of the box loss (Detectron 1.0, torchvision 1/9).", minimum=0)
    iterations: int = option(90_000, "Training iterations.", minimum=1)
    images_per_batch: int = option(16, "Images of an iteration, over all GPUs.", minimum=1)
    lr: float = option(0.02, "Learning rate; scale it with images_per_batch.", minimum=0)
    momentum: float = option(0.9, "Momentum of SGD.", minimum=0)
    weight_decay: float = option(1e-4, "Weight decay; biases have none.", minimum=0)
    bias_lr_factor: float = option(2.0, "Learning rate of biases, relative to lr.", minimum=0)
    warmup_iterations: int = option(500, "Iterations of linear warm-up.", minimum=0)
    warmup_factor: float = option(1 / 3, "Learning rate at the first iteration, relative to lr.", minimum=0)
    steps: tuple[int, ...] = option((60_000, 80_000), "Iterations at which the learning rate drops.")
    gamma: float = option(0.1, "Factor of each drop.", minimum=0)
    clip_grad_norm: float = option(0.0, "Largest norm of the gradient; 0 switches clipping off.", minimum=0)
    flip: float = option(0.5, "Probability of a horizontal flip.", minimum=0)
    amp: str = option("auto", _AMP_HELP, choices=_AMP)
    eval_every: int = option(5000, "Iterations between measurements of box AP; 0: at the end.", minimum=0)
    checkpoint_every: int = option(1000, "Iterations between resumable checkpoints.", identity=False, minimum=1)
    workers: int = option(4, _WORKERS_HELP, identity=False, minimum=0)
    device: str = option("auto", _DEVICE_HELP, identity=False)
    seed: int = option(0, _SEED_HELP, minimum=0)


@settings
class ExportConfig(StageConfig):
    """From the frozen detector to the RoI cache."""

    table = "export-embeddings"
    detector: Path = option(Path("runs/detector"), "Run folder of stage 1.")
    checkpoint: str = option("best", "Which weights of that run.", choices=("best", "last"))
    out: Path = option(Path("runs/cache.h5"), "RoI cache to write.")
    rois_per_object: int = option(4, "Proposals stored per masked object, beside its ground-truth box.", minimum=0)
    proposal_iou: float = option(0.5, "Smallest IoU of such a proposal with its object.", minimum=0)
    flip: bool = option(False, "Also store the RoIs of the mirrored training images.")
    roi_size: int = option(14, "Side of the pooled RoI features.", minimum=1)
    mask_size: int = option(28, "Side of the mask targets; twice roi-size for the FCN head.", minimum=1)
    amp: str = option("auto", _AMP_HELP, choices=_AMP)
    flush_every: int = option(
        50, "Images between flushes; an interrupted export loses at most these.", identity=False, minimum=1
    )
    workers: int = option(4, "Threads that read images.", identity=False, minimum=0)
    device: str = option("auto", _DEVICE_HELP, identity=False)
    seed: int = option(0, _SEED_HELP, minimum=0)


@dataclass(frozen=True, slots=True)
class TransferForm:
    """The structure of T (Table 1b) and of what it reads; the options of :class:`TransferConfig` of the same names."""

    layers: int
    activation: str
    condition: str
    shared: bool
    zero_start: bool


FORMS = {
    "published": TransferForm(layers=2, activation="leaky_relu", condition="raw", shared=False, zero_start=False),
    "conditioned": TransferForm(layers=1, activation="none", condition="pca", shared=True, zero_start=True),
}


@settings
class TransferConfig(StageConfig):
    """Stage 2: the weight transfer function T and the mask head, from the RoI cache."""

    table = "fit-transfer"
    cache: Path = option(Path("runs/cache.h5"), "RoI cache to read.")
    detector: Path = option(Path("runs/detector"), "Run folder of the cached detector, for predicting on images later.")
    out: Path = option(Path("runs/transfer"), "Folder that holds the runs of this stage.")
    name: str = option("", "Folder of the run, OUT/NAME; made from the settings of the model if empty.", identity=False)
    split: str = option("masked", _SPLIT_HELP, identity=False, may_name_file=True)  # known by what it resolves to
    embedding: str = option(
        "cls+box",
        "Class embedding that T reads: the detector's weights, word vectors (glove), a random vector per word (randn); "
        "none trains the class-agnostic baseline.",
        choices=("cls", "box", "cls+box", "glove", "randn", "none"),
    )
    embedding_file: Path | None = option(
        None, "For glove: text file with lines `word v1 ... vD`, or a [K, D] matrix as .npy."
    )
    embedding_names: Path | None = option(
        None, "For glove from .npy: text file, a category name per row; without it, rows are in the data set's order."
    )
    embedding_dim: int = option(300, "Length of the vectors of randn.", minimum=1)
    class_specific: bool = option(
        False, "With --embedding none: learn mask weights per category, the fully supervised oracle; use --split all."
    )
    form: str = option(
        "conditioned",
        "Preset of the five options after it. published: layers 2, activation leaky_relu, condition raw, no-shared, "
        "no-zero-start. conditioned: layers 1, activation none, condition pca, shared, zero-start.",
        choices=("published", "conditioned"),
    )
    layers: int | None = option(
        None, "Linear layers of T, in the paper 1, 2 or 3; by default as the form says.", minimum=1
    )
    activation: str | None = option(
        None, "Between the layers of T; by default as the form says.", choices=("none", "relu", "leaky_relu")
    )
    condition: str | None = option(
        None,
        "The embedding raw, centred over all categories, or reduced to its principal components; by default as the "
        "form says.",
        choices=("raw", "centred", "pca"),
    )
    shared: bool | None = option(
        None, "Add T's output to weights that all categories share; by default as the form says."
    )
    zero_start: bool | None = option(None, "Start the last layer of T at zero; by default as the form says.")
    components: int = option(16, "Principal components of the embedding under condition pca.", minimum=1)
    component_std: float = option(0.3, "Overall std to which these components are scaled.", minimum=0)
    leaky_slope: float = option(0.1, "Negative slope of leaky_relu.", minimum=0)
    mask_branch: str = option(
        "fcn",
        "fcn: T's or the baseline's 1x1 kernel on the mask features; mlp: class-agnostic fully connected layers on "
        "them; fcn+mlp: the sum of both logits.",
        choices=("fcn", "mlp", "fcn+mlp"),
    )
    mlp_layers: int = option(1, "Layers of the MLP branch, hidden ones 1024 wide; the authors' code has 1.", minimum=1)
    head_width: int = option(256, "Channels of the FCN mask head.", minimum=1)
    head_depth: int = option(4, "Convolutions before the deconvolution.", minimum=0)
    epochs: float = option(12.0, "Passes over the RoIs of the seen categories.", minimum=0)
    rois_per_batch: int = option(128, "RoIs of a step.", minimum=1)
    lr: float = option(0.02, "Learning rate of SGD.", minimum=0)
    momentum: float = option(0.9, "Momentum of SGD.", minimum=0)
    weight_decay: float = option(1e-4, "Weight decay; biases have none.", minimum=0)
    bias_lr_factor: float = option(2.0, "Learning rate of biases, relative to lr.", minimum=0)
    warmup_iterations: int = option(500, "Steps of linear warm-up, at most a tenth of all.", minimum=0)
    warmup_factor: float = option(1 / 3, "Learning rate at the first step, relative to lr.", minimum=0)
    lr_drops: tuple[float, ...] = option((2 / 3, 8 / 9), "Fractions of the training at which the learning rate drops.")
    gamma: float = option(0.1, "Factor of each drop.", minimum=0)
    clip_grad_norm: float = option(10.0, "Largest norm of the gradient; 0 switches clipping off.", minimum=0)
    amp: str = option("auto", _AMP_HELP, choices=_AMP)
    eval_every: float = option(1.0, "Epochs between measurements on the cached val group; 0: at the end.", minimum=0)
    checkpoint_every: int = option(500, "Steps between resumable checkpoints.", identity=False, minimum=1)
    device: str = option("auto", _DEVICE_HELP, identity=False)
    seed: int = option(0, _SEED_HELP, minimum=0)

    def structure(self) -> TransferForm:
        """The structure of T: that of ``form``, but for the options that were given."""
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(TransferForm)}
        return dataclasses.replace(FORMS[self.form], **{name: v for name, v in given.items() if v is not None})

    def identity(self) -> dict[str, Any]:
        """With the structure of T spelt out, so that giving what the form says anyway changes nothing."""
        structure = dict.fromkeys(("form", *dataclasses.asdict(self.structure())))
        if self.embedding != "none":  # without T it has no structure
            structure = {"form": self.form, **dataclasses.asdict(self.structure())}
        return {**super().identity(), **structure}


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
    name: str = option("", "Folder of the run, OUT/NAME; made from embedding and form if empty.", identity=False)
    split: str = option("masked", _SPLIT_HELP, identity=False, may_name_file=True)  # known by what it resolves to
    stop_gradient: bool = option(True, "Keep the gradient of the mask loss from the class weights that T reads.")
    roi_size: int = option(14, "Side of the RoI features of the mask head; masks have twice that.", minimum=1)
    iterations: int = option(90_000, "Training iterations.", minimum=1)
    images_per_batch: int = option(16, "Images of an iteration, over all GPUs.", minimum=1)
    lr: float = option(0.02, "Learning rate; scale it with images_per_batch.", minimum=0)
    momentum: float = option(0.9, "Momentum of SGD.", minimum=0)
    weight_decay: float = option(1e-4, "Weight decay; biases have none.", minimum=0)
    bias_lr_factor: float = option(2.0, "Learning rate of biases, relative to lr.", minimum=0)
    warmup_iterations: int = option(500, "Iterations of linear warm-up.", minimum=0)
    warmup_factor: float = option(1 / 3, "Learning rate at the first iteration, relative to lr.", minimum=0)
    steps: tuple[int, ...] = option((60_000, 80_000), "Iterations at which the learning rate drops.")
    gamma: float = option(0.1, "Factor of each drop.", minimum=0)
    clip_grad_norm: float = option(0.0, "Largest norm of the gradient; 0 switches clipping off.", minimum=0)
    flip: float = option(0.5, "Probability of a horizontal flip.", minimum=0)
    amp: str = option("auto", _AMP_HELP, choices=_AMP)
    eval_every: int = option(5000, "Iterations between measurements of box and mask AP; 0: at the end.", minimum=0)
    checkpoint_every: int = option(1000, "Iterations between resumable checkpoints.", identity=False, minimum=1)
    workers: int = option(4, _WORKERS_HELP, identity=False, minimum=0)
    device: str = option("auto", _DEVICE_HELP, identity=False)
    seed: int = option(0, _SEED_HELP, minimum=0)


def mask_options() -> tuple[str, ...]:
    """The fields of :class:`TransferConfig` that describe the mask model; those of its fitting joint training has."""
    of_fitting = {"cache", "detector", "epochs", "rois_per_batch", "lr_drops"}
    of_fitting |= {item.name for item in dataclasses.fields(cast(Any, E2EConfig))}
    names = (item.name for item in dataclasses.fields(cast(Any, TransferConfig)))
    return tuple(name for name in names if name not in of_fitting)


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
    device: str = option("auto", _DEVICE_HELP, identity=False)


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
    device: str = option("auto", _DEVICE_HELP, identity=False)


STAGE_CONFIGS: tuple[type[StageConfig], ...] = (
    DataConfig, ShapesConfig, VisualGenomeConfig, GrabCutConfig, DetectConfig, ExportConfig, TransferConfig,
    E2EConfig, EvaluateConfig, EvaluateGrabCutConfig, PredictConfig,
)  # fmt: skip

# What `maskx init --shapes` writes beside [data] and [shapes]: sizes with which two CPU cores train in minutes.
SHAPES_PROJECT: dict[str, dict[str, object]] = {
    "detect": {
        "backbone": "resnet18",
        "backbone-weights": "none",
        "fpn-channels": 64,
        "box-head-dim": 256,
        "min-size": 96,
        "max-size": 96,
        "anchor-sizes": (24, 36, 54, 80, 120),
        "canonical-box-size": 224,
        "rpn-pre-nms": 500,
        "rpn-post-nms": 200,
        "rois-per-image": 64,
        "detections-per-image": 20,
        "iterations": 500,
        "images-per-batch": 12,
        "lr": 0.03,
        "steps": (375, 450),
        "warmup-iterations": 50,
        "clip-grad-norm": 10.0,
        "eval-every": 0,
        "checkpoint-every": 100,
        "workers": 0,
    },
    "export-embeddings": {"rois-per-object": 1, "workers": 0},
    "fit-transfer": {"embedding": "cls", "head-width": 64, "epochs": 4.0, "rois-per-batch": 64, "eval-every": 0.0},
    "e2e": {
        "iterations": 400,
        "images-per-batch": 12,
        "lr": 0.01,
        "steps": (270, 360),
        "warmup-iterations": 50,
        "clip-grad-norm": 10.0,
        "eval-every": 0,
        "checkpoint-every": 100,
        "workers": 0,
    },
}
