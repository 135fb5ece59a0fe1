"""Writing the annotation files of the splits of Visual Genome, an annotation at a time."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from maskx_pipeline.convert.visual_genome_categories import VisualGenomeCategory
from maskx_pipeline.convert.visual_genome_files import VisualGenomeImage, VisualGenomeObject, clip_box
from maskx_pipeline.provenance.room import writing


class SplitWriter(contextlib.AbstractContextManager["SplitWriter"]):
    """Writes the annotation file of a split, annotation by annotation."""

    def __init__(
        self,
        path: Path,
        head: str,
        images: tuple[VisualGenomeImage, ...],
        categories: tuple[VisualGenomeCategory, ...],
    ) -> None:
        self.images = images
        self.boxes_of: Counter[int] = Counter()  # by category id
        self.images_with_boxes: set[int] = set()
        self._path = path
        with writing(path):
            self._stream: TextIO = path.open("w", encoding="utf-8")
            self._stream.write(head[:-1])
            self._write_list("images", (image._asdict() for image in images))
            self._write_list("categories", (category.to_json() for category in categories))
            self._stream.write(',\n"annotations": [')
        self._separator = "\n"

    def write(self, annotation: dict[str, Any]) -> None:
        try:  # not `writing`: millions of annotations
            self._stream.write(self._separator + json.dumps(annotation))
        except OSError as error:
            with writing(self._path):
                raise error from None
        self._separator = ",\n"
        self.boxes_of[annotation["category_id"]] += 1
        self.images_with_boxes.add(annotation["image_id"])

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with writing(self._path), self._stream:
            self._stream.write("\n]}\n")

    def _write_list(self, name: str, entries: Iterable[dict[str, Any]]) -> None:
        self._stream.write(f',\n"{name}": [\n' + ",\n".join(map(json.dumps, entries)) + "\n]")


class Sorter:
    """Puts each object into the file of its split, or counts why not."""

    def __init__(
        self,
        images: Mapping[int, VisualGenomeImage],
        splits: Mapping[str, tuple[VisualGenomeImage, ...]],
        category_ids: Mapping[str, int],
        repeated_ids: frozenset[int],
        writers: Mapping[str, SplitWriter],
    ) -> None:
        self._images = images
        self._writer_of = {image.id: writers[split] for split, members in splits.items() for image in members}
        self._writers = writers
        self._category_ids = category_ids
        self._repeated_ids = repeated_ids
        self._written_repeated: set[int] = set()
        self._objects = 0
        self._clipped = 0
        self._dropped: dict[str, int] = dict.fromkeys(
            (
                "no synset",
                "several synsets",
                "synset not among the categories",
                "image not in image_data.json",
                "box without area",
                "box outside the image",
                "object id given before",
            ),
            0,
        )

    def put(self, image_id: int, item: VisualGenomeObject) -> None:
        self._objects += 1
        image = self._images.get(image_id)
        if len(item.synsets) != 1:
            reason = "several synsets" if item.synsets else "no synset"
        elif item.synsets[0] not in self._category_ids:
            reason = "synset not among the categories"
        elif image is None:
            reason = "image not in image_data.json"
        elif not min(item.box_xywh[2:]) > 0:
            reason = "box without area"
        elif (box := clip_box(item.box_xywh, image)) is None:
            reason = "box outside the image"
        elif item.id in self._written_repeated:
            reason = "object id given before"
        else:
            self._write(image_id, item, box)
            return
        self._dropped[reason] += 1

    def report(self) -> dict[str, Any]:
        return {
            "objects": {
                "read": self._objects,
                "written": sum(writer.boxes_of.total() for writer in self._writers.values()),
                "of these with a clipped box": self._clipped,
                "dropped": self._dropped,
            },
            "images": {
                split: {
                    "images": len(writer.images),
                    "without boxes": len(writer.images) - len(writer.images_with_boxes),
                    "annotations": writer.boxes_of.total(),
                }
                for split, writer in self._writers.items()
            },
        }

    def _write(self, image_id: int, item: VisualGenomeObject, box: tuple[float, float, float, float]) -> None:
        self._clipped += box != item.box_xywh
        if item.id in self._repeated_ids:
            self._written_repeated.add(item.id)
        annotation = {
            "id": item.id,
            "image_id": image_id,
            "category_id": self._category_ids[item.synsets[0]],
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
            "segmentation": [],
        }
        self._writer_of[image_id].write(annotation)
