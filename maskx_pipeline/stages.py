"""One function per stage: typed config in, path or result out. The Python API, and all that the commands call."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from maskx_pipeline.cache import export
from maskx_pipeline.cache.export import ExportPlan
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import (
    SHAPES_PROJECT,
    DataConfig,
    DetectConfig,
    EvaluateConfig,
    ExportConfig,
    PredictConfig,
    ShapesConfig,
    TransferConfig,
    VisualGenomeConfig,
)
from maskx_pipeline.data import visual_genome
from maskx_pipeline.data.category_sets import masked_labels, resolve_category_set
from maskx_pipeline.data.check import DatasetReport, check_dataset
from maskx_pipeline.data.coco import CocoData, log_problems, read_coco
from maskx_pipeline.data.shapes import generate_shapes
from maskx_pipeline.detection import train as detection
from maskx_pipeline.detection.load import LoadedDetector, load_detector
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.device import amp_dtype, resolve_device
from maskx_pipeline.engine.files import sha256_of_file
from maskx_pipeline.engine.runlog import open_run, read_run
from maskx_pipeline.errors import ConfigError, RunError
from maskx_pipeline.evaluation.compare import Comparison, compare_runs
from maskx_pipeline.evaluation.evaluate import Evaluation, evaluate_results, read_results, write_results
from maskx_pipeline.evaluation.predict_images import predict_folder
from maskx_pipeline.evaluation.predictions import box_ap, predictions_from_cache, predictions_from_images
from maskx_pipeline.evaluation.quick import quick_metrics
from maskx_pipeline.maskx import MaskX
from maskx_pipeline.project import PROJECT_FILE, write_project
from maskx_pipeline.transfer import fit
from maskx_pipeline.transfer.load import LoadedMaskModel, load_mask_model

logger = logging.getLogger("maskx")


def init_project(folder: Path, data: DataConfig, *, overwrite: bool = False) -> Path:
    """Write maskx.toml for a COCO-format data set.

    Returns:
        The path of maskx.toml.

    Raises:
        ConfigError: maskx.toml exists, or an annotation file or image folder does not.
    """
    _refuse_to_replace(folder / PROJECT_FILE, overwrite)
    for path in (data.train_images, data.train_annotations, data.val_images, data.val_annotations):
        if not path.exists():
            raise ConfigError(f"{path} does not exist.", "give the path of your data set")
    return write_project(folder, {data.table: data.to_mapping()})


def init_shapes(folder: Path, shapes: ShapesConfig, *, overwrite: bool = False) -> Path:
    """Generate the data set `shapes` in a new project folder, and write maskx.toml with settings for two CPU cores.

    Returns:
        The path of maskx.toml.
    """
    _refuse_to_replace(folder / PROJECT_FILE, overwrite)
    data_folder = generate_shapes(shapes.replace(out=folder / shapes.out))
    relative = data_folder.relative_to(folder).as_posix()
    data = {
        "train-images": f"{relative}/train",
        "train-annotations": f"{relative}/train.json",
        "val-images": f"{relative}/val",
        "val-annotations": f"{relative}/val.json",
    }
    return write_project(folder, {"data": data, "shapes": shapes.to_mapping(), **SHAPES_PROJECT})


def convert_visual_genome(config: VisualGenomeConfig, *, overwrite: bool = False) -> Path:
    """Convert Visual Genome's own files to COCO-format train, val and test annotations, COCO's categories first.

    Returns:
        The folder ``config.out``, with the map of COCO's categories and a report of every dropped object.
    """
    return visual_genome.convert_visual_genome(config, overwrite=overwrite)


def check_data(data: DataConfig) -> DatasetReport:
    """Look at the data set before training: per category boxes, masks and verdict, and every problem by its id."""
    train, val = _read_data(data, log=False)
    return check_dataset(train, val)


def train_detector(config: DetectConfig, data: DataConfig, *, overwrite: bool = False, command: str = "") -> Path:
    """Stage 1: train Faster R-CNN on the boxes of all categories.

    Returns:
        The run folder, with best.safetensors and last.safetensors.
    """
    distributed.start()
    train, val = _read_data(data)
    run = open_run(
        config.out,
        stage="detect",
        identity=config.identity(),
        config=config.to_mapping(),
        inputs={
            "train annotations": train.digest,
            "val annotations": val.digest,
            "backbone weights": _content_of(config.backbone_weights),
        },
        command=command,
        overwrite=overwrite,
    )
    if run.state == "finished":
        logger.info("%s is finished and unchanged.", config.out)
        return config.out
    device = resolve_device(config.device)
    dtype = amp_dtype(config.amp, device)
    detection.train_detector(
        config, train, run=run, evaluate=lambda detector: box_ap(detector, val, device=device, amp_dtype=dtype)
    )
    return config.out


def plan_export(config: ExportConfig, data: DataConfig) -> ExportPlan:
    """What an export would write: RoIs, bytes, expected time. Nothing is written."""
    train, val = _read_data(data)
    return export.plan_export(config, loaded=_load_detector(config), train=train, val=val)


def export_embeddings(config: ExportConfig, data: DataConfig, *, overwrite: bool = False) -> Path:
    """Write class weights and RoI features of the frozen detector to the RoI cache.

    Returns:
        The cache file.
    """
    distributed.start()
    train, val = _read_data(data)
    return export.export_embeddings(config, loaded=_load_detector(config), train=train, val=val, overwrite=overwrite)


def fit_transfer(config: TransferConfig, data: DataConfig, *, overwrite: bool = False, command: str = "") -> Path:
    """Stage 2: train T and the mask head from the RoI cache, on the masks of the seen categories alone.

    Returns:
        The run folder, ``out/name``.
    """
    folder = config.out / run_name(config)
    with RoICache(config.cache) as cache:
        train, val = _read_data(data)
        cache.check_matches(train_digest=train.digest, val_digest=val.digest)
        seen = resolve_category_set(config.split, train.categories, masked=masked_labels(train), seen=None)
        run = open_run(
            folder,
            stage="fit-transfer",
            identity=config.identity(),
            config=config.to_mapping(),
            inputs={"cache": cache.digest, "seen categories": ",".join(map(str, sorted(seen)))},
            command=command,
            overwrite=overwrite,
        )
        if run.state == "finished":
            logger.info("%s is finished and unchanged.", folder)
            return folder
        dtype = amp_dtype(config.amp, resolve_device(config.device))
        fit.fit_transfer(
            config,
            cache,
            seen=seen,
            run=run,
            evaluate=lambda model: quick_metrics(model, cache, val, seen=seen, amp_dtype=dtype),
        )
    return folder


def evaluate(config: EvaluateConfig, data: DataConfig, *, overwrite: bool = False) -> Evaluation:
    """Box and mask AP on a category set, and beside it on the seen and unseen categories.

    The masks of all detections are kept in the run folder (``evaluation/``), so that another category set costs only
    the measurement.
    """
    folder = config.model or newest_run(config.runs)
    loaded = load_mask_model(folder, checkpoint=config.checkpoint)
    val = read_coco(data.val_annotations, data.val_images, categories=loaded.categories)
    log_problems(val)
    masked = masked_labels(_read_train(data)) if config.split == "masked" else frozenset()
    labels = resolve_category_set(config.split, val.categories, masked=masked, seen=loaded.seen)
    origin = config.from_
    if origin == "auto":
        origin = "cache" if loaded.cache_path.is_file() else "images"
    run = open_run(
        folder / "evaluation" / f"{origin}-{config.checkpoint}",
        stage="evaluate",
        identity={"from": origin, "weights": loaded.sha256},
        config=config.to_mapping(),
        inputs={"val annotations": val.digest},
        overwrite=overwrite,
    )
    results_file = run.folder / "results.json"
    if run.state == "finished" and results_file.is_file():
        results = read_results(results_file)
    else:
        results = _predict_val(loaded, val, config, origin)
        write_results(results_file, results)
        run.finish()
    evaluation = evaluate_results(
        results, val, labels=labels, split=config.split, seen=loaded.seen, model=folder, source=origin
    )
    evaluation.write(run.folder)
    return evaluation


def compare(folders: Iterable[Path]) -> Comparison:
    """The mask AP of evaluated runs side by side, from what they recorded."""
    return compare_runs(folders)


def predict(config: PredictConfig, images: Sequence[Path], *, overwrite: bool = False) -> Path:
    """Segment images or folders of images: overlays and a COCO results file.

    Returns:
        The folder ``config.out``.
    """
    folder = config.model or newest_run(config.runs)
    _refuse_to_replace(config.out / "results.json", overwrite)
    loaded = load_mask_model(folder, checkpoint=config.checkpoint)
    model = _whole_model(loaded, device=config.device)
    predict_folder(
        model,
        images,
        out=config.out,
        categories=loaded.categories,
        seen=loaded.seen,
        score_threshold=config.score_threshold,
        limit=config.limit,
    )
    return config.out


def run_name(config: TransferConfig) -> str:
    """The name of a stage-2 run: the given one, or embedding and form."""
    if config.name:
        return config.name
    return "agnostic" if config.embedding == "none" else f"{config.embedding}-{config.form}"


def newest_run(runs: Path) -> Path:
    """The finished stage-2 run that was finished last.

    Raises:
        RunError: There is none.
    """
    finished = []
    for path in runs.glob("*/run.json") if runs.is_dir() else ():
        record = read_run(path.parent)
        if record["status"] == "finished":
            finished.append((record["finished"], path.parent))
    if not finished:
        raise RunError(f"{runs} holds no finished model.", "run `maskx fit-transfer`, or give one with --model PATH")
    return max(finished)[1]


def _predict_val(loaded: LoadedMaskModel, val: CocoData, config: EvaluateConfig, origin: str) -> list[dict[str, Any]]:
    if origin == "images":
        return predictions_from_images(_whole_model(loaded, device=config.device), val)
    with RoICache(loaded.cache_path) as cache:
        cache.check_matches(detector_sha256=loaded.detector_sha256, val_digest=val.digest)
        device = resolve_device(config.device)
        dtype = amp_dtype(loaded.config.amp, device)
        return predictions_from_cache(cache, loaded.model.to(device), val, device=device, amp_dtype=dtype)


def _whole_model(loaded: LoadedMaskModel, *, device: str) -> MaskX:
    for checkpoint in ("best", "last"):
        detector = load_detector(loaded.detector_run, checkpoint=checkpoint)
        if detector.sha256 == loaded.detector_sha256:
            return MaskX.build(detector, loaded, device=resolve_device(device), detector_amp=loaded.detector_amp)
    raise RunError(
        f"{loaded.detector_run} is no longer the detector that this model was fitted on.",
        "export and fit again, or evaluate with --from cache",
    )


def _content_of(weights: str) -> str:
    """What the backbone starts from: a word, or the content of a file."""
    return sha256_of_file(Path(weights)) if Path(weights).is_file() else weights


def _load_detector(config: ExportConfig) -> LoadedDetector:
    return load_detector(config.detector, checkpoint=config.checkpoint)


def _read_train(data: DataConfig) -> CocoData:
    return read_coco(data.train_annotations, data.train_images, check_files=False)


def _read_data(data: DataConfig, *, log: bool = True) -> tuple[CocoData, CocoData]:
    train = read_coco(data.train_annotations, data.train_images)
    val = read_coco(data.val_annotations, data.val_images, categories=train.categories)
    if log:
        log_problems(train)
        log_problems(val)
    return train, val


def _refuse_to_replace(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} exists.", "give --overwrite to replace it, or another folder")
