"""A small data set and a detector of a few lines that looks like FrozenDetector."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from maskx_pipeline.cache.checksums import HEAD_DIGEST, SUMS
from maskx_pipeline.cache.export import join, prepare, write_cache, write_share
from maskx_pipeline.cache.plan import count_export
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.schema import CacheIdentity
from maskx_pipeline.config import ExportConfig
from maskx_pipeline.data.records import Annotation, Category, CocoData, ImageRecord
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.detection.detector import Detections
from maskx_pipeline.provenance.lock import locked

WIDTH, HEIGHT = 40, 32
CHANNELS, ROI_SIZE, MASK_SIZE = 3, 4, 6
DETECTIONS_PER_IMAGE = 5
SETTINGS = ({"feature_dtype": "float16"}, {"feature_dtype": "int8", "unmasked_objects": "2", "colours": True})
"""Of a cache with as few columns as may be, and of one with all of them."""
CATEGORIES = (Category(3, "cat", 1), Category(7, "dög", 2), Category(9, "cow", 3))


def polygon(box: tuple[float, float, float, float]) -> list[list[float]]:
    """A triangle inside the box."""
    x1, y1, x2, y2 = box
    return [[x1, y1, x2, y1, x1, y2]]


def annotation(
    annotation_id: int,
    image_id: int,
    box: tuple[float, float, float, float],
    *,
    label: int = 1,
    masked: bool = True,
    crowd: bool = False,
) -> Annotation:
    """An object with a triangular mask, or with none."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    return Annotation(annotation_id, image_id, label, box, area, crowd, polygon(box) if masked else None)


def make_data(folder: Path, annotations: Iterable[Annotation], *, count: int, name: str = "train") -> CocoData:
    """``count`` images of noise, ids 11, 12, ..., and the annotations given."""
    image_dir = folder / name
    image_dir.mkdir(parents=True, exist_ok=True)
    records = []
    for number in range(count):
        record = ImageRecord(11 + number, f"{number}.png", WIDTH, HEIGHT)
        pixels = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(image_dir / record.file_name)
        records.append(record)
    return CocoData(
        path=folder / f"{name}.json",
        image_dir=image_dir,
        categories=CATEGORIES,
        images=tuple(records),
        annotations=tuple(annotations),
        digest=f"digest of {name}",
    )


def make_train(folder: Path, count: int = 5) -> CocoData:
    """Each image has two masked objects, one without a mask and a crowd; the last image has no objects."""
    objects = []
    for image in range(11, 10 + count):
        base = 10 * image
        objects += [
            annotation(base, image, (2.0, 3.0, 20.5, 25.0), label=1),
            annotation(base + 1, image, (15.0, 5.0, 38.0, 30.0), label=2),
            annotation(base + 2, image, (25.0, 1.0, 33.0, 9.0), label=3, masked=False),
            annotation(base + 3, image, (0.0, 0.0, 39.0, 31.0), label=3, crowd=True),
        ]
    return make_data(folder, objects, count=count)


def make_val(folder: Path, count: int = 3) -> CocoData:
    """Each image but the last has a masked object, one without a mask and a crowd."""
    objects = []
    for image in range(11, 10 + count):
        base = 1000 + 10 * image
        objects += [
            annotation(base, image, (2.0, 3.0, 20.5, 25.0), label=2),
            annotation(base + 1, image, (25.0, 1.0, 33.0, 9.0), label=1, masked=False),
            annotation(base + 2, image, (0.0, 0.0, 39.0, 31.0), label=3, crowd=True),
        ]
    return make_data(folder, objects, count=count, name="val")


class FakeFrozen:
    """Proposals and detections are random boxes that depend on the image alone; features depend on image and box."""

    categories = CATEGORIES
    channels = CHANNELS
    detections_per_image = DETECTIONS_PER_IMAGE
    identity = "ab" * 32

    @property
    def class_weights(self) -> ClassWeights:
        """Counting up."""
        return make_weights()

    def extract(self, image: torch.Tensor) -> Any:
        """See DetectedImage."""
        pixels = image.numpy()
        generator = np.random.default_rng(pixels.view(np.uint32).astype(np.uint64).ravel()[:64].tolist())
        base = np.array([[2, 3, 20.5, 25], [15, 5, 38, 30], [25, 1, 33, 9]])
        proposals = np.repeat(base, 8, axis=0) + generator.normal(0, 1.5, (24, 4))
        count = int(generator.integers(0, DETECTIONS_PER_IMAGE + 1))
        found = Detections(
            boxes_xyxy=_tensor(proposals[:count]),
            scores=_tensor(generator.uniform(size=count)),
            labels=torch.from_numpy(generator.integers(1, 4, count)),
        )
        mean = pixels.mean(axis=(1, 2))

        def pool(boxes_xyxy: torch.Tensor, roi_size: int) -> torch.Tensor:
            boxes = boxes_xyxy.numpy()[:, None, :] * mean[None, :, None]
            shape = (CHANNELS, roi_size, roi_size)
            return _tensor(np.array([np.resize(box, shape) for box in boxes]).reshape(-1, *shape) / 10)

        return SimpleNamespace(detections=found, proposals_xyxy=_tensor(proposals), pool=pool)


def _tensor(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32))


def make_weights(count: int = len(CATEGORIES), width: int = 5) -> ClassWeights:
    """Class weights counting up."""
    return ClassWeights(
        w_cls=torch.arange(count * width, dtype=torch.float32).reshape(count, width),
        b_cls=torch.arange(count, dtype=torch.float32),
        w_box=torch.arange(count * width * 4, dtype=torch.float32).reshape(count, width * 4),
        b_box=torch.zeros(count, 4),
    )


def make_identity(**export: Any) -> CacheIdentity:
    """The identity of a fake detector."""
    return CacheIdentity("ab" * 32, {"seed": 0, **export}, "digest of train", "digest of val")


def make_config(out: Path, **changes: Any) -> ExportConfig:
    """Small settings; a commit every two images."""
    config = ExportConfig(
        out=out,
        roi_size=ROI_SIZE,
        mask_size=MASK_SIZE,
        rois_per_object=3,
        unmasked_objects="none",
        flush_every=2,
        workers=1,
        flip=True,
    )
    return config.replace(**changes)


def export(out: Path, train: CocoData, val: CocoData, *, overwrite: bool = False, **changes: Any) -> Path:
    """Write a cache with the fake detector."""
    config = make_config(out, **changes)
    return write_cache(
        config,
        detector=FakeFrozen(),
        identity=make_identity(iou=config.proposal_iou),
        train=train,
        val=val,
        overwrite=overwrite,
    )


def export_by(processes: int, out: Path, train: CocoData, val: CocoData, **changes: Any) -> Path:
    """The same by several processes, of which each does its part when the one before it has ended."""
    config = make_config(out, **changes)
    detector, identity = FakeFrozen(), make_identity(iou=config.proposal_iou)
    with locked(out):
        shares = prepare(out, processes, identity, count_export(config, detector, train, val))
        for share in shares or []:
            write_share(config, share, detector=detector, identity=identity, train=train, val=val)
        if shares is not None and [share.path for share in shares] != [out]:
            join(config, identity, train, val)
    return out


def contents(path: Path) -> dict[str, Any]:
    """Every dataset and attribute of an HDF5 file, as bytes."""
    found: dict[str, Any] = {}
    with h5py.File(path, "r") as file:
        found["attributes"] = {key: str(value) for key, value in file.attrs.items()}

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                values = item[...]
                found[name] = (item.shape, values.tolist() if values.dtype == object else values.tobytes())

        file.visititems(visit)
    return found


def without_checksums(file: h5py.File) -> None:
    """Make a cache one that another program wrote."""
    for group in ("train", "val/detections", "val/ground_truth"):
        if f"{group}/{SUMS}" in file:
            del file[f"{group}/{SUMS}"]
    file.attrs.pop(HEAD_DIGEST, None)


class CachedRoIs(Dataset[Any]):
    """Features and targets of train, one row at a time; here, so that spawned workers can import it."""

    def __init__(self, cache: RoICache) -> None:
        self.cache = cache

    def __len__(self) -> int:
        return len(self.cache.train)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.cache.read_features("train", [index])[0], self.cache.read_targets([index])[0]


def assert_same(joined_path: Path, whole: Path) -> None:
    """Two caches are the same row for row, through HDF5 itself and through the reader."""
    assert contents(joined_path) == contents(whole)
    with RoICache(joined_path) as joined, RoICache(whole) as single:
        assert joined.digest == single.digest
        for group in ("train", "detections", "ground_truth"):
            rows = np.random.default_rng(0).permutation(len(getattr(single, group)))
            np.testing.assert_array_equal(joined.read_features(group, rows), single.read_features(group, rows))
        np.testing.assert_array_equal(joined.read_targets([3, 1]), single.read_targets([3, 1]))
        if single.dimensions.colours:
            rows = np.random.default_rng(0).permutation(len(single.train))
            np.testing.assert_array_equal(joined.read_colours(rows), single.read_colours(rows))
