"""The gallery of a report: images of val with the masks of the baseline, of a model with T, and of the ground truth.

No model is run: the masks are those that ``maskx evaluate`` measured.
"""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from maskx_pipeline.data.images import read_pixels
from maskx_pipeline.data.masks import segmentation_to_rle
from maskx_pipeline.data.records import CocoData, ImageRecord
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.errors import DataError
from maskx_pipeline.evaluation.coco_ap import Result
from maskx_pipeline.evaluation.evaluate import read_results
from maskx_pipeline.evaluation.label_fonts import drawable_name
from maskx_pipeline.evaluation.overlays import draw_objects, scaled_picture
from maskx_pipeline.study.report_runs import CategoryGain, ReportedRun

logger = logging.getLogger("maskx")

_LONGEST_SIDE = 800  # larger images are shrunk: this is for looking, and the page is one file
_QUALITY = 82

DIFFERENCE = "where they differ"
_ONLY_FIRST, _ONLY_SECOND = (38, 128, 235), (255, 140, 0)  # blue and orange: they differ in lightness too
_FADED = 0.7  # how far the image steps back behind the pixels that differ

_Drawn = tuple[NDArray[np.uint8], list[float], int, str]  # mask, box in the image, label, text


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: the masks of a run, the true ones, or the pixels in which two runs differ.

    ``differing`` names the two runs there, first the one whose pixels are blue.
    """

    title: str
    uri: str
    differing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GalleryItem:
    """One image: its panels side by side.

    ``labels`` are the categories that are in it or were found in it; ``detections`` says how many are drawn.
    """

    image: ImageRecord
    chosen_for: int
    labels: tuple[int, ...]
    detections: int
    panels: tuple[Panel, ...]
    width: int
    height: int


def draw_gallery(
    runs: Mapping[str, ReportedRun],
    val: CocoData,
    *,
    gains: Sequence[CategoryGain],
    seen: frozenset[int],
    count: int,
    score_threshold: float,
) -> list[GalleryItem]:
    """Choose images and draw them.

    Args:
        runs: What is drawn, by the title of its panel; the detections of the last one choose the images. Of two, the
            pixels in which their masks differ are drawn as well.
        gains: All categories, in the order of their importance within unseen and seen ones.
        seen: Labels whose masks were used in training.
        count: At most so many images.

    Raises:
        RunError: The recorded masks of a run cannot be read.
    """
    results = {title: read_results(run.results_file) for title, run in runs.items()}
    wanted = [row.index + 1 for kind in (False, True) for row in gains if row.seen is kind]
    order = choose_images(val, list(results.values())[-1], wanted=wanted)
    items: list[GalleryItem] = []
    by_image = {title: _by_image(found, score_threshold) for title, found in results.items()}
    with Progress(min(count, len(order)), "draw the gallery", "images") as bar:
        for image_id, label in order:
            if len(items) == count:
                break
            found = {title: of_image.get(image_id, []) for title, of_image in by_image.items()}
            try:
                items.append(_item(val, val.image(image_id), label, found, seen))
            except DataError as error:
                logger.warning("%s It is left out of the report.", error.message)
                continue
            bar.update(1)
    if items and not any(item.detections for item in items):
        logger.warning(
            "No detection in the gallery has a score of %g or more, so it shows the true masks alone; "
            "--score-threshold lowers that.",
            score_threshold,
        )
    return items


def choose_images(val: CocoData, results: Sequence[Result], *, wanted: Sequence[int]) -> list[tuple[int, int]]:
    """Order images so that each wanted category is shown in turn, first come first.

    A category is shown by the image that has an object of it and the detection of it with the highest score, among
    those not yet taken: the quality of the masks has no part in it. Then the round begins anew.

    Args:
        wanted: Labels, the most important first.

    Returns:
        (image id, the label it was chosen for), each image once.
    """
    present = {
        image.id: {annotation.label for annotation in val.annotations_of(image.id) if not annotation.iscrowd}
        for image in val.images
    }
    scores: dict[int, dict[int, float]] = {label: {} for label in wanted}
    for image_id, labels in present.items():
        for label in labels & scores.keys():
            scores[label][image_id] = 0.0
    for result in results:
        of_label = scores.get(val.label_of_id(result["category_id"]), {})
        image_id = result["image_id"]
        if image_id in of_label:
            of_label[image_id] = max(of_label[image_id], result["score"])
    queues = {
        label: sorted(found, key=lambda image_id: (-found[image_id], image_id)) for label, found in scores.items()
    }
    chosen: dict[int, int] = {}
    while any(queues.values()):
        for label in wanted:
            queue = queues[label]
            while queue and queue[0] in chosen:
                queue.pop(0)
            if queue:
                chosen[queue.pop(0)] = label
    return list(chosen.items())


def _item(
    val: CocoData, image: ImageRecord, label: int, found: Mapping[str, Sequence[Result]], seen: frozenset[int]
) -> GalleryItem:
    pixels = read_pixels(val.image_path(image.id), width=image.width, height=image.height)
    longest = max(image.width, image.height)
    picture = scaled_picture(pixels, _LONGEST_SIDE / longest if longest > _LONGEST_SIDE else None)
    drawn = {title: [_detected(val, result) for result in results] for title, results in found.items()}
    drawn["ground truth"] = _true_objects(val, image)
    labels = {entry[2] for entries in drawn.values() for entry in entries}
    panels = [Panel(title, _draw(picture, image, entries, seen)) for title, entries in drawn.items()]
    if len(found) == 2:
        first, second = (drawn[title] for title in found)
        differing = _picture_of_masks(picture, differing_pixels(first, second, height=image.height, width=image.width))
        panels.insert(2, Panel(DIFFERENCE, _uri(differing), tuple(found)))
    detections = sum(map(len, found.values()))
    return GalleryItem(image, label, tuple(sorted(labels)), detections, tuple(panels), picture.width, picture.height)


def _draw(picture: Image.Image, image: ImageRecord, drawn: Sequence[_Drawn], seen: frozenset[int]) -> str:
    factors = np.array([picture.width / image.width, picture.height / image.height] * 2, dtype=np.float32)
    # Nearest: the pixels of the mask as they were measured.
    masks = [np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST)) for mask, *_ in drawn]
    drawing = draw_objects(
        picture,
        np.array([entry[1] for entry in drawn], dtype=np.float32).reshape(-1, 4) * factors,
        np.stack(masks) if masks else np.zeros((0, picture.height, picture.width), dtype=np.uint8),
        labels=[entry[2] for entry in drawn],
        texts=[entry[3] for entry in drawn],
        seen=seen,
    )
    return _uri(drawing)


def differing_pixels(
    first: Sequence[_Drawn], second: Sequence[_Drawn], *, height: int, width: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The pixels that only the first, and only the second, gives to a detection.

    Two detections of one label and box are the same, and their masks are compared; others stand alone.

    Returns:
        Twice bool[H, W].
    """
    pairs: dict[tuple[int, tuple[float, ...]], list[NDArray[np.bool_]]] = {}
    for place, drawn in enumerate((first, second)):
        for mask, box, label, _ in drawn:
            masks = pairs.setdefault((label, tuple(box)), [np.zeros((height, width), dtype=np.bool_) for _ in range(2)])
            masks[place] |= mask.astype(np.bool_)
    only = [np.zeros((height, width), dtype=np.bool_) for _ in range(2)]
    for one, other in pairs.values():
        only[0] |= one & ~other
        only[1] |= other & ~one
    return only[0], only[1]


def _picture_of_masks(picture: Image.Image, only: tuple[NDArray[np.bool_], NDArray[np.bool_]]) -> Image.Image:
    """The image in pale grey, and on it the pixels of either mask."""
    grey = Image.blend(picture.convert("L").convert("RGB"), Image.new("RGB", picture.size, "white"), _FADED)
    for mask, colour in zip(only, (_ONLY_FIRST, _ONLY_SECOND), strict=True):
        shape = Image.fromarray(mask.astype(np.uint8) * 255).resize(picture.size, Image.Resampling.NEAREST)
        grey.paste(colour, mask=shape)
    return grey


def _uri(drawing: Image.Image) -> str:
    written = io.BytesIO()
    drawing.save(written, format="WEBP", quality=_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode('ascii')}"


def _detected(val: CocoData, result: Result) -> _Drawn:
    label = val.label_of_id(result["category_id"])
    x, y, width, height = result["bbox"]
    mask = np.asarray(coco_mask.decode(result["segmentation"]), dtype=np.uint8)
    return mask, [x, y, x + width, y + height], label, f"{drawable_name(val.category(label))} {result['score']:.2f}"


def _true_objects(val: CocoData, image: ImageRecord) -> list[_Drawn]:
    """The objects of an image, crowds left out; one without a mask has only its box."""
    drawn = []
    for annotation in val.annotations_of(image.id):
        if not annotation.iscrowd:
            mask = np.zeros((image.height, image.width), dtype=np.uint8)
            if annotation.has_mask:
                rle = segmentation_to_rle(annotation.segmentation, image.height, image.width)
                mask = np.asarray(coco_mask.decode(rle), dtype=np.uint8)
            name = drawable_name(val.category(annotation.label))
            drawn.append((mask, list(annotation.box_xyxy), annotation.label, name))
    return drawn


def _by_image(results: Sequence[Result], score_threshold: float) -> dict[int, list[dict[str, Any]]]:
    grouped: dict[int, list[dict[str, Any]]] = {}
    for result in results:
        if result["score"] >= score_threshold:
            grouped.setdefault(result["image_id"], []).append(result)
    return grouped
