"""`maskx tune`: the best design for this data, by hiding the masks of some seen categories in turn."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import DataConfig, MasksConfig, TransferConfig, TuneConfig
from maskx_pipeline.config.tune import DESIGN_LISTS
from maskx_pipeline.data.category_sets import count_masks, masked_labels, resolve_category_set
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.runlog import open_run
from maskx_pipeline.errors import ConfigError, DataError, MaskXError
from maskx_pipeline.evaluation.box_iou import SHAPES
from maskx_pipeline.evaluation.expectation import record_expectation
from maskx_pipeline.project import NO_CLASSES, DetectorClasses
from maskx_pipeline.provenance.files import json_value
from maskx_pipeline.settings import digest_of
from maskx_pipeline.stages.fit_transfer import fit_transfer
from maskx_pipeline.stages.inputs import NO_MASKS, NOTHING, embedding_files, read_mask_data
from maskx_pipeline.stages.tune_designs import read_designs
from maskx_pipeline.stages.tune_fits import Bench, by_id, devices_of, read_figures, write_figures
from maskx_pipeline.stages.tune_rounds import Rounds
from maskx_pipeline.study.category_folds import FEW, category_folds, half_folds
from maskx_pipeline.study.hidden_figures import shape_figures
from maskx_pipeline.study.likeness import likeness
from maskx_pipeline.study.tuning import SHAPE, TunedDesign, Tuning, highest, read_tuning
from maskx_pipeline.transfer.fit import check_fit

logger = logging.getLogger("maskx")


def tune(
    config: TuneConfig,
    transfer: TransferConfig,
    data: DataConfig,
    *,
    masks: MasksConfig = NO_MASKS,
    classes: DetectorClasses = NO_CLASSES,
    accepted: Mapping[str, str] = NOTHING,
    overwrite: bool = False,
    command: str = "",
) -> Tuning:
    """Compare designs on categories whose masks were hidden from them, and fit the best on all seen categories.

    All designs are tried on the first fold, the better half of them on every fold. The best is that of the highest mean
    mask IoU over the seen categories, each measured when it was hidden. It is measured again on halves of the folds:
    from what more seen categories bring follows what to expect of a fit to all. No mask of an unseen category is read.

    Several processes take the fits in turn, each alone, and share the last one.

    Args:
        transfer: [fit-transfer]: the cache, and the sizes and the schedule of every design.
        accepted: By kind of finding of `maskx doctor`, why it is right as it is.

    Raises:
        ConfigError: An unknown list of designs, a wrong design, one seen category, or both torchrun and ``jobs``.
        DataError: Val has no mask of any seen category.
        CacheError: The cache does not belong to the data, or holds no RoIs of a seen category.
        RunError: There is a result of something else.
    """
    if distributed.is_one_of_several() and config.jobs > 1:
        raise ConfigError(
            f"--jobs {config.jobs}: torchrun gives each of its processes one fit at a time.",
            "leave out --jobs, and start as many processes as fits are to run side by side",
        )
    distributed.start()
    designs = read_designs(config.designs, transfer)
    devices = devices_of(config.device)
    split = config.split or transfer.split
    folder = config.out / _folder_name(config.designs, split)
    with RoICache(transfer.cache) as cache:
        train, val = read_mask_data(data, masks, categories=cache.categories, accepted=accepted)
        cache.check_matches(train_digest=train.digest, val_digest=val.digest)
        seen = resolve_category_set(split, train.categories, masked=masked_labels(train), seen=None)
        counts = count_masks(train)
        dealt = category_folds({label: counts[label] for label in seen}, folds=config.folds, seed=config.seed)
        measured = _measured(cache)
        folds = sorted(dealt, key=lambda fold: -len(fold & measured))  # the first one says which designs go on
        designs = _fitting(designs, cache, seen, folds, refit=config.refit)
        with open_run(
            folder,
            stage="tune",
            identity={
                **config.identity(),
                **{f"design {name}": digest_of(design.identity()) for name, design in designs.items()},
            },
            config={**config.to_mapping(), "designs": list(designs)},
            inputs={
                "cache": cache.digest,
                "seen categories": ",".join(map(str, sorted(seen))),
                **{
                    key: text
                    for design in designs.values()
                    for key, text in embedding_files(design, cache.categories).items()
                },
            },
            command=command,
            overwrite=overwrite,
        ) as run:
            if run.is_finished():
                tuning = read_tuning(run.content["results"])
            else:
                if len(seen) <= FEW:
                    logger.warning(
                        "There are only %d seen categories: what is found on so few may be chance.", len(seen)
                    )
                bench = Bench(cache, val, devices[0])
                jobs = max(config.jobs, distributed.world_size())
                rounds = Rounds(designs, seen, folder, bench, data, masks, jobs, devices)
                tried = rounds.on_folds(folds)
                best = highest([design for design in tried if len(design.folds) == len(folds)])
                halves = half_folds(counts, folds, seed=config.seed)
                unseen = _unseen_in_val(cache, seen)
                tuning = Tuning(
                    folds=tuple(tuple(cache.categories[label - 1].id for label in sorted(fold)) for fold in folds),
                    names={category.id: category.name for category in cache.categories},
                    unseen=len(unseen),
                    designs=tried,
                    shapes=tuple(_shape(shape, folder, bench, seen) for shape in SHAPES),
                    halved=rounds.on_halves(best.name, halves),
                    likeness=likeness(cache.class_weights.w_cls.numpy(), seen, unseen),
                )
                run.finish(**json_value(tuning.to_json()))
    chosen = designs[tuning.best().name].replace(split=split, device=devices[0])
    if not config.refit:
        return tuning
    fitted = fit_transfer(chosen, data, masks=masks, classes=classes, overwrite=overwrite, command=command)
    distributed.on_main(lambda: record_expectation(fitted, tuning.expectation(), beside=tuning.summary()))
    return dataclasses.replace(tuning, run=str(fitted))


def _folder_name(designs: str, split: str) -> str:
    name = designs if designs in DESIGN_LISTS else Path(designs).stem
    return name if split == "masked" else f"{name}@{Path(split.lstrip('@')).stem}"


def _fitting(
    designs: Mapping[str, TransferConfig],
    cache: RoICache,
    seen: frozenset[int],
    folds: Sequence[frozenset[int]],
    *,
    refit: bool,
) -> dict[str, TransferConfig]:
    """The designs, after a look at what would stop a fit, before the first begins.

    Of two seen categories each fit has one, from which T may not be able to learn: such designs are left out.

    Args:
        refit: Whether one is fitted to all seen categories in the end, by all processes together.
    """
    if not seen & _measured(cache):
        raise DataError(
            "The validation images have no mask of any seen category, so nothing can be measured.",
            "draw masks in validation images, or give other images as val",
        )
    kept = {}
    for name, design in designs.items():
        try:
            with contextlib.nullcontext() if refit else distributed.alone():
                check_fit(design, cache, seen=seen)
            with distributed.alone():
                for fold in folds:
                    check_fit(design, cache, seen=seen - fold)
        except ConfigError as error:
            if len(seen) > 2 or design.embedding == "none":
                raise ConfigError(f"Design {name}: {error.message}", error.hint) from error
            logger.warning("%s is left out: each fit has one category. %s", name, error.message)
        except MaskXError as error:
            raise type(error)(f"Design {name}: {error.message}", error.hint) from error
        else:
            kept[name] = design
    return kept


def _measured(cache: RoICache) -> frozenset[int]:
    """The labels that have a mask in val."""
    truth = cache.ground_truth
    return frozenset(truth.labels[truth.has_mask != 0].tolist())


def _unseen_in_val(cache: RoICache, seen: frozenset[int]) -> frozenset[int]:
    """The unseen categories that have boxes in val, whose mean would be measured; all of them where none has."""
    unseen = frozenset(category.label for category in cache.categories) - seen
    return unseen & set(cache.ground_truth.labels.tolist()) or unseen


def _shape(shape: str, folder: Path, bench: Bench, seen: frozenset[int]) -> TunedDesign:
    """A shape in the box, on all seen categories."""
    title = shape.removeprefix("the ")
    path = folder / f"{title.replace(' ', '-')}.json"

    def measured() -> TunedDesign:
        if not path.exists():
            write_figures(path, by_id(shape_figures(shape, bench.cache, bench.val, labels=seen), bench.cache))
        return TunedDesign(title, SHAPE, (read_figures(path),))

    return distributed.on_main(measured)
