"""What `maskx init` writes beside the paths: a schedule that fits the data, and settings to try everything small."""

from __future__ import annotations

import math

from maskx_pipeline.config.shared import linear_lr

Tables = dict[str, dict[str, object]]

# The paper's schedule (section 3.2).
_ITERATIONS, _BATCH, _WARMUP, _MEASUREMENTS = 90_000, 16, 500, 18
_COCO_IMAGES = 118_287
_PER_GPU = 2
_MOST_PASSES = 100.0
_MEASURED_SHARE = 4  # images measured for each one trained on: one in so many at most

SMALL: Tables = {
    "detect": {
        "backbone": "resnet18",
        "fpn-channels": 64,
        "box-head-dim": 256,
        "min-size": 192,
        "max-size": 256,
        "anchor-sizes": (8, 16, 32, 64, 128),
        "clip-grad-norm": 10.0,
        "workers": 0,
    },
    "export-embeddings": {"rois-per-object": 1, "unmasked-objects": "50", "workers": 0},
    "fit-transfer": {"head-width": 64, "head-depth": 2, "epochs": 4.0, "rois-per-batch": 32, "eval-every": 0.0},
    "e2e": {"clip-grad-norm": 10.0, "workers": 0},
}
"""A small detector on small images, with which a CPU goes the whole way in minutes; it finds little."""

_SMALL_BATCH = 4
_SMALL_PASSES = 12.0


def default_passes(images: int) -> float:
    """How often a new detector goes through so many images, where nobody says.

    The paper's 12 for COCO. For other sizes it falls with the square root: a tenth of COCO gets three times as many
    passes in a third of the steps. At most 100, for with few images more passes teach the images and not the things.
    """
    return min(_MOST_PASSES, _ITERATIONS * _BATCH / math.sqrt(max(images, 1) * _COCO_IMAGES))


def first_schedule(images: int, val_images: int, *, gpus: int, passes: float | None = None) -> dict[str, object]:
    """The keys of [detect] and [e2e] that say how long is trained, and at which rate; for COCO they are the paper's.

    Args:
        images: Training images that have a box.
        val_images: Images that box AP is measured on.
        gpus: How many share a batch, two images each as in the paper; 0: a CPU with a small detector.
        passes: How often the images are gone through; by default :func:`default_passes`, and 12 on a CPU, in a number
            of iterations that is rounded to two digits.
    """
    batch = _PER_GPU * gpus or _SMALL_BATCH
    if passes is None:
        iterations = _two_digits((default_passes(images) if gpus else _SMALL_PASSES) * images / batch)
    else:
        iterations = max(1, round(passes * images / batch))
    measurements = round(iterations * batch / (_MEASURED_SHARE * max(val_images, 1)))
    measurements = min(_MEASUREMENTS, max(1, measurements))
    return {
        "images-per-batch": batch,
        "lr": round(linear_lr(batch), 6),
        "iterations": iterations,
        "steps": (round(iterations * 2 / 3), round(iterations * 8 / 9)),
        "warmup-iterations": min(_WARMUP, iterations // 10),
        "eval-every": 0 if measurements == 1 else iterations // measurements,
        "checkpoint-every": min(1000, max(20, iterations // 10)),
    }


def passes_of(schedule: dict[str, object], images: int) -> float:
    """How often a schedule of :func:`first_schedule` goes through the images."""
    iterations, batch = schedule["iterations"], schedule["images-per-batch"]
    return float(str(iterations)) * float(str(batch)) / max(images, 1)


def _two_digits(number: float) -> int:
    """Rounded to two digits, and at least 1: 89,610 is 90,000."""
    whole = max(1, round(number))
    return round(whole, 2 - len(str(whole)))
