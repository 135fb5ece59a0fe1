"""Draw a data set in Visual Genome's own file format and a COCO beside it, to try `pipelines/visual_genome.sh` on.

    python tests/convert/generate_visual_genome.py PROJECT_FOLDER [--categories 3000] [--objects-of-rare 2]

Writes PROJECT_FOLDER/data/visual-genome (objects.json, image_data.json, VG_100K, VG_100K_2: boxes of all synsets) and
PROJECT_FOLDER/data/coco (annotations, train2017, val2017: masks of the 80 categories), as they are unpacked from their
archives, and maskx.toml with sizes for one CPU core. It proves that everything fits together at this number of
categories; a detector so small learns next to nothing. A synset is a shape, a texture and a hue, as in `shapes`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from maskx_pipeline.convert.visual_genome_categories import NAMED_OTHERWISE
from maskx_pipeline.data.category_sets import COCO_CATEGORIES
from maskx_pipeline.project import write_project
from maskx_pipeline.shapes import draw

SIZE = 128
OBJECTS_PER_IMAGE = 15
OBJECTS_OF_COCO = 8  # of each category that COCO has
SMALLEST = 20  # pixels of an object that stay visible
ATTEMPTS = 200

URL = "https://cs.stanford.edu/people/rak248"

PROJECT: dict[str, dict[str, object]] = {
    "data": {
        "train-images": "data/visual-genome",
        "train-annotations": "data/vg3k/train.json",
        "val-images": "data/visual-genome",
        "val-annotations": "data/vg3k/val.json",
    },
    "masks": {
        "train-images": "data/coco/train2017",
        "train-annotations": "data/coco/annotations/instances_train2017.json",
        "val-images": "data/coco/val2017",
        "val-annotations": "data/coco/annotations/instances_val2017.json",
        "category-map": "data/vg3k/coco-categories.json",
    },
    "visual-genome": {"test-count": 10},
    "detect": {
        "backbone": "resnet18",
        "backbone-weights": "none",
        "fpn-channels": 32,
        "box-head-dim": 64,
        "min-size": SIZE,
        "max-size": SIZE,
        "anchor-sizes": [12, 18, 27, 40, 60],
        "rpn-pre-nms": 200,
        "rpn-post-nms": 10,
        "rois-per-image": 64,
        "detections-per-image": 20,
        "score-threshold": 0.0003,  # about 1 / 3000: no category is ever sure here
        "iterations": 40,
        "images-per-batch": 4,
        "warmup-iterations": 10,
        "steps": [30],
        "clip-grad-norm": 10.0,
        "eval-every": 0,
        "workers": 0,
    },
    "export-embeddings": {"rois-per-object": 1, "workers": 0},
    "fit-transfer": {"head-width": 32, "epochs": 2.0, "rois-per-batch": 32, "eval-every": 0.0},
    "predict": {"score-threshold": 0.0},
    "contact-sheet": {"score-threshold": 0.0},
}


def synsets_of(count: int) -> list[str]:
    """COCO's 80 synsets, in COCO's order, and as many others as make `count`."""
    coco = [NAMED_OTHERWISE.get(name, f"{name.replace(' ', '_')}.n.01") for name in COCO_CATEGORIES.values()]
    return [*coco, *(f"thing_{number:04d}.n.01" for number in range(count - len(coco)))]


def thing_of(category: int, random: np.random.Generator) -> draw.Thing:
    """One object of a category, anywhere in the image: each category has a look of its own."""
    look = category * 1237 % 3000  # neighbours differ in everything
    shape, look = look % len(draw.SHAPES), look // len(draw.SHAPES)
    texture, hue = look % len(draw.TEXTURES), look // len(draw.TEXTURES) / 125
    centre = (float(random.uniform(8, SIZE - 8)), float(random.uniform(8, SIZE - 8)))
    side = float(random.uniform(16, 36))
    return draw.random_thing(random, shape=shape, texture=texture, hue=hue, centre=centre, side=side)


def draw_image(categories: list[int], random: np.random.Generator) -> tuple[Any, list[tuple[int, Any]]]:
    """The picture, and by object its category and visible pixels."""
    canvas = draw.background(random, SIZE, 4)
    placed: list[tuple[int, Any]] = []
    for category in categories:
        for _ in range(ATTEMPTS):
            thing = thing_of(category, random)
            covered = draw.coverage(thing, SIZE)
            after = [(old, pixels & ~(covered > 0.5)) for old, pixels in placed] + [(category, covered > 0.5)]
            if min(pixels.sum() for _, pixels in after) >= SMALLEST:
                draw.paint(canvas, thing, covered)
                placed = after
                break
    return np.clip(canvas * 255, 0, 255).astype(np.uint8), placed


def box_of(pixels: Any) -> list[int]:
    """x, y, width, height."""
    columns, rows = np.flatnonzero(pixels.any(axis=0)), np.flatnonzero(pixels.any(axis=1))
    return [int(n) for n in (columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0])]


def generate(folder: Path, *, categories: int = 3000, objects_of_rare: int = 2, seed: int = 0) -> None:
    """Write the two data sets and maskx.toml; see the head of this file."""
    genome, coco = folder / "data" / "visual-genome", folder / "data" / "coco"
    for path in (genome / "VG_100K", genome / "VG_100K_2", *(coco / name for name in ("train2017", "val2017"))):
        path.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    synsets = synsets_of(categories)
    deck = [c for c in range(categories) for _ in range(OBJECTS_OF_COCO if c < 80 else objects_of_rare)]
    hands = np.array_split(random.permutation(deck), max(len(deck) // OBJECTS_PER_IMAGE, 12))
    entries: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    splits = {name: CocoSplit(coco, name) for name in ("train2017", "val2017")}
    for image_id, hand in enumerate(hands, start=1):
        pixels, visible = draw_image(hand.tolist(), random)
        path = genome / ("VG_100K" if image_id % 2 else "VG_100K_2") / f"{image_id}.jpg"
        Image.fromarray(pixels).save(path, quality=90)
        url = f"{URL}/{path.parent.name}/{path.name}"
        split = {0: "val2017", 1: "train2017", 2: "train2017", 3: "train2017"}.get(image_id % 6)
        coco_id = None if split is None else 500_000 + image_id  # half of Visual Genome's images are COCO's
        if split is not None:
            splits[split].add(path, 500_000 + image_id, visible)
        records.append(
            {"width": SIZE, "url": url, "height": SIZE, "image_id": image_id, "coco_id": coco_id, "flickr_id": None}
        )
        objects = [vg_object(synsets[c], box_of(mask), 1000 * image_id + n) for n, (c, mask) in enumerate(visible)]
        if image_id % 20 == 0:  # as in the real files: no synset, two synsets, a box outside the image
            others = [vg_object(synsets[-1], [9, 9, 9, 9], 1000 * image_id + 900 + n) for n in range(3)]
            others[0]["synsets"], others[1]["synsets"], others[2]["x"] = [], synsets[-2:], SIZE + 1
            objects += others
        entries.append({"image_id": image_id, "objects": objects, "image_url": url})
    for name, content in (("objects.json", entries), ("image_data.json", records)):
        (genome / name).write_text(json.dumps(content), encoding="utf-8")
    for written in splits.values():
        written.write()
    write_project(folder, PROJECT)


def vg_object(synset: str, box: list[int], object_id: int) -> dict[str, Any]:
    """An object as objects.json has it."""
    x, y, w, h = box
    name = synset.split(".")[0].replace("_", " ")
    return {
        "synsets": [synset], "h": h, "object_id": object_id, "merged_object_ids": [], "names": [name], "w": w, "y": y,
        "x": x,
    }  # fmt: skip


class CocoSplit:
    """A split of COCO: the same pictures under COCO's names, and the masks of COCO's categories."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add(self, picture: Path, image_id: int, visible: list[tuple[int, Any]]) -> None:
        file_name = f"{image_id:012d}.jpg"
        shutil.copyfile(picture, self.folder / self.name / file_name)
        self.images.append({"id": image_id, "file_name": file_name, "width": SIZE, "height": SIZE})
        ids = list(COCO_CATEGORIES)
        for category, pixels in visible:
            if category < len(ids):
                rle = coco_mask.encode(np.asfortranarray(pixels, dtype=np.uint8))
                self.annotations.append(
                    {
                        "id": len(self.annotations) + 1,
                        "image_id": image_id,
                        "category_id": ids[category],
                        "bbox": box_of(pixels),
                        "area": int(pixels.sum()),
                        "iscrowd": 0,
                        "segmentation": {"size": [SIZE, SIZE], "counts": rle["counts"].decode()},
                    }
                )

    def write(self) -> None:
        categories = [{"id": category_id, "name": name} for category_id, name in COCO_CATEGORIES.items()]
        content = {"images": self.images, "categories": categories, "annotations": self.annotations}
        path = self.folder / "annotations" / f"instances_{self.name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("folder", type=Path, help="project folder to make")
    parser.add_argument("--categories", type=int, default=3000, help="synsets, at least 80")
    parser.add_argument("--objects-of-rare", type=int, default=2, help="objects of each synset that COCO does not have")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.categories < 80 or arguments.objects_of_rare < 1:
        parser.error("at least 80 categories and one object of each")
    if (arguments.folder / "maskx.toml").exists():
        parser.error(f"{arguments.folder} is a project folder already")
    generate(
        arguments.folder,
        categories=arguments.categories,
        objects_of_rare=arguments.objects_of_rare,
        seed=arguments.seed,
    )


if __name__ == "__main__":
    main()
