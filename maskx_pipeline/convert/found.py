"""What a data set of another format consists of, whichever it is, and writing that in COCO's."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TextIO

from pycocotools import mask as coco_mask

from maskx_pipeline.convert.report import REPORT_FILE, check_found, is_finished, log_report, refuse_inputs, write_report
from maskx_pipeline.data.masks import mask_is_absent, segmentation_fault, segmentation_to_rle
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.errors import DataError
from maskx_pipeline.provenance.files import atomic_path
from maskx_pipeline.provenance.lock import locked


class FoundObject(NamedTuple):
    """An object: its box in pixels, and its mask as COCO writes it, None where it has none.

    ``iscrowd``: a region of many.
    """

    category: str
    box_xywh: tuple[float, float, float, float]
    segmentation: list[list[float]] | dict[str, Any] | None = None
    iscrowd: bool = False


class FoundImage(NamedTuple):
    """An image of a split; ``file_name`` is relative to the image folder."""

    split: str
    file_name: str
    width: int
    height: int
    objects: Sequence[FoundObject]


class Source(Protocol):
    """A data set of another format.

    Attributes:
        image_dir: What the file names are relative to.
        splits: Names of the annotation files to write.
        categories: Their ids will be 1, 2, ..
        inputs: What it is read from, by name, as digests.
        count: The number of images, for the bar.
        dropped: How many things were left out, by the reason; counted while `images` runs.
    """

    image_dir: Path
    splits: tuple[str, ...]
    categories: tuple[str, ...]
    inputs: Mapping[str, str]
    count: int
    dropped: Counter[str]

    def images(self) -> Iterator[FoundImage]:
        """Each image once, in an order of its own."""


def write_coco(source: Source, out: Path, *, what: str, settings: Mapping[str, Any], overwrite: bool = False) -> Path:
    """Write ``SPLIT.json`` of each split, and the report, into a folder; all are there, or none.

    Args:
        what: The name of the format, for people.
        settings: What decides the result, beside the inputs.

    Returns:
        The folder.

    Raises:
        OutputError: The folder holds annotations of something else.
    """
    info = {"description": f"{what} in COCO format, by maskx", "settings": dict(settings), "inputs": source.inputs}
    if is_finished(out, source.splits, info, overwrite=overwrite):
        return out
    refuse_inputs(out, (), ())
    with locked(out, folder=True), contextlib.ExitStack() as stack:
        # Renamed from last to first, so that the first split is there only when everything is.
        names = (*(f"{split}.json" for split in source.splits), REPORT_FILE)
        paths = {name: stack.enter_context(atomic_path(out / name)) for name in names}
        with contextlib.ExitStack() as files:
            writers = {
                split: files.enter_context(CocoWriter(paths[f"{split}.json"], info, source.categories))
                for split in source.splits
            }
            numbers = _Numbers()
            with Progress(source.count, "convert", "images") as bar:
                for image in source.images():
                    writers[image.split].write(image, numbers, source.dropped)
                    bar.update()
        counts = {split: writer.counts() for split, writer in writers.items()}
        check_found(counts, f"see that {source.image_dir} and the labels are those of one data set")
        report = {
            "info": info,
            "images": str(source.image_dir),
            "categories": len(source.categories),
            "splits": counts,
            "dropped": dict(source.dropped),
        }
        write_report(report, paths)
    log_report(report)
    return out


class _Numbers:
    """The ids of the images and annotations, which differ across splits."""

    def __init__(self) -> None:
        self.images = self.annotations = 0


class CocoWriter(contextlib.AbstractContextManager["CocoWriter"]):
    """Writes an annotation file, image by image."""

    def __init__(self, path: Path, info: Mapping[str, Any], categories: Sequence[str]) -> None:
        self._ids = {name: number for number, name in enumerate(categories, start=1)}
        self._images: list[dict[str, Any]] = []
        self._boxes = self._masks = 0
        self._stream: TextIO = path.open("w", encoding="utf-8")
        entries = [{"id": number, "name": name} for name, number in self._ids.items()]
        # Begins as `are_written` wants it.
        self._stream.write(json.dumps({"info": info})[:-1])
        self._stream.write(f',\n"categories": {json.dumps(entries, ensure_ascii=False)},\n"annotations": [')

    def write(self, image: FoundImage, numbers: _Numbers, dropped: Counter[str]) -> None:
        """Write the sound objects of an image, and count the others."""
        numbers.images += 1
        size = {"width": image.width, "height": image.height}
        self._images.append({"id": numbers.images, "file_name": image.file_name, **size})
        for found in image.objects:
            box = clipped(found.box_xywh, image.width, image.height)
            if box is None:
                dropped["objects left out: their box has no area in the image"] += 1
                continue
            if any(abs(a - b) > 0.5 for a, b in zip(box, found.box_xywh, strict=True)):
                dropped["boxes cut to their image"] += 1
            mask, area = _sound_mask(found.segmentation, image, dropped)
            numbers.annotations += 1
            annotation = {
                "id": numbers.annotations,
                "image_id": numbers.images,
                "category_id": self._ids[found.category],
                "bbox": [round(side, 3) for side in box],
                "area": round(box[2] * box[3] if area is None else area, 3),
                "iscrowd": int(found.iscrowd),
                "segmentation": [] if mask is None else mask,
            }
            self._stream.write(",\n" if self._boxes else "\n")
            self._stream.write(json.dumps(annotation))
            self._boxes += 1
            self._masks += mask is not None

    def counts(self) -> dict[str, int]:
        """What was written."""
        return {"images": len(self._images), "boxes": self._boxes, "masks": self._masks}

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with self._stream:
            entries = ",\n".join(json.dumps(image, ensure_ascii=False) for image in self._images)
            self._stream.write(f'\n],\n"images": [\n{entries}\n]}}\n')


def clipped(
    box_xywh: tuple[float, float, float, float], width: int, height: int
) -> tuple[float, float, float, float] | None:
    """The part of a box in its image; None where that has no area."""
    x, y, w, h = box_xywh
    left, top = max(x, 0.0), max(y, 0.0)
    right, bottom = min(x + w, float(width)), min(y + h, float(height))
    return (left, top, right - left, bottom - top) if right - left > 0 and bottom - top > 0 else None


def _sound_mask(
    segmentation: list[list[float]] | dict[str, Any] | None, image: FoundImage, dropped: Counter[str]
) -> tuple[list[list[float]] | dict[str, Any] | None, float | None]:
    """A mask and its pixels; None, and counted, where it is broken or empty."""
    if segmentation is None:
        return None, None
    fault = segmentation_fault(segmentation, height=image.height, width=image.width)
    if fault is None and not mask_is_absent(segmentation):
        try:
            return segmentation, float(coco_mask.area(segmentation_to_rle(segmentation, image.height, image.width)))
        except DataError as error:
            fault = error.message
    dropped["masks left out: they cover no pixel, or are broken"] += 1
    return None, None
