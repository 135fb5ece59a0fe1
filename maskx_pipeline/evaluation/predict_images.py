"""Masks for a user's images: overlays, and a COCO results file."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from torch import Tensor

from maskx_pipeline.data.images import read_image
from maskx_pipeline.data.records import Category, ImageRecord
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.errors import ConfigError, DataError, listed
from maskx_pipeline.evaluation.coco_ap import Result
from maskx_pipeline.evaluation.evaluate import boxes_path, write_results
from maskx_pipeline.evaluation.given_images import GivenImage, image_ids, overlay_names
from maskx_pipeline.evaluation.label_fonts import legend, names_to_draw
from maskx_pipeline.evaluation.overlays import draw_instances
from maskx_pipeline.evaluation.predictions import results_of
from maskx_pipeline.evaluation.specks import rle_without_specks
from maskx_pipeline.evaluation.tiled_objects import TiledObjects
from maskx_pipeline.provenance.file_lists import write_list
from maskx_pipeline.provenance.files import atomic_path, make_folder, write_text
from maskx_pipeline.text import shown
from maskx_pipeline.whole_model import Instances, WholeModel

logger = logging.getLogger("maskx")

RESULTS_FILE = "results.json"
LEGEND_FILE = "legend.txt"


def predict_folder(
    model: WholeModel,
    images: Sequence[GivenImage],
    *,
    out: Path,
    categories: Sequence[Category],
    seen: Collection[int],
    score_threshold: float,
    limit: int = 0,
    speck_share: float = 0.0,
    overwrite: bool = False,
    batch: int = 1,
    tile: int = 0,
) -> Path:
    """Segment images, and write an overlay ``<name>.jpg`` of each and ``results.json`` with ``results_bbox.json``.

    Args:
        seen: Labels whose masks were used in training.
        speck_share: Parts below this share of their mask are left out; see `without_specks`.
        overwrite: Replace overlays that exist; never one of the images themselves.
        batch, tile: See :func:`segmented`.

    Returns:
        The results file. ``image_id`` is that of the data set where the images are those of one; else the number in the
        file name where all names are different numbers, as COCO's are; else 1, 2, ..; ``file_name`` is given too.

    Raises:
        DataError: No image could be read. An unreadable one among others is skipped with a warning.
        ConfigError: An overlay would replace an image that was given, or a file that exists.
        MachineError: Tiles are asked for, and SAHI is not installed.
    """
    images = images[: limit or None]
    paths = [image.path for image in images]
    overlays = [out / name for name in overlay_names(images)]
    _check_overlays(overlays, paths, overwrite=overwrite)
    names = names_to_draw(categories)
    make_folder(out)
    results: list[Result] = []
    specked = specks = 0
    read = readable_images(paths)
    found = segmented(model, read, categories=categories, score_threshold=score_threshold, batch=batch, tile=tile)
    with Progress(len(paths), "predict", "images") as bar:
        for given, (_, image, instances), number, overlay in zip(
            images, found, image_ids(images), overlays, strict=True
        ):
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
                record = ImageRecord(id=number, file_name=given.name, width=image.shape[2], height=image.shape[1])
                for result in results_of(instances, record, categories):
                    mask, dropped = rle_without_specks(result["segmentation"], speck_share)
                    results.append({**result, "segmentation": mask, "file_name": given.name})
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
    write_legend(out / LEGEND_FILE, [c for c in categories if c.id in {r["category_id"] for r in results}])
    written = [out / RESULTS_FILE, boxes_path(out / RESULTS_FILE), out / LEGEND_FILE, *overlays]
    write_list(out, filter(Path.is_file, written))
    return out / RESULTS_FILE


def write_legend(path: Path, categories: Iterable[Category]) -> None:
    """Write the names of those categories that pictures show as ``#id``, if there are any, and say so."""
    names = legend(categories)
    if names:
        write_text(path, "".join(f"#{number} {name}\n" for number, name in names.items()))
        logger.warning(
            "No font here has the letters of %s, so pictures show %s; %s says which is which. Noto fonts of these "
            "scripts are taken where they are installed, as by the package fonts-noto-cjk.",
            listed(list(names.values()), 3), listed([f"#{number}" for number in names], 3), path,
        )  # fmt: skip


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


def segmented(
    model: WholeModel,
    images: Iterable[tuple[Path, Tensor | None]],
    *,
    categories: Sequence[Category],
    score_threshold: float,
    batch: int = 1,
    tile: int = 0,
) -> Iterator[tuple[Path, Tensor | None, Instances | TiledObjects | None]]:
    """Each file with its image and what was found in it; nothing in one that could not be read.

    Args:
        images: As from :func:`readable_images`.
        batch: Most images, one after the other and of one size, that go through the backbone together.
        tile: Side of the tiles that larger images are cut into, in pixels; 0: none are.
    """
    if tile:
        from maskx_pipeline.evaluation.tiles import predict_tiled  # where SAHI is needed

    waiting: list[tuple[Path, Tensor]] = []

    def find() -> Iterator[tuple[Path, Tensor, Instances | None]]:
        everything: Sequence[Instances | None] = [None] * len(waiting)
        with _warned([path for path, _ in waiting]):
            everything = model.predict_many([image.float().div(255) for _, image in waiting]) if waiting else []
        for (path, image), instances in zip(waiting, everything, strict=True):
            yield path, image, None if instances is None else instances.above(score_threshold)
        waiting.clear()

    for path, image in images:
        in_tiles = image is not None and 0 < tile < max(image.shape[1:])
        if waiting and (in_tiles or image is None or len(waiting) == batch or image.shape != waiting[0][1].shape):
            yield from find()
        if image is None:
            yield path, None, None
        elif in_tiles:
            joined: TiledObjects | None = None
            with _warned([path]):
                joined = predict_tiled(
                    model, image, tile=tile, categories=categories, score_threshold=score_threshold, batch=batch
                )
            yield path, image, joined
        else:
            waiting.append((path, image))
    yield from find()


def predict_image(model: WholeModel, image: Tensor, *, score_threshold: float) -> Instances:
    """Segment one image uint8[3, H, W], RGB; instances below the threshold are left out."""
    return model.predict(image.float().div(255)).above(score_threshold)


@contextlib.contextmanager
def _warned(paths: Sequence[Path]) -> Iterator[None]:
    """Warn, and go on, where the detector cannot look at images of such a shape."""
    try:
        yield
    except DataError as error:
        for path in paths:
            logger.warning("%s: %s It is skipped.", shown(str(path)), error.message)


def _check_overlays(overlays: Sequence[Path], images: Sequence[Path], *, overwrite: bool) -> None:
    originals = {path.resolve() for path in images}
    for overlay in overlays:
        if overlay.resolve() in originals:
            raise ConfigError(f"The overlay {overlay} would replace an image that was given.", "give another --out")
        if overlay.exists() and not overwrite:
            raise ConfigError(f"{overlay} exists.", "give --overwrite to replace it, or another --out")
