"""What the recipes of pipelines/ train on COCO, and how long that takes on GPUs with these assumptions."""

from __future__ import annotations

from dataclasses import dataclass

from maskx_pipeline.cache.plan import ExportPlan, plan_of_counts
from maskx_pipeline.config import DetectConfig, E2EConfig, ExportConfig, TransferConfig
from maskx_pipeline.detection.model import FOREGROUND_FRACTION

# COCO 2017: images and annotations (https://cocodataset.org); sizes of the zip files, and of Visual Genome's images.
TRAIN_IMAGES, TRAIN_OBJECTS = 118_287, 860_001
VAL_IMAGES, VAL_OBJECTS = 5_000, 36_781
COCO_BYTES, VISUAL_GENOME_BYTES = 20e9, 15e9

PEAK = 312e12  # FLOP/s: NVIDIA's data sheet of the A100 SXM, bf16 on its tensor cores, dense
DETECTOR_USE = 0.05  # of it: many small and irregular operations
HEAD_USE = 0.25  # of it: batches of equal, dense convolutions
DISK = 1e9  # bytes/s: rows of 100 kB in random order, read by one thread from a local NVMe disk
CORES_PER_GPU = 8
AP_SECONDS = 6.0  # of 500,000 boxes or masks, on one core (average_precision.py: 4.7 and 5.4)
GRABCUT_SECONDS = 0.6  # for a box in an image of 640 x 480, on one core (docs/how-to/baselines.md)
RESULT_BYTES = 400  # of a detection in the results files of an evaluation

# Stage 2 as the recipes train it: the authors' updates, whatever the split (pipelines/common.sh).
UPDATES, UPDATE_ROIS = 90_000, 1024

# Detectron2's model zoo, Faster R-CNN R50-FPN 1x: 0.210 s for 16 images on 8 V100, whose peak in float32 this is.
V100_PEAK, V100_SECONDS = 15.7e12, 0.210


@dataclass(frozen=True)
class Measured:
    """Costs of one RoI or one image, from counting and timing.

    Attributes:
        head: FLOP per RoI of a training step of the mask head, by mask branch.
        head_forward: FLOP per RoI of the mask head alone, by mask branch.
        detector: FLOP per image of a training step of the detector.
        forward: FLOP per image of the frozen detector.
        head_parameters: Of the mask model, by mask branch.
        detector_parameters: Of the detector.
        paste_seconds: On one CPU core, to paste and encode the mask of a detection.
    """

    head: dict[str, float]
    head_forward: dict[str, float]
    detector: float
    forward: float
    head_parameters: dict[str, int]
    detector_parameters: int
    paste_seconds: float


@dataclass(frozen=True)
class Models:
    """Models that differ in their split alone; both directions of a split together see every object once.

    Attributes:
        name: Recipes share what has the same name.
        runs: How many.
        objects: Objects whose masks they are trained on, all runs together, in units of COCO's training set.
        branch: Mask branch.
        joint: By `maskx e2e`, and not from the RoI cache.
        streams: RoIs of a step, in units of those with masks: 2 with a box loss.
    """

    name: str
    runs: int = 2
    objects: float = 1.0
    branch: str = "fcn"
    joint: bool = False
    streams: int = 1


@dataclass(frozen=True)
class Recipe:
    """A recipe, run in a project of its own.

    Attributes:
        name: Its script.
        models: What it trains beside the detector.
        boxes: The number of boxes that GrabCut cuts out.
        data: Bytes of the data set.
        only_val: It needs of the RoI cache but the detections of val.
    """

    name: str
    models: tuple[Models, ...]
    boxes: int = 0
    data: float = COCO_BYTES
    only_val: bool = False


_BASELINE, _TRANSFER = Models("agnostic"), Models("T of cls+box")
_JOINT_BASELINE = Models("agnostic, joint", joint=True)
_MASKX = Models("MaskX R-CNN", branch="fcn+mlp", joint=True)
RECIPES = (
    Recipe(
        "`table1a.sh`",
        (*(Models(f"T of {kind}") for kind in ("randn", "glove", "cls", "box")), _TRANSFER, _BASELINE,
         Models("oracle", runs=1)),
    ),
    Recipe(
        "`table1b.sh`",
        (_TRANSFER, *(Models(f"T: {form}") for form in ("1, none", "2, relu", "3, relu", "3, leaky")),
         Models("the default", streams=2)),  # as many RoIs without masks again
    ),
    Recipe(
        "`table1c.sh`",
        (_BASELINE, _TRANSFER, *(Models(f"{name}+mlp", branch="fcn+mlp") for name in ("agnostic", "T"))),
    ),
    Recipe(
        "`table1d.sh`",
        (_BASELINE, _TRANSFER, _JOINT_BASELINE,
         *(Models(f"T, joint, {gradient}", joint=True) for gradient in ("stopped", "not stopped"))),
    ),
    Recipe(
        "`table2.sh`",
        (_JOINT_BASELINE, _MASKX,
         *(Models(name, runs=1, joint=True) for name in ("on GrabCut", "oracle, joint"))),
        boxes=TRAIN_OBJECTS + VAL_IMAGES * DetectConfig().detections_per_image,
        only_val=True,
    ),
    Recipe("`figure3.sh`", tuple(Models(f"{name}, random", runs=25, objects=12.5) for name in ("agnostic", "T"))),
    Recipe("`figure4.sh`", (_JOINT_BASELINE, _MASKX), only_val=True),
)  # fmt: skip
VISUAL_GENOME = Recipe(  # its detector sees as many images, and its masks are COCO's
    "`visual_genome.sh`, ResNet-101",
    (Models("T+mlp", runs=1, branch="fcn+mlp"),),
    data=COCO_BYTES + VISUAL_GENOME_BYTES,
)


@dataclass(frozen=True)
class Cost:
    """Hours by stage, and bytes on disk."""

    hours: dict[str, float]
    size: float

    @property
    def total(self) -> float:
        """Hours of all stages."""
        return sum(self.hours.values())


def cache_plan(*, only_val: bool = False) -> ExportPlan:
    """What `maskx export-embeddings --dry-run` says of COCO, or a little more: all its images and annotations count."""
    return plan_of_counts(
        ExportConfig(),
        train_images=0 if only_val else TRAIN_IMAGES,
        val_images=VAL_IMAGES,
        masked_objects=0 if only_val else TRAIN_OBJECTS,
        unmasked_objects=0,
        val_objects=VAL_OBJECTS,
        detections_per_image=DetectConfig().detections_per_image,
        channels=DetectConfig().fpn_channels,
    )


def assumptions(measured: Measured) -> str:
    """What the hours rest on, and how it compares with a published measurement."""
    plan, images = cache_plan(), DetectConfig().images_per_batch / 8
    iteration = images * measured.detector / (PEAK * DETECTOR_USE)
    v100 = images * measured.detector / V100_SECONDS
    return "\n".join([
        f"- RoI cache: {plan.train_rois:,} RoIs of train and {plan.rois - plan.train_rois:,} of val at most, of "
        f"{plan.bytes / plan.rois / 1e3:.0f} kB each.",
        f"- GPU: A100, {PEAK / 1e12:.0f} TFLOP/s in bf16, of which the detector reaches {DETECTOR_USE:.0%} and the "
        f"mask head on cached features {HEAD_USE:.0%}. An iteration of the detector then takes {iteration:.2f} s on 8 "
        f"GPUs. Detectron2's model zoo has {V100_SECONDS:.2f} s on 8 V100 in float32: {v100 / 1e12:.1f} TFLOP/s each, "
        f"{v100 / V100_PEAK:.0%} of their peak.",
        f"- Disk: {DISK / 1e9:.0f} GB/s for RoIs in random order. CPU: {CORES_PER_GPU} cores per GPU for GrabCut, "
        f"{GRABCUT_SECONDS:g} s a box; {AP_SECONDS:.0f} s for AP of boxes or of masks.",
        f"- COCO: {TRAIN_IMAGES:,} images and {TRAIN_OBJECTS:,} objects of train, each with as many proposals as are "
        "stored; in joint training each image with as much foreground as is sampled at most.",
    ])  # fmt: skip


def everything() -> Recipe:
    """All recipes in one project: what they share is trained once."""
    models = {model.name: model for recipe in RECIPES for model in recipe.models}
    return Recipe("all of them, in one project", tuple(models.values()), boxes=max(recipe.boxes for recipe in RECIPES))


def cost_of(recipe: Recipe, measured: Measured, *, gpus: int, quick: bool = False) -> Cost:
    """Expect hours and disk of a recipe. Only detector, export and joint training share their work among GPUs.

    Args:
        quick: With QUICK=1: the passes and measurements of the default settings.
    """
    plan = cache_plan(only_val=recipe.only_val)
    image_rate, head_rate = PEAK * DETECTOR_USE, PEAK * HEAD_USE
    stage_wise = [model for model in recipe.models if not model.joint]
    joint = [model for model in recipe.models if model.joint]
    forward = plan.images * measured.forward / image_rate / gpus
    seconds = {
        "detector": _detector(measured, gpus),
        "cache": max(forward, plan.bytes / DISK),
        "stage-wise": sum(_fit(model, measured, plan, head_rate, quick=quick) for model in stage_wise),
        "joint": sum(_joint(model, measured, gpus, quick=quick) for model in joint),
        "evaluation": sum(model.runs * _evaluation(model, measured, 2 * AP_SECONDS) for model in recipe.models),
        "GrabCut": recipe.boxes * GRABCUT_SECONDS / (CORES_PER_GPU * gpus),
    }
    return Cost({name: value / 3600 for name, value in seconds.items()}, _disk(recipe, measured, plan))


def stage_hours(measured: Measured, *, gpus: int) -> dict[str, float]:
    """Hours of each stage for one model that sees the masks of half of the objects."""
    one = Models("one", runs=1, objects=0.5)
    joint = Models("one, joint", runs=1, objects=0.5, joint=True)
    plan = cache_plan()
    forward = plan.images * measured.forward / (PEAK * DETECTOR_USE) / gpus
    seconds = {
        "detect train": _detector(measured, gpus),
        "export-embeddings": max(forward, plan.bytes / DISK),
        "fit-transfer, on one GPU, 12 passes": _fit(one, measured, plan, PEAK * HEAD_USE, quick=True),
        "fit-transfer, on one GPU, the authors' 90,000 updates": _fit(one, measured, plan, PEAK * HEAD_USE),
        "evaluate, from the cache, on one GPU": _evaluation(one, measured, 2 * AP_SECONDS),
        "e2e, in place of all": _joint(joint, measured, gpus, quick=True),
    }
    return {stage: value / 3600 for stage, value in seconds.items()}


def _detector(measured: Measured, gpus: int) -> float:
    config = DetectConfig()
    images = config.iterations * config.images_per_batch
    measurements = config.iterations // config.eval_every
    evaluation = VAL_IMAGES * measured.forward / (PEAK * DETECTOR_USE) + AP_SECONDS
    return images * measured.detector / (PEAK * DETECTOR_USE) / gpus + measurements * evaluation


def _fit(model: Models, measured: Measured, plan: ExportPlan, head_rate: float, *, quick: bool = False) -> float:
    """On one GPU, which computes while a thread reads the next RoIs."""
    rois = TransferConfig().epochs * model.objects * plan.train_rois if quick else model.runs * UPDATES * UPDATE_ROIS
    rois *= model.streams
    row = plan.bytes / plan.rois
    return max(rois * measured.head[model.branch] / head_rate, rois * row / DISK)


def _joint(model: Models, measured: Measured, gpus: int, *, quick: bool = False) -> float:
    config, detect = E2EConfig(), DetectConfig()
    images = config.iterations * config.images_per_batch
    rois = FOREGROUND_FRACTION * detect.rois_per_image * model.objects  # as if the foreground were always full
    each = model.runs * measured.detector / (PEAK * DETECTOR_USE) + rois * measured.head[model.branch] / (
        PEAK * HEAD_USE
    )
    measurements = model.runs * (config.iterations // config.eval_every if quick else 1)
    return images * each / gpus + measurements * _evaluation(model, measured, 2 * AP_SECONDS)


def _evaluation(model: Models, measured: Measured, ap_seconds: float) -> float:
    """Of one model on val, in one process: forward, masks pasted and encoded, AP of boxes and masks."""
    detections = VAL_IMAGES * DetectConfig().detections_per_image
    forward = VAL_IMAGES * measured.forward / (PEAK * DETECTOR_USE) if model.joint else 0.0
    head = detections * measured.head_forward[model.branch] / (PEAK * HEAD_USE)
    return forward + head + detections * measured.paste_seconds + ap_seconds


def _disk(recipe: Recipe, measured: Measured, plan: ExportPlan) -> float:
    """Data set, RoI cache, and of each model its best and last weights and the results of its evaluation."""
    parameters, results = measured.detector_parameters, 0
    for model in recipe.models:
        own = measured.head_parameters[model.branch] + measured.detector_parameters * model.joint
        parameters += model.runs * own
        results += model.runs * plan.detection_rois * RESULT_BYTES
    return recipe.data + plan.bytes + 2 * 4 * parameters + results
