"""What the RoI cache costs to write, and what it saves: a ResNet-50-FPN detector on images of 800 px.

    python benchmarks/from_cache.py [--images 4] [--image-side 800] [--detections 100 20]

Export, per image of train and val, against the forward pass of the same frozen detector over the same images, which are
in memory: torchvision's own call in evaluation mode, box head and detections included. The export leaves the box head
out on training images, so it is also set against that. Then the evaluation of a mask model, detections to AP, from the
cache against from images; both must give the same AP to the last digit.

In turns, after a warm-up: the detector, the annotations and, for evaluation, the cache are open already. Random
weights and a score threshold of 0, so that every image has as many detections as are allowed.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from side_by_side import Measured, print_machine, print_table, side_by_side

from maskx_pipeline.cache.export import export_identity, write_cache
from maskx_pipeline.cache.plan import train_images
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.rois import choose_objects
from maskx_pipeline.config import DataConfig, DetectConfig, ExportConfig, ShapesConfig, TransferConfig
from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.data.images import read_image
from maskx_pipeline.detection.load import load_detector
from maskx_pipeline.engine.device import amp_dtype, autocast, resolve_device
from maskx_pipeline.evaluation.coco_ap import Result
from maskx_pipeline.evaluation.evaluate import evaluate_results
from maskx_pipeline.evaluation.predictions import predictions_from_cache, predictions_from_images
from maskx_pipeline.model_run import open_model
from maskx_pipeline.shapes.generate import generate_shapes
from maskx_pipeline.stages.detect_train import train_detector
from maskx_pipeline.stages.fit_transfer import fit_transfer
from maskx_pipeline.transfer.load import load_mask_model


def make_project(folder: Path, *, images: int, side: int, detections: int) -> DataConfig:
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
        detections_per_image=detections,
        eval_every=0,
        workers=0,
    )
    train_detector(detect, config)
    return config


def time_export(folder: Path, data: DataConfig, *, repeats: int, workers: int = 1) -> list[tuple[str, Measured, int]]:
    """The export against the whole detector, and against the parts of the detector that it needs."""
    config = ExportConfig(detector=folder / "detector", out=folder / "cache.h5", workers=workers)
    device = resolve_device("auto")
    dtype = amp_dtype("auto", device)
    loaded = load_detector(folder / "detector")
    frozen = loaded.frozen(device=device, amp="auto")
    train = read_coco(data.train_annotations, data.train_images)
    val = read_coco(data.val_annotations, data.val_images, categories=train.categories)
    looked_at = train_images(train, choose_objects(config, train))
    of_train, of_val = ([(of, r) for r in records] for of, records in ((train, looked_at), (val, val.images)))
    pixels = [
        read_image(of.image_path(r.id), width=r.width, height=r.height).float().to(device) / 255
        for of, r in of_train + of_val
    ]

    def export() -> None:
        identity = export_identity(config, frozen, train, val)
        write_cache(config, detector=frozen, identity=identity, train=train, val=val, overwrite=True)

    @torch.no_grad()
    def whole() -> None:
        for image in pixels:
            with autocast(device, dtype):
                frozen.detector([image])

    def needed() -> None:
        for number, image in enumerate(pixels):
            detected = frozen.extract(image)
            _ = detected.proposals_xyxy if number < len(of_train) else detected.detections  # computed when asked for

    return [
        ("export; the detector's forward pass", side_by_side(export, whole, repeats=repeats, warm_up=1), len(pixels)),
        ("export; the parts it needs", side_by_side(export, needed, repeats=repeats, warm_up=1), len(pixels)),
    ]


def time_evaluation(folder: Path, data: DataConfig, *, repeats: int) -> tuple[str, Measured, int]:
    """One mask model, from detections to AP: from the cache and from images."""
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
    fit_transfer(fit, data)
    fitted = load_mask_model(folder / "model")
    device = resolve_device("auto")
    dtype = amp_dtype(fitted.config.amp, device)
    model = open_model(folder / "model").whole_model("auto")
    found: dict[str, object] = {}
    with RoICache(folder / "cache.h5") as cache:
        val = read_coco(data.val_annotations, data.val_images, categories=cache.categories)
        labels = [category.label for category in val.categories]

        def evaluate(source: str, predictions: Callable[[], list[Result]]) -> Callable[[], None]:
            def run() -> None:
                evaluation = evaluate_results(predictions(), val, split="all", labels=labels, seen=labels)
                found[source] = evaluation.to_json()["sets"]

            return run

        measured = side_by_side(
            evaluate(
                "cache", lambda: predictions_from_cache(cache, fitted.mask_model, val, device=device, amp_dtype=dtype)
            ),
            evaluate("images", lambda: predictions_from_images(model, val)),
            repeats=repeats,
            warm_up=1,
        )
    if found["cache"] != found["images"]:
        sys.exit(f"the two evaluations differ: {found}")
    return "evaluation from the cache; from images", measured, len(val.images)


def main() -> None:
    """Make the project in a temporary folder, time it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=4, help="Images of train, and as many of val.")
    parser.add_argument("--image-side", type=int, default=800)
    parser.add_argument("--detections", type=int, nargs="+", default=[100, 20], help="Detections of an image.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--folder", type=Path, help="Where the project is written for the time being.")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    logging.getLogger("maskx").setLevel(logging.ERROR)
    print_machine()
    rows = []
    for detections in options.detections:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            folder = Path(name)
            data = make_project(folder, images=options.images, side=options.image_side, detections=detections)
            timed = time_export(folder, data, repeats=options.repeats)
            timed.append(time_evaluation(folder, data, repeats=options.repeats))
            rows += [[f"{what}", str(detections), *took.cells(each=count)] for what, took, count in timed]
    print_table(
        ["what; reference", "detections", "ours, ms per image", "reference, ms per image", "as fast as the reference"],
        rows,
    )


if __name__ == "__main__":
    main()
