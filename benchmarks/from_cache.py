"""What the RoI cache costs to write, and what it saves: a ResNet-50-FPN detector on images of 800 px.

    python benchmarks/from_cache.py [--images 6] [--image-side 800]

Two tables. Export, in images per second, against the bare forward pass of the same frozen detector over the same
images. Evaluating a mask model from the cached detections, against evaluating it from the images; both must give the
same AP to the last digit. Random weights and a score threshold of 0, so that every image has 100 detections: the most
that evaluation from the cache can have to do.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch
from side_by_side import print_machine, print_table

from maskx_pipeline import stages
from maskx_pipeline.config import DataConfig, DetectConfig, EvaluateConfig, ExportConfig, ShapesConfig, TransferConfig
from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.data.images import read_image
from maskx_pipeline.data.shapes import generate_shapes
from maskx_pipeline.detection.features import FrozenDetector
from maskx_pipeline.detection.load import load_detector
from maskx_pipeline.engine.device import amp_dtype, resolve_device


def make_project(folder: Path, *, images: int, side: int) -> DataConfig:
    """Images, and a detector that was trained for one step, at full size."""
    data = folder / "data"
    few = {"shapes": 2, "textures": 1, "hues": 2}  # each category must be in a few images
    shapes = ShapesConfig(out=data, train_count=images, val_count=images, image_size=side, masks="all", **few)
    generate_shapes(shapes)
    config = DataConfig(
        train_images=data / "train",
        train_annotations=data / "train.json",
        val_images=data / "val",
        val_annotations=data / "val.json",
    )
    detect = DetectConfig(
        out=folder / "detector",
        backbone_weights="none",
        iterations=1,
        images_per_batch=1,
        min_size=side,
        max_size=5 * side // 3,
        score_threshold=0.0,
        eval_every=0,
        workers=0,
    )
    stages.train_detector(detect, config)
    return config


def time_export(folder: Path, data: DataConfig) -> list[str]:
    """Images per second of the export and of the detector alone."""
    export = ExportConfig(detector=folder / "detector", out=folder / "cache.h5", workers=1)
    began = time.perf_counter()
    stages.export_embeddings(export, data)
    ours = time.perf_counter() - began
    device = resolve_device("auto")
    frozen = FrozenDetector(
        load_detector(folder / "detector").model, device=device, amp_dtype=amp_dtype("auto", device)
    )
    records = [
        (read_coco(annotations, images), record)
        for annotations, images in (
            (data.train_annotations, data.train_images),
            (data.val_annotations, data.val_images),
        )
        for record in read_coco(annotations, images).images
    ]
    pixels = [read_image(d.image_path(r.id), width=r.width, height=r.height).float() / 255 for d, r in records]
    frozen.extract(pixels[0])
    began = time.perf_counter()
    for image in pixels:
        frozen.extract(image)
    reference = time.perf_counter() - began
    count = len(pixels)
    return [
        "export-embeddings against the frozen detector's forward pass",
        f"{count / ours:.2f} images/s",
        f"{count / reference:.2f} images/s",
        f"{reference / ours:.2f}x",
    ]


def time_evaluation(folder: Path, data: DataConfig, *, repeats: int) -> list[str]:
    """Seconds to evaluate one design from the cache and from images."""
    fit = TransferConfig(
        cache=folder / "cache.h5",
        detector=folder / "detector",
        out=folder,
        name="model",
        split="all",
        epochs=0.5,
        rois_per_batch=4,
        eval_every=0,
    )
    stages.fit_transfer(fit, data)
    seconds: dict[str, list[float]] = {"cache": [], "images": []}
    found = {}
    for _ in range(repeats):
        for source, times in seconds.items():
            shutil.rmtree(folder / "model" / "evaluation", ignore_errors=True)
            began = time.perf_counter()
            evaluation = stages.evaluate(EvaluateConfig(model=folder / "model", from_=source), data)
            times.append(time.perf_counter() - began)
            found[source] = evaluation.to_json()["sets"]
    if found["cache"] != found["images"]:
        sys.exit(f"the two evaluations differ: {found}")
    ours, reference = min(seconds["cache"]), min(seconds["images"])
    return [
        "evaluate from the cache against from images",
        f"{ours:.1f} s",
        f"{reference:.1f} s",
        f"{reference / ours:.1f}x",
    ]


def main() -> None:
    """Make the project in a temporary folder, time it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=6, help="Images of train, and as many of val.")
    parser.add_argument("--image-side", type=int, default=800)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--folder", type=Path, help="Where the project is written for the time being.")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    logging.getLogger("maskx").setLevel(logging.ERROR)
    print_machine()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        data = make_project(folder, images=options.images, side=options.image_side)
        rows = [time_export(folder, data), time_evaluation(folder, data, repeats=options.repeats)]
    print_table(["claim", "ours", "reference", "as fast as the reference"], rows)


if __name__ == "__main__":
    main()
