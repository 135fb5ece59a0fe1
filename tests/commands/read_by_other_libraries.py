"""How other libraries read an annotation file: python read_by_other_libraries.py LIBRARY FILE IMAGES, as JSON.

A program of its own, and of the standard library and that library alone, so that it runs in an environment of another.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

Areas = dict[tuple[str, str], list[float]]
"""(category, image file) -> pixels of each mask."""


def read_by_datumaro(path: Path, images: Path) -> Areas:
    """From COCO's own folders, which Datumaro wants."""
    import datumaro

    root = path.parent / "coco"
    shutil.copytree(images, root / "images" / "val")
    (root / "annotations").mkdir()
    shutil.copy(path, root / "annotations" / "instances_val.json")
    dataset = datumaro.Dataset.import_from(str(root), format="coco_instances")
    labels = dataset.categories()[datumaro.AnnotationType.label]
    areas: Areas = {}
    for item in dataset:
        for shape in item.annotations:
            if shape.type in (datumaro.AnnotationType.polygon, datumaro.AnnotationType.mask):
                key = labels[shape.label].name, Path(item.media.path).name
                areas.setdefault(key, []).append(float(shape.get_area()))
    return areas


def read_by_supervision(path: Path, images: Path) -> Areas:
    """From the image folder and the file."""
    import supervision

    dataset = supervision.DetectionDataset.from_coco(str(images), str(path), force_masks=True)
    areas: Areas = {}
    for image_path, _, found in dataset:
        for mask, label in zip(found.mask, found.class_id, strict=True):
            areas.setdefault((dataset.classes[label], Path(image_path).name), []).append(float(mask.sum()))
    return areas


READERS = {"datumaro": read_by_datumaro, "supervision": read_by_supervision}

if __name__ == "__main__":
    library, file, folder = sys.argv[1:]
    found = READERS[library](Path(file), Path(folder))
    sys.stdout.write(json.dumps([[*key, areas] for key, areas in found.items()]))
