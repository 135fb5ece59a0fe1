"""What several stages begin with: reading the data set, and refusing to replace what is there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from maskx_pipeline.config import DataConfig, MasksConfig, TransferConfig
from maskx_pipeline.data.category_map import read_category_map
from maskx_pipeline.data.category_sets import count_masks, count_teacher_masks
from maskx_pipeline.data.coco import Category, CocoData, read_coco
from maskx_pipeline.data.findings import log_findings, reading_findings
from maskx_pipeline.doctor.health import refuse_unsound
from maskx_pipeline.engine.runlog import Run
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.provenance.files import sha256_of_file
from maskx_pipeline.settings import option_name

NO_MASKS = MasksConfig.from_mapping({}, source="defaults")
"""Stage 2 reads the data set of stage 1."""


NOTHING: Mapping[str, str] = {}
"""No kind of finding is accepted."""


def read_data(
    data: DataConfig, *, check: bool = True, accepted: Mapping[str, str] = NOTHING, longest: int | None = None
) -> tuple[CocoData, CocoData]:
    """Train and val of [data].

    Args:
        check: Say what is wrong with them, and refuse what `maskx doctor` calls an error.
        accepted: By kind of finding, why it is right as it is.
        longest: Pixels of the longer side of an image as the detector gets it.

    Raises:
        CheckFailedError: There is an error that is not accepted.
    """
    crowds = data.crowds_are_objects
    train = read_coco(data.train_annotations, data.train_images, teacher_masks=True, crowds_are_objects=crowds)
    val = read_coco(data.val_annotations, data.val_images, categories=train.categories, crowds_are_objects=crowds)
    if check:
        refuse_unsound({"train": train, "val": val}, accepted=accepted, longest=longest)
    return train, val


def read_mask_data(
    data: DataConfig,
    masks: MasksConfig,
    *,
    categories: tuple[Category, ...],
    check: bool = True,
    accepted: Mapping[str, str] = NOTHING,
) -> tuple[CocoData, CocoData]:
    """Train and val of stage 2: those of [masks], in the detector's categories; of [data] where [masks] is not given.

    Raises:
        CheckFailedError: As in `read_data`.
        ConfigError: [masks] is given in part.
        DataError: The category map is broken, or does not fit the data or the detector.
    """
    other = other_data(masks)
    if other is None:
        return read_data(data, check=check, accepted=accepted)
    train = _read_masks(
        other.train_annotations,
        other.train_images,
        masks,
        categories,
        teacher_masks=True,
        crowds=data.crowds_are_objects,
    )
    val = _read_masks(other.val_annotations, other.val_images, masks, categories, crowds=data.crowds_are_objects)
    if check:
        refuse_unsound({"train masks": train, "val masks": val}, accepted=accepted)
    return train, val


def read_mask_val(data: DataConfig, masks: MasksConfig, *, categories: tuple[Category, ...]) -> CocoData:
    """Val of :func:`read_mask_data` alone."""
    other = other_data(masks)
    if other is None:
        val = read_coco(
            data.val_annotations,
            data.val_images,
            categories=categories,
            crowds_are_objects=data.crowds_are_objects,
        )
    else:
        val = _read_masks(other.val_annotations, other.val_images, masks, categories, crowds=data.crowds_are_objects)
    log_findings(reading_findings(val, "val"), str(val.path))
    return val


def read_mask_train(data: DataConfig, masks: MasksConfig, *, categories: tuple[Category, ...]) -> CocoData:
    """Train of :func:`read_mask_data` alone, without looking at the images."""
    other = other_data(masks)
    if other is None:
        return read_train(data)
    return _read_masks(
        other.train_annotations,
        other.train_images,
        masks,
        categories,
        crowds=data.crowds_are_objects,
        check_files=False,
    )


def _read_masks(
    annotations: Path,
    images: Path,
    masks: MasksConfig,
    categories: tuple[Category, ...],
    *,
    crowds: bool,
    check_files: bool = True,
    teacher_masks: bool = False,
) -> CocoData:
    category_map = None if masks.category_map is None else read_category_map(masks.category_map)
    return read_coco(
        annotations,
        images,
        categories=categories,
        category_map=category_map,
        check_files=check_files,
        teacher_masks=teacher_masks,
        crowds_are_objects=crowds,
    )


def other_data(masks: MasksConfig) -> DataConfig | None:
    """The data set of [masks], if there is one."""
    paths = {name: path for name, path in masks.to_mapping().items() if name != "category_map"}
    missing = [option_name(name) for name, path in paths.items() if path is None]
    if len(missing) == len(paths) and masks.category_map is None:
        return None
    if missing:
        raise ConfigError(f"[masks] is given without {', '.join(missing)}.", "add it to maskx.toml, or remove [masks]")
    return DataConfig.from_mapping(paths, source="maskx.toml")


def read_train(data: DataConfig) -> CocoData:
    """Train of [data] alone, without looking at the images."""
    return read_coco(
        data.train_annotations, data.train_images, check_files=False, crowds_are_objects=data.crowds_are_objects
    )


def read_val_images(data: DataConfig, *, categories: tuple[Category, ...] | None = None) -> CocoData:
    """Val of [data] alone; its images must be there.

    Args:
        categories: Of a model, if its labels are wanted.
    """
    return read_coco(
        data.val_annotations, data.val_images, categories=categories, crowds_are_objects=data.crowds_are_objects
    )


def image_folder_of(file: Path, data: DataConfig | None) -> Path:
    """The image folder of an annotation file of [data].

    Raises:
        ConfigError: It is none of them.
    """
    pairs = (
        [] if data is None else [(data.train_annotations, data.train_images), (data.val_annotations, data.val_images)]
    )
    for path, images in pairs:
        if path.resolve() == file.resolve():
            return images
    raise ConfigError(
        f"{file} is neither train-annotations nor val-annotations of [data], so its image folder is not known.",
        "give the folder with --images",
    )


def paths_of(data: DataConfig) -> Collection[str]:
    """The settings of a data set that are paths."""
    return [field.name for field in data.fields() if isinstance(getattr(data, field.name), Path)]


def refuse_to_replace(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} exists.", "give --overwrite to replace it, or another folder")


def embedding_files(config: TransferConfig, categories: Sequence[Category]) -> dict[str, str]:
    """The content of the files that the class embedding is read from."""
    from maskx_pipeline.transfer.embedding import embedding_source  # imports torch, which most stages need later

    source = embedding_source(config, [category.name for category in categories])
    return {} if source is None else {name: sha256_of_file(path) for name, path in source.files().items()}


def record_masks(run: Run, train: CocoData, seen: Collection[int]) -> None:
    """Note in run.json how many training objects of each seen category have a mask, by the category's id.

    And how many of any category have one by a teacher, where any has.
    """
    counts, taught = count_masks(train), count_teacher_masks(train)
    masks = {str(category.id): counts[category.label] for category in train.categories if category.label in seen}
    by_teacher = {str(c.id): taught[c.label] for c in train.categories if taught[c.label]}
    if run.content.get("masks") != masks or run.content.get("teacher_masks", {}) != by_teacher:
        run.update(masks=masks, **({"teacher_masks": by_teacher} if by_teacher else {}))
