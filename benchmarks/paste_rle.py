"""Masks of RoIs to RLE of the image: maskx beside torchvision's paste and pycocotools' encode; the RLE is compared."""

from __future__ import annotations

import argparse
import math
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from side_by_side import print_machine, print_table, side_by_side
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image

from maskx_pipeline.evaluation.paste import paste_to_rle

HEIGHT, WIDTH = 480, 640
SIDES = {
    "small, 8 to 32 px": (8, 32),
    "all sizes, 8 to 480 px": (8, 480),
    "large, 96 to 480 px": (96, 480),
    "the whole image": (WIDTH, WIDTH + 1),
}
"""Sides of the boxes, spread evenly over their logarithm; none is longer than the image."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--masks", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    print_machine()
    rows = compare(masks=arguments.masks, repeats=arguments.repeats)
    header = [f"{arguments.masks} masks of {WIDTH}x{HEIGHT}", "maskx, ms", "torchvision + pycocotools, ms", "ratio"]
    print_table([*header, "differing RLE"], rows)


def compare(*, masks: int, repeats: int) -> list[list[str]]:
    """Time each range of sizes; a row for each."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for name, (low, high) in SIDES.items():
        coarse = torch.rand(masks, 1, 4, 4, generator=generator)
        probs = torch.nn.functional.interpolate(coarse, size=(28, 28), mode="bicubic")[:, 0].clamp(0, 1)
        logs = torch.empty(masks, 2).uniform_(math.log(low), math.log(high), generator=generator)
        sides = torch.minimum(logs.exp(), torch.tensor([WIDTH, HEIGHT]))
        corners = torch.rand(masks, 2, generator=generator) * (torch.tensor([WIDTH, HEIGHT]) - sides)
        boxes = torch.cat([corners, corners + sides], dim=1)

        def ours(probs: Tensor = probs, boxes: Tensor = boxes) -> list[dict[str, Any]]:
            return paste_to_rle(probs, boxes, HEIGHT, WIDTH)

        def reference(probs: Tensor = probs, boxes: Tensor = boxes) -> list[dict[str, Any]]:
            return by_torchvision(probs, boxes)

        measured = side_by_side(ours, reference, repeats=repeats)
        differing = sum(a["counts"] != b["counts"] for a, b in zip(ours(), reference(), strict=True))
        rows.append([name, *measured.cells(), f"{differing} of {masks}"])
    return rows


def by_torchvision(probs: Tensor, boxes: Tensor) -> list[dict[str, Any]]:
    """What torchvision's reference scripts do after the model."""
    encoded = []
    for bitmap in paste_masks_in_image(probs[:, None], boxes, (HEIGHT, WIDTH))[:, 0] > 0.5:
        rle = coco_mask.encode(np.asfortranarray(bitmap.numpy().astype(np.uint8)))
        encoded.append({**rle, "counts": rle["counts"].decode("ascii")})
    return encoded


if __name__ == "__main__":
    main()
