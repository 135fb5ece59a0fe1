"""From the frozen detector to the RoI cache: `maskx export-embeddings`."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from maskx_pipeline.cache.hdf5_file import is_damaged, open_hdf5
from maskx_pipeline.cache.job import ExportJob
from maskx_pipeline.cache.join import join_shards
from maskx_pipeline.cache.plan import ExportPlan, check_disk, count_export, measure_export, train_images
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.restructure import is_redo
from maskx_pipeline.cache.rois import choose_objects
from maskx_pipeline.cache.schema import FORMAT, SAW_MASKS, CacheIdentity, Dimensions
from maskx_pipeline.cache.shards import Share, files_of, finished_shards, share_out, temporaries_of
from maskx_pipeline.cache.validation import being_written, check_not_written
from maskx_pipeline.cache.writer import RoICacheWriter
from maskx_pipeline.config import ExportConfig
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.detection.detector import Detector
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.sharing import by_main
from maskx_pipeline.errors import CacheError, DataError
from maskx_pipeline.provenance.files import partial_path, remove_file, remove_temporaries
from maskx_pipeline.provenance.lock import locked
from maskx_pipeline.provenance.made_from import AGAIN, text_of
from maskx_pipeline.provenance.room import writing
from maskx_pipeline.settings import class_of

__all__ = ["ExportPlan", "export_identity", "plan_export", "write_cache"]

logger = logging.getLogger("maskx")


def plan_export(config: ExportConfig, *, detector: Detector, train: CocoData, val: CocoData) -> ExportPlan:
    """What :func:`write_cache` would write; takes the time of a few images. Nothing is written."""
    _check_categories(config, detector, train)
    return count_export(config, detector, train, val, measure_export(config, detector, train))


def export_identity(
    config: ExportConfig, detector: Detector, train: CocoData, val: CocoData, *, saw_masks: bool = False
) -> CacheIdentity:
    """What a cache will be made from: a finished one of the same identity needs not be written again.

    Args:
        config: ``amp`` and ``pool`` say nothing of a detector that is a class.
        saw_masks: The detector's first weights were trained with masks.
    """
    settings = config.identity()
    if class_of(config.detector):
        del settings["amp"], settings["pool"]
    if saw_masks:
        settings[SAW_MASKS] = True
    return CacheIdentity(detector.identity, settings, train.digest, val.digest)


def write_cache(
    config: ExportConfig,
    *,
    detector: Detector,
    identity: CacheIdentity,
    train: CocoData,
    val: CocoData,
    overwrite: bool = False,
) -> Path:
    """Write class weights and RoI features of a frozen detector to the RoI cache ``config.out``.

    Interrupted, even killed, it continues where it was, with any number of processes; finished, it returns at once.
    Under torchrun each process writes a shard, and the file of that name joins them.

    Args:
        identity: What the cache is made from.
        val: Read with the categories of train.

    Returns:
        The path of the cache.

    Raises:
        CacheError: There is a cache of other settings, detector or data, or a file that is none.
        DataError: The detector is of other categories, no training object has a mask, or an image cannot be read.
        MachineError: Too little free disk, or no such device.
    """
    _check_categories(config, detector, train)
    plan = count_export(config, detector, train, val)
    if plan.masked_rois == 0 and config.only is None:
        raise DataError(
            f"{train.path}: no object has a mask, so there is nothing to learn masks from.",
            "run `maskx doctor` to see which categories have masks",
        )
    processes = distributed.world_size()
    with by_main(locked(config.out)):  # held until the cache has its name
        shares = distributed.on_main(lambda: prepare(config.out, processes, identity, plan, overwrite))
        if shares is None:
            logger.info("%s is finished and unchanged.", config.out)
            return config.out
        for share in shares[distributed.rank() : distributed.rank() + 1]:
            write_share(config, share, detector=detector, identity=identity, train=train, val=val)
        if [share.path for share in shares] != [config.out]:
            distributed.barrier()
            distributed.on_main(lambda: join(config, identity, train, val))
    return config.out


def prepare(
    out: Path, processes: int, identity: CacheIdentity, plan: ExportPlan, overwrite: bool = False
) -> list[Share] | None:
    """Look at what is there before anything is written; what each process writes, None where the cache is finished."""
    for name in temporaries_of(out):
        remove_temporaries(out.parent, name)
    left = [path for path in files_of(out) if path.exists()]
    if overwrite:
        for path in left:
            check_not_written(path)
            _check_replaceable(path)
    elif out.exists():
        with RoICache(out) as cache:
            if different := cache.identity.lacks(identity):
                raise CacheError(text_of(f"{out} was made from something else", different), AGAIN)
        return None
    occupied = sum(path.stat().st_blocks * 512 for path in left)
    check_disk(out.parent, plan.bytes - occupied)
    if overwrite:
        for path in left:
            remove_file(path)
    return share_out(out, processes, identity=identity, train_images=plan.train_images, val_images=plan.val_images)


def write_share(
    config: ExportConfig, share: Share, *, detector: Detector, identity: CacheIdentity, train: CocoData, val: CocoData
) -> None:
    """Write what one process writes, or go on with it."""
    job = ExportJob(config, detector, train, val, None if share.path == config.out else share.images)
    with writing(share.path), _writer(share.path, identity, job) as writer:
        job.run(writer)


def join(config: ExportConfig, identity: CacheIdentity, train: CocoData, val: CocoData) -> None:
    """Join the shards that all processes have written."""
    of_train = [image.id for image in train_images(train, choose_objects(config, train))]
    of_val = [image.id for image in val.images]
    shards = finished_shards(config.out, identity=identity, images=len(of_train) + len(of_val))
    join_shards(shards, config.out, train_images=of_train, val_images=of_val)


def _check_categories(config: ExportConfig, detector: Detector, train: CocoData) -> None:
    found, wanted = ([(c.id, c.name) for c in categories] for categories in (detector.categories, train.categories))
    if found != wanted:
        raise DataError(
            f"the detector has {len(found)} categories which are not the {len(wanted)} of {train.path}.",
            "train a detector on these annotations, or give another with --detector",
        )
    if not class_of(config.detector):
        return  # a Faster R-CNN of maskx has a row per category
    for field in dataclasses.fields(detector.class_weights):
        rows = len(getattr(detector.class_weights, field.name))
        if rows != len(wanted):
            raise DataError(
                f"the detector has class weights of {rows} categories ({field.name}), and {train.path} has "
                f"{len(wanted)} categories.",
                "give a row for each category of the data set, by ascending id",
            )


def _check_replaceable(path: Path) -> None:
    """Never delete what is not ours: neither in the place of the cache nor of what is beside it while it is written."""
    ours = path.is_file() and (path.stat().st_size == 0 or is_redo(path))
    if not ours and path.is_file():
        try:
            with open_hdf5(path, "r") as file:
                ours = file.attrs.get("format") == FORMAT
        except BlockingIOError as error:
            raise being_written(path) from error
        except OSError as error:
            ours = is_damaged(error)
    if not ours:
        raise CacheError(
            f"{path} exists and is no RoI cache.", "give another --out, or move it; --overwrite replaces caches only"
        )


def _writer(path: Path, identity: CacheIdentity, job: ExportJob) -> RoICacheWriter:
    if partial_path(path).exists():
        writer = RoICacheWriter.resume(path, identity=identity)
        if not writer.is_complete:
            logger.info("%s: resuming after %d of %d images.", path, writer.images_done, job.images)
        return writer
    return RoICacheWriter.create(
        path,
        identity=identity,
        categories=job.train.categories,
        class_weights=job.detector.class_weights,
        dimensions=Dimensions.of(job.config, channels=job.detector.channels),
        train_rows=job.train_rows,
        share=job.share,
    )
