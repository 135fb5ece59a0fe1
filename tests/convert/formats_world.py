"""A small data set with all that hand-overs trip over, and samples of other formats as their tools write them."""

from __future__ import annotations

import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import tiny_project
from PIL import Image

WIDTH, HEIGHT = 64, 48
NAMES = ("salt & pepper", 'dog/"cat": <b>', "猫")
SQUARE = [10.0, 10, 20, 10, 20, 20, 10, 20]
FAR = [30.0, 30, 34, 30, 34, 34, 30, 34]


def ring_rle() -> dict[str, Any]:
    """A square of 12 x 12 with a hole of 4 x 4, uncompressed."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[30:42, 40:52] = 1
    mask[34:38, 44:48] = 0
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return {"size": [HEIGHT, WIDTH], "counts": counts}


ANNOTATIONS: list[dict[str, Any]] = [
    {"image_id": 1, "category_id": 1, "bbox": [10, 10, 10, 10], "area": 100, "segmentation": [SQUARE], "iscrowd": 0},
    {"image_id": 1, "category_id": 2, "bbox": [10, 10, 24, 24], "area": 116, "segmentation": [SQUARE, FAR]},
    {"image_id": 1, "category_id": 3, "bbox": [2, 3, 30, 9], "segmentation": None, "iscrowd": 0},
    {"image_id": 2, "category_id": 3, "bbox": [40, 30, 12, 12], "area": 128, "segmentation": "ring", "iscrowd": 0},
    {"image_id": 2, "category_id": 1, "bbox": [1, 1, 5.5, 7], "segmentation": [], "iscrowd": 0},
    {"image_id": 2, "category_id": 1, "bbox": [0, 0, 60, 40], "segmentation": None, "iscrowd": 1},
    {"image_id": 2, "category_id": 1, "bbox": [0, 0, 4, 4], "iscrowd": 1,
     "segmentation": {"size": [HEIGHT, WIDTH], "counts": [0, 4, HEIGHT * WIDTH - 4]}},
]  # fmt: skip
"""Image 3 has none. Without the crowds there are 5 boxes and 3 masks."""


def write_image(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """Noise, which no two images share."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(zlib.crc32(path.name.encode()))
    Image.fromarray(generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)


def write_dataset(folder: Path, *, first_id: int = 1) -> Path:
    """images/ and boxes.json: three images, one of them in a folder of its own."""
    names = ("a.jpg", "deep/b.png", "c.jpg")
    for name in names:
        write_image(folder / "images" / name)
    annotations = []
    for number, entry in enumerate(ANNOTATIONS, start=1):
        made = {"id": number, **entry}
        made["category_id"] += first_id - 1
        if made.get("segmentation") == "ring":
            made["segmentation"] = ring_rle()
        annotations.append(made)
    content = {
        "images": [
            {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT}
            for number, name in enumerate(names, start=1)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(NAMES, start=first_id)],
        "annotations": annotations,
    }
    path = folder / "boxes.json"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def maskx(*words: str, code: int = 0) -> str:
    """Run a command in this process; what it printed, results and logs."""
    return "".join(tiny_project.maskx(Path(), *words, code=code))


def counts(path: Path) -> tuple[int, int, int]:
    """Images, boxes and masks of a COCO-format file, crowds left out."""
    content = json.loads(path.read_text(encoding="utf-8"))
    objects = [entry for entry in content["annotations"] if not entry.get("iscrowd")]
    return len(content["images"]), len(objects), sum(bool(entry.get("segmentation")) for entry in objects)


def write_yolo(folder: Path) -> Path:
    """As Ultralytics describes it: train as a folder, val as a list; boxes, polygons, an image without labels."""
    for name in ("train/a.jpg", "train/deep/b.jpg", "val/c.jpg"):
        write_image(folder / "images" / name)
    (folder / "labels" / "train" / "deep").mkdir(parents=True)
    (folder / "labels" / "val").mkdir()
    (folder / "labels" / "train" / "a.txt").write_text(
        "0 0.5 0.5 0.25 0.5\n1 0.25 0.25 0.5 0.25 0.5 0.5 0.25 0.5\n\n", encoding="utf-8"
    )
    (folder / "labels" / "val" / "c.txt").write_text("2 0.1 0.1 0.1 0.1\n", encoding="utf-8")
    (folder / "val.txt").write_text("./images/val/c.jpg\n", encoding="utf-8")
    path = folder / "data.yaml"
    path.write_text(
        "# a comment\npath: ../gone  # where it was made\ntrain: images/train\nval: val.txt\ntest:\n"
        "names:\n  0: person\n  1: 'salt & pepper'\n  2: 猫\n",
        encoding="utf-8",
    )
    return path


def write_voc(folder: Path) -> Path:
    """As VOC2012 is: 1-based corners, a palette picture with a void border, an image of no split."""
    for name in ("2007_000001", "2007_000002", "2007_000003"):
        write_image(folder / "JPEGImages" / f"{name}.jpg")
        objects = ""
        if name != "2007_000003":
            objects = "".join(
                f"<object><name>{label}</name><pose>Left</pose><truncated>0</truncated><difficult>0</difficult>"
                f"<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox>"
                "</object>"
                for label, box in (("dog", (11, 6, 20, 15)), ("tv &amp; radio", (1, 1, 64, 48)))
            )
        (folder / "Annotations").mkdir(exist_ok=True)
        (folder / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><folder>VOC2012</folder><filename>{name}.jpg</filename><size><width>{WIDTH}</width>"
            f"<height>{HEIGHT}</height><depth>3</depth></size><segmented>1</segmented>{objects}</annotation>",
            encoding="utf-8",
        )
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[4:16, 9:21] = 255
    pixels[5:15, 10:20] = 1
    (folder / "SegmentationObject").mkdir()
    picture = Image.fromarray(pixels, mode="P")
    picture.putpalette([*range(256)] * 3)
    picture.save(folder / "SegmentationObject" / "2007_000001.png")
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_000001\n", encoding="utf-8")
    (lists / "val.txt").write_text("2007_000002 -1\n", encoding="utf-8")
    (lists / "dog_train.txt").write_text("2007_000001  1\n", encoding="utf-8")
    return folder


def write_labelme(folder: Path) -> Path:
    """As labelme 5 writes it: an object of two parts, a rectangle, a circle, a mask, a point."""
    import base64

    write_image(folder / "a.jpg")
    write_image(folder / "b.jpg")
    stream = io.BytesIO()
    inside = np.zeros((4, 6), np.uint8)
    inside[1:, :] = 1
    Image.fromarray(inside * 255).convert("1").save(stream, format="PNG")
    shapes = [
        {"label": "dog", "points": [[10, 10], [20, 10], [20, 20], [10, 20]], "group_id": 1, "shape_type": "polygon"},
        {"label": "dog", "points": [[30, 30], [34, 30], [34, 34], [30, 34]], "group_id": 1, "shape_type": "polygon"},
        {"label": "猫", "points": [[40, 40], [50, 30]], "group_id": None, "shape_type": "rectangle"},
        {"label": "ball", "points": [[30, 20], [30, 26]], "group_id": None, "shape_type": "circle"},
        {"label": "dog", "points": [[2, 3], [7, 6]], "group_id": None, "shape_type": "mask",
         "mask": base64.b64encode(stream.getvalue()).decode()},
        {"label": "dog", "points": [[1, 1]], "group_id": None, "shape_type": "point"},
    ]  # fmt: skip
    for name, found in (("a", shapes), ("b", [])):
        content = {
            "version": "5.4.1", "flags": {}, "shapes": [{**shape, "flags": {}} for shape in found],
            "imagePath": f"{name}.jpg", "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH,
        }  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


OI_BOXES = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
)
OI_MASKS = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks"


def write_open_images(folder: Path) -> Path:
    """As it is downloaded: CSV files of boxes, masks and names; mask pictures of another size than the image."""
    rows = {
        "train": [
            "00aa,xclick,/m/car,1,0.25,0.75,0.25,0.5,0,0,0,0,0",
            "00aa,xclick,/m/car,1,0.0,1.0,0.0,1.0,0,0,1,0,0",
            "00aa,xclick,/m/cat,1,0.5,0.75,0.5,0.75,0,0,0,0,0",
            "00bb,xclick,/m/cat,1,0.1,0.2,0.1,0.2,0,0,0,0,0",
            "00gone,xclick,/m/cat,1,0.1,0.2,0.1,0.2,0,0,0,0,0",
        ],
        "validation": ["00cc,xclick,/m/man,1,0.1,0.2,0.1,0.2,1,0,0,0,0"],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for split, lines in rows.items():
        name = f"oidv6-{split}" if split == "train" else split
        (folder / f"{name}-annotations-bbox.csv").write_text("\n".join([OI_BOXES, *lines, ""]), encoding="utf-8")
    (folder / "train-annotations-object-segmentation.csv").write_text(
        f"{OI_MASKS}\n00aa_m0car_f1.png,00aa,/m/car,f1,0.250500,0.749500,0.250500,0.499900,0.9,\n"
        "00aa_m0cat_f2.png,00aa,/m/cat,f2,0.9,1.0,0.9,1.0,0.9,\n",
        encoding="utf-8",
    )
    (folder / "class-descriptions-boxable.csv").write_text(
        '/m/car,Car\n/m/cat,"Cat, domestic & wild"\n/m/man,Man\n', encoding="utf-8"
    )
    for place in ("train/00aa", "train/00bb", "validation/00cc"):
        write_image(folder / "images" / f"{place}.jpg")
    pixels = np.zeros((HEIGHT // 2, WIDTH // 2), np.uint8)
    pixels[6:12, 8:24] = 255
    (folder / "masks" / "train-masks-0").mkdir(parents=True)
    Image.fromarray(pixels).convert("1").save(folder / "masks" / "train-masks-0" / "00aa_m0car_f1.png")
    return folder


def write_lvis(folder: Path) -> Path:
    """lvis_v1_val.json: no file_name and no iscrowd, but what was looked for."""
    url = "http://images.cocodataset.org"
    content = {
        "info": {"year": 2020, "version": "1"},
        "licenses": [],
        "images": [
            {"id": 7, "coco_url": f"{url}/val2017/000000000007.jpg", "width": WIDTH, "height": HEIGHT,
             "flickr_url": "", "license": 1, "neg_category_ids": [2], "not_exhaustive_category_ids": [1]},
            {"id": 9, "coco_url": f"{url}/train2017/000000000009.jpg", "width": WIDTH, "height": HEIGHT,
             "flickr_url": "", "license": 1, "neg_category_ids": [1], "not_exhaustive_category_ids": []},
        ],
        "categories": [
            {"id": number, "name": name, "synset": f"{name}.n.01", "frequency": "r", "def": "", "synonyms": [name],
             "image_count": 1, "instance_count": 1}
            for number, name in ((1, "bow_(weapon)"), (2, "cat"))
        ],
        "annotations": [
            {"id": 3, "image_id": 7, "category_id": 1, "bbox": [10.0, 10.0, 10.0, 10.0], "area": 100.0,
             "segmentation": [SQUARE]},
            {"id": 4, "image_id": 9, "category_id": 2, "bbox": [30.0, 30.0, 4.0, 4.0], "area": 16.0,
             "segmentation": [FAR]},
        ],
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lvis_v1_val.json").write_text(json.dumps(content), encoding="utf-8")
    for place in ("val2017/000000000007", "train2017/000000000009"):
        write_image(folder / f"{place}.jpg")
    return folder


def write_objects365(folder: Path) -> Path:
    """zhiyuan_objv2_train.json and _val.json: boxes alone, and file names that the archives do not have."""
    names = ("Person", "Wild Bird", "Dinning Table", "Hot dog", "Moniter/TV", "Sneakers", "Bow")
    for split, number in (("train", 1), ("val", 2)):
        content = {
            "images": [{"id": number, "file_name": f"images/v1/patch{number}/objects365_v1_{number:08d}.jpg",
                        "width": WIDTH, "height": HEIGHT, "license": 5, "url": ""}],
            "annotations": [
                {"id": number, "image_id": number, "category_id": 6, "bbox": [1.5, 2.5, 10.0, 12.0], "area": 120.0,
                 "iscrowd": 1, "isfake": 0, "isreflected": 0},
                {"id": number + 10, "image_id": number, "category_id": 2, "bbox": [1.5, 2.5, 10.0, 12.0],
                 "area": 120.0, "iscrowd": 0, "isfake": 0, "isreflected": 0},
            ],
            "categories": [{"id": place, "name": name} for place, name in enumerate(names, start=1)],
        }  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"zhiyuan_objv2_{split}.json").write_text(json.dumps(content), encoding="utf-8")
        write_image(folder / split / f"patch{number}" / f"objects365_v1_{number:08d}.jpg")
    return folder
