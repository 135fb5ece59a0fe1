"""From Visual Genome's own files to COCO-format annotations (section 5, and the authors' released rules)."""

from __future__ import annotations

import contextlib
import json
import logging
from array import array
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from maskx_pipeline.config.formats import VisualGenomeConfig
from maskx_pipeline.convert.report import REPORT_FILE, is_finished, refuse_inputs, write_report
from maskx_pipeline.convert.visual_genome_categories import VisualGenomeCategory, category_map, choose_categories
from maskx_pipeline.convert.visual_genome_files import VisualGenomeImage, read_coco_ids, stream_images, stream_objects
from maskx_pipeline.convert.visual_genome_write import Sorter, SplitWriter
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.errors import DataError, listed
from maskx_pipeline.provenance.files import atomic_path, sha256_of_file
from maskx_pipeline.provenance.lock import locked
from maskx_pipeline.text import json_text

logger = logging.getLogger("maskx")

SPLITS = ("train", "val", "test")
MAP_FILE = "coco-categories.json"


def convert(config: VisualGenomeConfig, *, overwrite: bool = False) -> Path:
    """Write train, val and test annotations, the category map and the report.

    objects.json is read twice, once to count synsets, once to write; in memory are its bytes and one image's
    objects: 450 MB at the peak for a file of 387 MB.

    Args:
        overwrite: Replace annotations made from other files or settings.

    Returns:
        The folder: train.json, val.json, test.json, coco-categories.json, report.json. All are there, or none.

    Raises:
        DataError: A file is missing, broken, or not Visual Genome's.
        OutputError: The folder holds other annotations, or another process writes it.
    """
    with locked(config.out, folder=True):
        return _convert(config, overwrite=overwrite)


def _convert(config: VisualGenomeConfig, *, overwrite: bool) -> Path:
    info = _info(config)
    if is_finished(config.out, SPLITS, info, overwrite=overwrite):
        return config.out
    given = (config.objects, config.image_data, config.coco_val)
    refuse_inputs(config.out, (*(f"{split}.json" for split in SPLITS), MAP_FILE), [path for path in given if path])
    head = json.dumps({"info": info})  # what each annotation file begins with
    images, repeated_images = _read_images(config.image_data)
    splits = _split_images(images, config)
    synset_counts, repeated_ids = _count_synsets(config.objects, len(images))
    categories = choose_categories(synset_counts, config.categories)
    with contextlib.ExitStack() as stack:
        # Renamed from last to first, so that train.json is there only when everything is.
        temporary = {
            name: stack.enter_context(atomic_path(config.out / name))
            for name in (*(f"{split}.json" for split in SPLITS), MAP_FILE, REPORT_FILE)
        }
        with contextlib.ExitStack() as files:
            writers = {
                split: files.enter_context(SplitWriter(temporary[f"{split}.json"], head, splits[split], categories))
                for split in SPLITS
            }
            sorter = Sorter(images, splits, {c.synset: c.id for c in categories}, repeated_ids, writers)
            with Progress(len(images), "write annotations", "images") as bar:
                for entry in stream_objects(config.objects):
                    for item in entry.objects:
                        sorter.put(entry.image_id, item)
                    bar.update()
        report = {"info": info, **sorter.report(), "image entries that repeat an id": repeated_images}
        report["categories"] = _describe_categories(categories, synset_counts, config.categories, writers["train"])
        temporary[MAP_FILE].write_text(json_text(category_map(categories)), encoding="utf-8")
        write_report(report, temporary)
    _log(config.out, report)
    return config.out


def _info(config: VisualGenomeConfig) -> dict[str, Any]:
    """How each annotation file begins: the settings and inputs that it was made from."""
    inputs = {"objects": config.objects, "image-data": config.image_data, "coco-val": config.coco_val}
    try:
        digests = {name: path and sha256_of_file(path) for name, path in inputs.items()}
    except OSError as error:
        raise DataError(
            f"{error.filename} cannot be read: {error.strerror}.",
            "give Visual Genome v1.4's files, unpacked, with --objects and --image-data",
        ) from error
    return {"description": "Visual Genome in COCO format, by maskx", "settings": config.identity(), "inputs": digests}


def _read_images(path: Path) -> tuple[dict[int, VisualGenomeImage], int]:
    """The images by id, in the order of the file, and how many entries repeat an id."""
    images: dict[int, VisualGenomeImage] = {}
    repeated = 0
    for image in stream_images(path):
        repeated += image.id in images
        images.setdefault(image.id, image)
    if not images:
        raise DataError(f"{path} lists no images.", "give Visual Genome v1.4's image_data.json")
    return images, repeated


def _split_images(
    images: Mapping[int, VisualGenomeImage], config: VisualGenomeConfig
) -> dict[str, tuple[VisualGenomeImage, ...]]:
    """Val: images of COCO val2017; test: the last of those that are not in COCO; train: all others."""
    val_ids = read_coco_ids(config.coco_val) if config.coco_val else frozenset()
    val = tuple(image for image in images.values() if image.coco_id in val_ids)
    outside_coco = [image for image in images.values() if image.coco_id is None]
    test = tuple(outside_coco[max(len(outside_coco) - config.test_count, 0) :])
    if not val:
        given = "none of the images of --coco-val is here" if config.coco_val else "--coco-val is not given"
        logger.warning("%s, so val has no images. Validate on test: images of COCO val2017 may be in train", given)
    left_out = {image.id for image in (*val, *test)}
    return {"train": tuple(i for i in images.values() if i.id not in left_out), "val": val, "test": test}


def _count_synsets(path: Path, num_images: int) -> tuple[Counter[str], frozenset[int]]:
    """How often each synset occurs over all objects, and the object ids that occur more than once."""
    counts: Counter[str] = Counter()
    ids = array("q")
    with Progress(num_images, "count synsets", "images") as bar:
        for entry in stream_objects(path):
            for item in entry.objects:
                counts.update(item.synsets)
                ids.append(item.id)
            bar.update()
    if not counts:
        raise DataError(f"{path} has no object with a synset.", "give Visual Genome v1.4's objects.json")
    values, times = np.unique(np.frombuffer(ids, dtype=np.int64), return_counts=True)
    return counts, frozenset(int(value) for value in values[times > 1])


def _describe_categories(
    categories: tuple[VisualGenomeCategory, ...], synset_counts: Counter[str], count: int, train: SplitWriter
) -> dict[str, Any]:
    top = {synset for synset, _ in synset_counts.most_common(count)}
    return {
        "all": len(categories),
        "aligned to COCO": sum(c.coco_id is not None for c in categories),
        "of these beyond the most frequent synsets": [c.synset for c in categories if c.synset not in top],
        "COCO categories not found": category_map(categories)["coco_categories_not_found"],
        "without boxes in train": [c.name for c in categories if not train.boxes_of[c.id]],
    }


def _log(folder: Path, report: Mapping[str, Any]) -> None:
    objects, categories = report["objects"], report["categories"]
    logger.info(
        "%s: %d categories, %d of them COCO's; %d of %d objects written, %d boxes clipped to their image",
        folder, categories["all"], categories["aligned to COCO"],
        objects["written"], objects["read"], objects["of these with a clipped box"],
    )  # fmt: skip
    for reason, count in objects["dropped"].items():
        if count:
            logger.info("dropped %d objects: %s", count, reason)
    for split in SPLITS:
        numbers = report["images"][split]
        counts = (numbers["images"], numbers["without boxes"], numbers["annotations"])
        logger.info("%s: %d images (%d of them without boxes), %d boxes", split, *counts)
    for problem in ("COCO categories not found", "without boxes in train"):
        if names := categories[problem]:
            logger.warning("%s: %s", problem, listed(names, 10))
