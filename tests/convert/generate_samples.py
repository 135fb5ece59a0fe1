"""A COCO-format file in the formats of other tools and data sets, written without maskx, to be converted by it.

Masks are RLE in the file, as `tests/docs_world.py` draws them; an absent one stays a box without a mask.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

Content = dict[str, Any]


class Sample:
    """An annotation file and its images."""

    def __init__(self, path: Path, images: Path) -> None:
        self.content: Content = json.loads(path.read_text(encoding="utf-8"))
        self.images = images
        self.names = {entry["id"]: entry["name"] for entry in self.content["categories"]}

    def each(self) -> Iterator[tuple[Content, list[tuple[Content, NDArray[np.uint8] | None]]]]:
        """Each image, and its annotations with their pixels."""
        for image in self.content["images"]:
            own = [entry for entry in self.content["annotations"] if entry["image_id"] == image["id"]]
            yield image, [(entry, coco_mask.decode(m) if (m := entry.get("segmentation")) else None) for entry in own]

    def copy(self, image: Content, target: Path) -> None:
        """The image file as a JPEG or whatever the name says."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(self.images / image["file_name"]) as picture:
            picture.convert("RGB").save(target)

    def counts(self) -> tuple[int, int, int]:
        """Images, boxes and masks."""
        masks = sum(bool(entry.get("segmentation")) for entry in self.content["annotations"])
        return len(self.content["images"]), len(self.content["annotations"]), masks


def contour(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The corners around the largest part, int [N, 2]; at least three."""
    found, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = max(found, key=cv2.contourArea).reshape(-1, 2)
    if len(points) < 3 or cv2.contourArea(points) < 1:
        x, y, w, h = cv2.boundingRect(pixels)
        points = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]])
    return points


def as_yolo(sample: Sample, folder: Path) -> None:
    """images/train, labels/train and data.yaml; val is a list of two images."""
    lines_of = {}
    numbers = {category_id: number for number, category_id in enumerate(sample.names)}
    for image, objects in sample.each():
        stem = Path(image["file_name"]).stem
        sample.copy(image, folder / "images" / "train" / f"{stem}.jpg")
        size = np.array([image["width"], image["height"]])
        lines = []
        for entry, pixels in objects:
            x, y, w, h = entry["bbox"]
            values = np.array([x + w / 2, y + h / 2, w, h]) / [*size, *size]
            if pixels is not None:
                values = (contour(pixels) / size).ravel()
            lines.append(" ".join([str(numbers[entry["category_id"]]), *(f"{value:.6f}" for value in values)]))
        lines_of[stem] = lines
    (folder / "labels" / "train").mkdir(parents=True)
    for stem, lines in lines_of.items():
        (folder / "labels" / "train" / f"{stem}.txt").write_text("\n".join(lines), encoding="utf-8")
    names = "".join(f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(sample.names.values()))
    text = f"path: {folder.name}\ntrain: images/train\nval: images/train\nnames:\n{names}"
    (folder / "data.yaml").write_text(text.replace("val: images/train\n", "val:\n"), encoding="utf-8")


def as_voc(sample: Sample, folder: Path) -> None:
    """JPEGImages, Annotations, SegmentationObject and the list of train; masks that others hide are not drawn."""
    for part in ("Annotations", "SegmentationObject", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    stems = []
    for image, objects in sample.each():
        stem = Path(image["file_name"]).stem
        stems.append(stem)
        sample.copy(image, folder / "JPEGImages" / f"{stem}.jpg")
        canvas = np.zeros((image["height"], image["width"]), np.uint8)
        text = f"<annotation><filename>{stem}.jpg</filename><size><width>{image['width']}</width>"
        text += f"<height>{image['height']}</height><depth>3</depth></size>"
        for number, (entry, pixels) in enumerate(objects, start=1):
            x, y, w, h = entry["bbox"]
            if pixels is not None:
                canvas[pixels > 0] = number
            text += f"<object><name>{escape(sample.names[entry['category_id']])}</name><bndbox><xmin>{x + 1}</xmin>"
            text += f"<ymin>{y + 1}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
        (folder / "Annotations" / f"{stem}.xml").write_text(f"{text}</annotation>", encoding="utf-8")
        picture = Image.fromarray(canvas, mode="P")
        picture.putpalette([*range(256)] * 3)
        picture.save(folder / "SegmentationObject" / f"{stem}.png")
    (folder / "ImageSets" / "Main" / "train.txt").write_text("\n".join(stems), encoding="utf-8")


def as_labelme(sample: Sample, folder: Path) -> None:
    """A JSON file beside each image."""
    for image, objects in sample.each():
        path = folder / f"{Path(image['file_name']).stem}.jpg"
        sample.copy(image, path)
        shapes = []
        for entry, pixels in objects:
            x, y, w, h = entry["bbox"]
            points = [[x, y], [x + w, y + h]] if pixels is None else contour(pixels).tolist()
            shapes.append({
                "label": sample.names[entry["category_id"]], "points": points, "group_id": None, "description": "",
                "shape_type": "rectangle" if pixels is None else "polygon", "flags": {}, "mask": None,
            })  # fmt: skip
        content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": path.name, "imageData": None,
                   "imageHeight": image["height"], "imageWidth": image["width"]}  # fmt: skip
        path.with_suffix(".json").write_text(json.dumps(content), encoding="utf-8")


def as_open_images(sample: Sample, folder: Path, split: str = "train") -> None:
    """CSV files, and mask pictures twice as large as their image."""
    boxes = ["ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,"
             "IsInside"]  # fmt: skip
    masks = ["MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks"]
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    for image, objects in sample.each():
        image_id = f"{split[0]}{image['id']:015x}"
        sample.copy(image, folder / "images" / split / f"{image_id}.jpg")
        for entry, pixels in objects:
            x, y, w, h = entry["bbox"]
            x1, x2, y1, y2 = (
                x / image["width"],
                (x + w) / image["width"],
                y / image["height"],
                (y + h) / image["height"],
            )
            label = f"/m/{entry['category_id']:03x}"
            sides = f"{x1:.6f},{x2:.6f},{y1:.6f},{y2:.6f}"
            boxes.append(f"{image_id},xclick,{label},1,{sides},0,0,0,0,0")
            if pixels is not None:
                name = f"{image_id}_{label.replace('/', '')}_{entry['id']:x}.png"
                masks.append(f"{name},{image_id},{label},{entry['id']:x},{sides},0.9,")
                picture = Image.fromarray(pixels.repeat(2, 0).repeat(2, 1) * 255).convert("1")
                picture.save(folder / "masks" / name)
    names = "".join(f'/m/{number:03x},"{name}"\n' for number, name in sample.names.items())
    (folder / "class-descriptions-boxable.csv").write_text(names, encoding="utf-8")
    for ending, lines in (("bbox", boxes), ("object-segmentation", masks)):
        (folder / f"{split}-annotations-{ending}.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")


def as_lvis(sample: Sample, folder: Path, split: str = "val") -> None:
    """lvis_v1_SPLIT.json, and the images as COCO's folders have them; all categories were looked for in each image."""
    images = []
    for image, objects in sample.each():
        url = f"http://images.cocodataset.org/train2017/{image['id']:012d}.jpg"
        sample.copy(image, folder / "train2017" / f"{image['id']:012d}.jpg")
        absent = sorted(sample.names.keys() - {entry["category_id"] for entry, _ in objects})
        images.append({"id": image["id"], "coco_url": url, "width": image["width"], "height": image["height"],
                       "neg_category_ids": absent, "not_exhaustive_category_ids": []})  # fmt: skip
    annotations = [{key: value for key, value in entry.items() if key != "iscrowd"}
                   for entry in sample.content["annotations"]]  # fmt: skip
    categories = [{"id": number, "name": name, "synset": f"{name}.n.01", "frequency": "f"}
                  for number, name in sample.names.items()]  # fmt: skip
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"lvis_v1_{split}.json").write_text(json.dumps(content), encoding="utf-8")


def as_objects365(sample: Sample, folder: Path, split: str) -> None:
    """zhiyuan_objv2_SPLIT.json: boxes alone, names in capitals, and two categories that COCO does not have."""
    images = []
    for image, _ in sample.each():
        name = f"objects365_v1_{image['id']:08d}.jpg"
        sample.copy(image, folder / split / "patch0" / name)
        images.append({**image, "file_name": f"images/v1/patch0/{name}"})
    annotations = [
        {key: value for key, value in entry.items() if key != "segmentation"} | {"isfake": 0, "isreflected": 0}
        for entry in sample.content["annotations"]
    ]
    names = {number: name.capitalize() for number, name in sample.names.items()} | {500: "Sneakers", 501: "Lamp"}
    for entry in annotations[:4]:
        entry["category_id"] = 500
    categories = [{"id": number, "name": name} for number, name in names.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"zhiyuan_objv2_{split}.json").write_text(json.dumps(content), encoding="utf-8")


def as_coco(sample: Sample, folder: Path, split: str) -> None:
    """annotations/instances_SPLIT2017.json and SPLIT2017."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for image in sample.content["images"]:
        (folder / f"{split}2017").mkdir(exist_ok=True)
        shutil.copyfile(sample.images / image["file_name"], folder / f"{split}2017" / image["file_name"])
    (folder / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(sample.content), encoding="utf-8")
