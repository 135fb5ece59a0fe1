"""Masks for a user's images: overlays, and a COCO results file."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from torch import Tensor

from maskx_pipeline.data.images import read_image
from maskx_pipeline.data.records import Category, ImageRecord
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.errors import ConfigError, DataError
from maskx_pipeline.evaluation.coco_ap import Result
from maskx_pipeline.evaluation.evaluate import boxes_path, write_results
from maskx_pipeline.evaluation.overlays import draw_instances
from maskx_pipeline.evaluation.predictions import results_of
from maskx_pipeline.evaluation.specks import rle_without_specks
from maskx_pipeline.provenance.file_lists import write_list
from maskx_pipeline.provenance.files import atomic_path, make_folder
from maskx_pipeline.text import shown
from maskx_pipeline.whole_model import Instances, WholeModel

logger = logging.getLogger("maskx")

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
RESULTS_FILE = "results.json"


def predict_folder(
    model: WholeModel,
    images: Iterable[Path],
    *,
    out: Path,
    categories: Sequence[Category],
    seen: Collection[int],
    score_threshold: float,
    limit: int = 0,
    speck_share: float = 0.0,
    overwrite: bool = False,
) -> Path:
    """Segment images, and write an overlay ``<name>.jpg`` of each and ``results.json`` with ``results_bbox.json``.

    Args:
        images: Image files, and folders whose image files are taken (not those of subfolders).
        seen: Labels whose masks were used in training.
        speck_share: Parts below this share of their mask are left out; see `without_specks`.
        overwrite: Replace overlays that exist; never one of the images themselves.

    Returns:
        The results file. ``image_id`` is the number in the file name where all names are different numbers, as COCO's
        are, else 1, 2, ..; ``file_name`` is given too.

    Raises:
        DataError: No image was found, or none could be read. An unreadable one among others is skipped with a warning.
        ConfigError: An overlay would replace an image that was given, or a file that exists.
    """
    paths = image_files(images)[: limit or None]
    overlays = [out / name for name in overlay_names(paths)]
    _check_overlays(overlays, paths, overwrite=overwrite)
    names = {category.label: category.name for category in categories}
    make_folder(out)
    results: list[Result] = []
    specked = specks = 0
    with Progress(len(paths), "predict", "images") as bar:
        for (path, image), number, overlay in zip(readable_images(paths), image_ids(paths), overlays, strict=True):
            instances = None if image is None else _try(model, path, image, score_threshold=score_threshold)
            if image is not None and instances is not None:
                picture = draw_instances(
                    image,
                    instances,
                    names=names,
                    seen=seen,
                    score_threshold=score_threshold,
                    speck_share=speck_share,
                )
                with atomic_path(overlay) as temporary:
                    picture.save(temporary, format="JPEG", quality=95, subsampling=0)
                record = ImageRecord(id=number, file_name=path.name, width=image.shape[2], height=image.shape[1])
                for result in results_of(instances, record, categories):
                    mask, dropped = rle_without_specks(result["segmentation"], speck_share)
                    results.append({**result, "segmentation": mask, "file_name": path.name})
                    specked, specks = specked + (dropped > 0), specks + dropped
            bar.update(1)
    if specks:
        logger.info("Left out %d small parts of %d masks; --speck-share 0 keeps them.", specks, specked)
    if not results:
        logger.warning(
            "No object has a score of %g or more, so the overlays show none; --score-threshold lowers that.",
            score_threshold,
        )
    write_results(out / RESULTS_FILE, results)
    written = [out / RESULTS_FILE, boxes_path(out / RESULTS_FILE), *filter(Path.is_file, overlays)]
    write_list(out, written)
    return out / RESULTS_FILE


def readable_images(paths: Iterable[Path]) -> Iterator[tuple[Path, Tensor | None]]:
    """Each file with its image, uint8[3, H, W], RGB; None, and a warning, where it cannot be read.

    Raises:
        DataError: At the end, where none could be read.
    """
    read, unreadable = 0, None
    for path in paths:
        image = None
        try:
            image = read_image(path)
            read += 1
        except DataError as error:
            logger.warning("%s It is skipped.", error.message)
            unreadable = error
        yield path, image
    if not read and unreadable is not None:
        raise unreadable


def predict_image(model: WholeModel, image: Tensor, *, score_threshold: float) -> Instances:
    """Segment one image uint8[3, H, W], RGB; instances below the threshold are left out."""
    return model.predict(image.float().div(255)).above(score_threshold)


def _try(model: WholeModel, path: Path, image: Tensor, *, score_threshold: float) -> Instances | None:
    """The instances; None, and a warning, where the detector cannot look at the image."""
    try:
        return predict_image(model, image, score_threshold=score_threshold)
    except DataError as error:
        logger.warning("%s: %s It is skipped.", shown(str(path)), error.message)
        return None


def _check_overlays(overlays: Sequence[Path], images: Sequence[Path], *, overwrite: bool) -> None:
    originals = {path.resolve() for path in images}
    for overlay in overlays:
        if overlay.resolve() in originals:
            raise ConfigError(f"The overlay {overlay} would replace an image that was given.", "give another --out")
        if overlay.exists() and not overwrite:
            raise ConfigError(f"{overlay} exists.", "give --overwrite to replace it, or another --out")


def image_files(paths: Iterable[Path]) -> list[Path]:
    """The image files among ``paths`` and in the folders among them, each once, folders in order of name.

    Raises:
        DataError: There is none, or a path does not exist.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found.update(dict.fromkeys(sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)))
        elif path.is_file():
            found[path] = None
        else:
            raise DataError(f"{path} does not exist.", "give image files or folders of images")
    if not found:
        raise DataError("There is no image in what was given.", f"known endings: {', '.join(SUFFIXES)}")
    return list(found)


def image_ids(paths: Sequence[Path]) -> list[int]:
    """The numbers that the file names are, if all are different numbers; else 1, 2, .."""
    if all(path.stem.isascii() and path.stem.isdigit() for path in paths):
        numbers = [int(path.stem) for path in paths]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(paths) + 1))


def overlay_names(paths: Sequence[Path]) -> list[str]:
    """A different file name for each overlay: the image's, with a number where two images have the same."""
    taken: set[str] = set()
    names = []
    for path in paths:
        name, count = f"{path.stem}.jpg", 1
        while name.lower() in taken:
            count += 1
            name = f"{path.stem}-{count}.jpg"
        taken.add(name.lower())
        names.append(name)
    return names
