"""A project with a tiny model and photos of every kind, written without any training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tiny_project import Done, maskx

from maskx_pipeline.config import DetectConfig, E2EConfig, TransferConfig
from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.e2e.model import E2EModel
from maskx_pipeline.engine.checkpoint import save_weights
from maskx_pipeline.engine.runlog import open_run
from maskx_pipeline.transfer.construction import empty_mask_model

NAMES = ('dog/"cat"', "猫", "кит")
WIDTH, HEIGHT = 96, 64
DETECT = DetectConfig(
    backbone="resnet18", backbone_weights="none", fpn_channels=8, box_head_dim=16, min_size=64, max_size=96,
    anchor_sizes=(8, 16, 32, 64, 128), canonical_box_size=32, rpn_pre_nms=20, rpn_post_nms=10, detections_per_image=5,
)  # fmt: skip
TRANSFER = TransferConfig(embedding="none", class_specific=True, head_width=8, head_depth=1)
SQUARE = [[8, 8, 30, 8, 30, 30, 8, 30]]
MIXED: list[dict[str, Any]] = [
    {},
    {"segmentation": SQUARE, "note": "true"},
    {"category_id": 2, "segmentation": [], "attributes": {"occluded": False}},
    {"iscrowd": 1, "segmentation": {"size": [HEIGHT, WIDTH], "counts": [100, 50, HEIGHT * WIDTH - 150]}},
    {"category_id": 4},
    {"bbox": [3, 3, 0, 9]},
    {"image_id": 2, "category_id": 3, "segmentation": None, "bbox": [50, 10, 46, 54]},
    {"image_id": 2, "category_id": 1},
]


def annotate(project: Path, *arguments: str, code: int = 0) -> Done:
    """Run it in this process, in the project folder."""
    return maskx(project, "annotate", *arguments, code=code)


def entries(path: Path) -> dict[int, dict[str, Any]]:
    """The annotations by id."""
    return {entry["id"]: entry for entry in json.loads(path.read_text(encoding="utf-8"))["annotations"]}


def write_model(folder: Path, *, seed: int = 0) -> Path:
    """A finished run of joint training; the mask of each category is of another confidence."""
    torch.manual_seed(seed)
    detector = build_detector(num_classes=len(NAMES) + 1, **detector_arguments(DETECT))
    mask_model = empty_mask_model(TRANSFER, {}, num_classes=len(NAMES), in_channels=8, roi_size=7)
    with torch.no_grad():
        for name, parameter in mask_model.predictor.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(torch.tensor([3.0, 1.0, -3.0]) if parameter.numel() == 3 else parameter)
    model = E2EModel(detector=detector, mask_model=mask_model, source=None, stop_gradient=True, roi_size=7)
    config = E2EConfig(roi_size=7, amp="off")
    run = open_run(folder, stage="e2e", identity={}, config=config.to_mapping(), inputs={})
    run.update(
        categories=[{"id": 10 + number, "name": name} for number, name in enumerate(NAMES)],
        seen=[10],
        detect=DETECT.to_mapping(),
        transfer=TRANSFER.to_mapping(),
    )
    save_weights(folder / "best.safetensors", model.state_dict(), {})
    run.finish()
    return folder


def write_photo(path: Path, *, mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """A photo of noise, of one of Pillow's modes; ``exif`` is a photo turned by its EXIF orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    if mode == "exif":
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    elif mode == "I;16":
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(path)
    else:
        picture.convert(mode).save(path)


def write_dataset(
    folder: Path, files: dict[str, str], annotations: list[dict[str, Any]], name: str = "boxes.json"
) -> Path:
    """Photos and an annotation file whose categories have other ids than the model's, and one that it does not know."""
    for file_name, mode in files.items():
        if mode != "missing":
            write_photo(folder / "images" / file_name, mode=mode)
    images = [
        {"id": number, "file_name": file_name, "width": WIDTH, "height": HEIGHT}
        for number, file_name in enumerate(files, start=1)
    ]
    categories = [{"id": 3 - number, "name": text} for number, text in enumerate(NAMES)] + [{"id": 4, "name": "new"}]
    entries = [
        {"id": number, "image_id": 1, "category_id": 3, "bbox": [4, 5, 40, 30], "area": 1200, "iscrowd": 0} | entry
        for number, entry in enumerate(annotations, start=1)
    ]
    path = folder / name
    content = {"info": {"year": 2.50}, "images": images, "annotations": entries, "categories": categories}
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def write_project(folder: Path, model: Path) -> None:
    """A project whose validation data lack masks."""
    write_dataset(folder, {"a.png": "RGB", "b.png": "RGB"}, MIXED)
    (folder / "maskx.toml").write_text(
        "[data]\nval-annotations = 'boxes.json'\nval-images = 'images'\n"
        f"[annotate]\nruns = '{model.parents[1]}'\ndevice = 'cpu'\n"
    )
