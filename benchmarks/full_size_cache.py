"""A RoI cache of full size (256 channels, 14 x 14) with random features, to time reading and training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from maskx_pipeline.cache.schema import CacheIdentity, Dimensions
from maskx_pipeline.cache.writer import RoICacheWriter
from maskx_pipeline.data.records import Category
from maskx_pipeline.detection.class_weights import ClassWeights

CHANNELS, ROI_SIZE, MASK_SIZE, WIDTH = 256, 14, 28, 1024
_ROWS = 256


def write_full_size_cache(
    path: Path,
    *,
    rois: int,
    categories: int = 80,
    channels: int = CHANNELS,
    width: int = WIDTH,
    feature_dtype: str = "float16",
) -> Path:
    """Write a cache with ``rois`` training RoIs of ``categories`` categories in turn, and nothing in val.

    Returns:
        ``path``; in float16 the features take 2 * channels * 14 * 14 bytes a RoI.
    """
    generator = np.random.default_rng(0)
    weights = torch.Generator().manual_seed(0)
    writer = RoICacheWriter.create(
        path,
        identity=CacheIdentity("0" * 64, {}, "0" * 64, "0" * 64),
        categories=tuple(Category(id=n, name=f"category {n}", label=n) for n in range(1, categories + 1)),
        class_weights=ClassWeights(
            w_cls=torch.randn(categories, width, generator=weights) / 100,
            b_cls=torch.zeros(categories),
            w_box=torch.randn(categories, 4 * width, generator=weights) / 1000,
            b_box=torch.zeros(categories, 4),
        ),
        dimensions=Dimensions(channels, ROI_SIZE, MASK_SIZE, feature_dtype),
        train_rows=rois,
    )
    with writer:
        for start in range(0, rois, _ROWS):
            count = min(_ROWS, rois - start)
            ids = np.arange(start, start + count, dtype=np.int64)
            writer.append(
                "train",
                features=generator.random((count, channels, ROI_SIZE, ROI_SIZE), dtype=np.float32).astype("<f2"),
                boxes=np.tile(np.array([10, 10, 110, 110], dtype=np.float32), (count, 1)),
                image_ids=ids // 8 + 1,
                annotation_ids=ids + 1,
                labels=ids % categories + 1,
                ious=np.ones(count, dtype=np.float32),
                flipped=np.zeros(count, dtype=np.uint8),
                targets=generator.integers(0, 2, (count, MASK_SIZE, MASK_SIZE), dtype=np.uint8),
                object_boxes=np.tile(np.array([10, 10, 110, 110], dtype=np.float32), (count, 1)),
                has_mask=np.ones(count, dtype=np.uint8),
            )
        writer.commit(1)
        writer.begin_val(detection_rows=1, ground_truth_rows=1)
        writer.commit(2)
        return writer.finish()
