"""The RoI cache of a detector that is not maskx's; docs/how-to/other-detector.md."""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.cache.detectors import RoIDetector
from maskx_pipeline.cache.export import write_cache
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.schema import CacheIdentity
from maskx_pipeline.config import DataConfig, ExportConfig
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.errors import DataError
from maskx_pipeline.stages.inputs import read_data

_OF_OUR_DETECTORS = ("checkpoint", "amp")


def export_foreign(
    config: ExportConfig,
    data: DataConfig,
    *,
    detector: RoIDetector,
    detector_sha256: str,
    class_weights: ClassWeights,
    detections_per_image: int,
    overwrite: bool = False,
) -> Path:
    """Write the RoI cache of anyone's detector; interrupted, it continues, and finished and unchanged, returns at once.

    Args:
        config: As of `maskx export-embeddings`; ``detector``, ``checkpoint``, ``amp`` and ``device`` say nothing here.
        data: The data set.
        detector: Looks at an image, see :class:`RoIDetector`.
        detector_sha256: SHA-256 (hex) of its weights and of all else that decides what it finds and how it pools.
        class_weights: A row per category of the data set, by ascending id. ``w_box`` [K, 0] and ``b_box`` [K, 0] if
            it has no box weights per category.
        detections_per_image: The most detections of an image.
        overwrite: Replace what is there.

    Returns:
        The cache file.

    Raises:
        CacheError: There is a cache of something else, or what was written is no sound cache: a label outside 1..K.
        DataError: The class weights are not those of the data set's categories, or no training object has a mask.
    """
    train, val = read_data(data)
    if len(class_weights.w_cls) != train.num_classes:
        raise DataError(
            f"the detector has class weights of {len(class_weights.w_cls)} categories, and {train.path} has "
            f"{train.num_classes} categories.",
            "give a row for each category of the data set, by ascending id",
        )
    settings = {name: value for name, value in config.identity().items() if name not in _OF_OUR_DETECTORS}
    path = write_cache(
        config,
        frozen=detector,
        weights=class_weights,
        identity=CacheIdentity(detector_sha256, settings, train.digest, val.digest),
        detections_per_image=detections_per_image,
        train=train,
        val=val,
        overwrite=overwrite,
    )
    RoICache(path).close()  # says what is wrong with it
    return path
