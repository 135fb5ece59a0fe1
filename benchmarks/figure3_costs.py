"""25 random splits (Figure 3) from one RoI cache, against 25 trainings without it: operations and GPU hours on COCO.

    python benchmarks/figure3_costs.py

It counts the operations of one step of each kind at full size, as recipe_costs.py does, and multiplies them with the
steps of the default settings; the hours come from the assumptions in recipe_costs_model.py. Without the cache there are
two ways: everything anew for each split, as joint training does; or one detector for all splits, whose frozen forward
pass runs again over each image in each epoch. A split has half of the objects' masks on average, and one model. AP is
left out. Takes a minute and some 6 GB of memory.
"""

from __future__ import annotations

import torch
from recipe_costs import measure_detector, measure_heads
from recipe_costs_model import DETECTOR_USE, DISK, HEAD_USE, PEAK, TRAIN_IMAGES, Measured, cache_plan
from side_by_side import print_table

from maskx_pipeline.config import DetectConfig, E2EConfig, TransferConfig
from maskx_pipeline.detection.model import FOREGROUND_FRACTION

SPLITS, SEEN = 25, 0.5


def main() -> None:
    """Count, and print both tables."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| counted | GFLOP | CPU seconds |\n| --- | ---: | ---: |")
    rows = compare(measure_heads(measure_detector("resnet50", 1), 1))
    print()
    print_table([f"{SPLITS} splits", "FLOP", "of the first", "GPU hours", "of the first"], rows)


def compare(measured: Measured) -> list[list[str]]:
    """The three ways, each the sum of its parts."""
    detect, joint, plan = DetectConfig(), E2EConfig(), cache_plan()
    detector = detect.iterations * detect.images_per_batch * measured.detector
    export = plan.images * measured.forward
    rois = SPLITS * SEEN * TransferConfig().epochs * plan.train_rois
    heads = rois * measured.head["fcn"]
    again = SPLITS * TransferConfig().epochs * TRAIN_IMAGES * measured.forward
    foreground = SEEN * FOREGROUND_FRACTION * detect.rois_per_image
    images = SPLITS * joint.iterations * joint.images_per_batch
    anew, their_heads = images * measured.detector, images * foreground * measured.head["fcn"]
    reading = plan.bytes / plan.rois / DISK
    ways = (
        (
            f"one cache: detector {detector:.2g} + export {export:.2g} + fits {heads:.2g}",
            detector + export + heads,
            _seconds(detector, DETECTOR_USE)
            + max(_seconds(export, DETECTOR_USE), plan.bytes / DISK)
            + max(_seconds(heads, HEAD_USE), rois * reading),
        ),
        (
            f"one detector, frozen in each fit: {detector:.2g} + forward {again:.2g} + heads {heads:.2g}",
            detector + again + heads,
            _seconds(detector + again, DETECTOR_USE) + _seconds(heads, HEAD_USE),
        ),
        (
            f"everything anew: detectors {anew:.3g} + heads {their_heads:.2g}",
            anew + their_heads,
            _seconds(anew, DETECTOR_USE) + _seconds(their_heads, HEAD_USE),
        ),
    )
    first = ways[0]
    return [
        [name, f"{flop:.3g}", f"{flop / first[1]:.1f}x", f"{seconds / 3600:.0f}", f"{seconds / first[2]:.1f}x"]
        for name, flop, seconds in ways
    ]


def _seconds(flop: float, use: float) -> float:
    return flop / (PEAK * use)


if __name__ == "__main__":
    main()
