"""A small RoI cache, written as the format says, whose masks follow from the features and the category."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from maskx_pipeline.cache.schema import CacheIdentity, Dimensions
from maskx_pipeline.cache.writer import RoICacheWriter
from maskx_pipeline.config import TransferConfig
from maskx_pipeline.data.records import Category
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.engine.runlog import Run, open_run

K, D, C, S = 6, 5, 6, 4

WriteCache = Callable[..., Path]
OpenRun = Callable[[Path, TransferConfig], Run]


def _class_weights() -> ClassWeights:
    generator = torch.Generator().manual_seed(1)
    return ClassWeights(
        w_cls=torch.randn(K, D, generator=generator),
        b_cls=torch.zeros(K),
        w_box=torch.randn(K, 4 * D, generator=generator),
        b_box=torch.zeros(K, 4),
    )


def _columns(seed: int, labels: NDArray[np.int64], mask_size: int, corrupt: Collection[int]) -> dict[str, NDArray[Any]]:
    count = len(labels)
    features = np.random.default_rng(seed).normal(size=(count, C, S, S)).astype(np.float16)
    # The object is where the channel of its category, 1..C, is positive.
    chosen = features[np.arange(count), (labels - 1) % C] > 0
    places = np.arange(mask_size) * S // mask_size
    targets = chosen[:, places][:, :, places].astype(np.uint8)
    targets[np.isin(labels, list(corrupt))] ^= 1
    return {
        "features": features,
        "boxes": np.tile(np.array([0, 0, 8, 8], np.float32), (count, 1)),
        "image_ids": np.arange(count, dtype=np.int64),
        "annotation_ids": np.arange(count, dtype=np.int64),
        "labels": labels,
        "targets": targets,
    }


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """For tensors as small as these, waiting for a second thread takes longer than the work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small_config(tmp_path: Path) -> TransferConfig:
    return TransferConfig(
        cache=tmp_path / "cache.h5",
        embedding="cls",
        head_width=8,
        head_depth=1,
        components=3,
        epochs=3.0,
        rois_per_batch=7,
        warmup_iterations=2,
        checkpoint_every=4,
        device="cpu",
        seed=0,
    )


@pytest.fixture
def write_cache(tmp_path: Path) -> WriteCache:
    def write(
        name: str = "cache.h5",
        *,
        corrupt: Collection[int] = (),
        labels: Collection[int] = tuple(range(1, K + 1)),
        mask_size: int = 2 * S,
        rows_per_label: int = 8,
        feature_dtype: str = "float16",
        unmasked: Collection[int] = (),
        proposals: Collection[int] = (),
        colours: bool = False,
    ) -> Path:
        rows = np.repeat(np.array(sorted(labels), dtype=np.int64), rows_per_label)
        count = len(rows)
        train, val = (_columns(seed, rows, mask_size, corrupt) for seed in (0, 1))
        writer = RoICacheWriter.create(
            tmp_path / name,
            identity=CacheIdentity(detector_sha256="d" * 64, export={"amp": "bf16"}, train_digest="t", val_digest="v"),
            categories=tuple(Category(id=10 * label, name=f"kind{label}", label=label) for label in range(1, K + 1)),
            class_weights=_class_weights(),
            dimensions=Dimensions(C, S, mask_size, feature_dtype, colours),
            train_rows=count,
        )
        has_mask = np.ones(count, np.uint8)
        has_mask[list(unmasked)] = 0
        train["targets"][has_mask == 0] = 0
        object_boxes = train["boxes"].copy()
        object_boxes[list(proposals)] = [1, 1, 7, 7]
        patches = np.random.default_rng(2).integers(0, 256, (count, mask_size, mask_size, 3), dtype=np.uint8)
        writer.append("train", 
            **train, ious=np.ones(count, np.float32), flipped=np.zeros(count, np.uint8), object_boxes=object_boxes,
            has_mask=has_mask, **({"colours": patches} if colours else {}),
        )  # fmt: skip
        writer.commit(count)
        writer.begin_val(detection_rows=0, ground_truth_rows=count)
        writer.append("ground_truth", **val, has_mask=np.ones(count, np.uint8))
        writer.commit(2 * count)
        return writer.finish()

    return write


@pytest.fixture
def open_fit_run() -> OpenRun:
    def open_it(folder: Path, config: TransferConfig) -> Run:
        return open_run(folder, stage="fit-transfer", identity=config.identity(), config=config.to_mapping(), inputs={})

    return open_it
