"""Masks for a user's images: overlays, and a COCO results file."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from maskx_pipeline.data.images import read_image
from maskx_pipeline.data.records import Category, ImageRecord
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.engine.sharing import shared_out
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
from maskx_pipeline.provenance.files import make_folder, real_path, write_bytes, write_text
from maskx_pipeline.text import shown
from maskx_pipeline.whole_model import ImageModel, Instances

logger = logging.getLogger("maskx")

RESULTS_FILE = "results.json"
LEGEND_FILE = "legend.txt"


def predict_folder(
    model: ImageModel,
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

    Several processes share the images, ``batch`` after ``batch``; the main one writes.

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
    overlays = [out / name for name in overlay_names(images)]

    def begin() -> None:
        _check_overlays(overlays, [image.path for image in images], overwrite=overwrite)
        make_folder(out)

    distributed.on_main(begin)
    names = names_to_draw(categories)
    how: dict[str, Any] = {"categories": categories, "score_threshold": score_threshold, "batch": batch, "tile": tile}

    def look(some: Sequence[tuple[GivenImage, int]]) -> Iterator[_Looked]:
        failed: list[DataError] = []
        found = segmented(model, _read_each((given.path for given, _ in some), failed), **how)
        for (given, number), (_, image, instances) in zip(some, found, strict=True):
            if image is None or instances is None:
                yield _Looked(error=failed[-1] if image is None else None)
                continue
            picture = draw_instances(
                image, instances, names=names, seen=seen, score_threshold=score_threshold, speck_share=speck_share
            )
            record = ImageRecord(id=number, file_name=given.name, width=image.shape[2], height=image.shape[1])
            objects = results_of(instances, record, categories)
            cut = [rle_without_specks(result["segmentation"], speck_share) for result in objects]
            results = [
                {**result, "segmentation": mask, "file_name": given.name}
                for result, (mask, _) in zip(objects, cut, strict=True)
            ]
            yield _Looked(_as_jpeg(picture), results, [dropped for _, dropped in cut if dropped])

    results: list[Result] = []
    dropped: list[int] = []
    errors: list[DataError] = []
    with Progress(len(images), "predict", "images") as bar:
        work = list(zip(images, image_ids(images), strict=True))
        for overlay, looked in zip(overlays, shared_out(work, look, block=batch), strict=distributed.is_main()):
            if looked.overlay:
                write_bytes(overlay, looked.overlay)
            if looked.error is not None:
                errors.append(looked.error)
            results += looked.results
            dropped += looked.dropped
            bar.update(1)

    def end() -> None:
        if errors and len(errors) == len(images):
            raise errors[-1]
        if dropped:
            logger.info("Left out %d small parts of %d masks; --speck-share 0 keeps them.", sum(dropped), len(dropped))
        if not results:
            logger.warning(
                "No object has a score of %g or more, so the overlays show none; --score-threshold lowers that.",
                score_threshold,
            )
        write_results(out / RESULTS_FILE, results)
        write_legend(out / LEGEND_FILE, [c for c in categories if c.id in {r["category_id"] for r in results}])
        written = [out / RESULTS_FILE, boxes_path(out / RESULTS_FILE), out / LEGEND_FILE, *overlays]
        write_list(out, filter(Path.is_file, written))

    distributed.on_main(end)
    return out / RESULTS_FILE


@dataclass(frozen=True, slots=True)
class _Looked:
    """What came of one image.

    Attributes:
        overlay: A JPEG file; empty where there is none.
        dropped: Of each mask that lost some, how many small parts.
        error: Why the image could not be read.
    """

    overlay: bytes = b""
    results: list[Result] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    error: DataError | None = None


def _as_jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=95, subsampling=0)
    return stream.getvalue()


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
    read = 0
    failed: list[DataError] = []
    for path, image in _read_each(paths, failed):
        read += image is not None
        yield path, image
    if not read and failed:
        raise failed[-1]


def _read_each(paths: Iterable[Path], failed: list[DataError]) -> Iterator[tuple[Path, Tensor | None]]:
    """Each file with its image, or with None and a warning; then the error is appended to ``failed``."""
    for path in paths:
        image = None
        try:
            image = read_image(path)
        except DataError as error:
            logger.warning("%s It is skipped.", error.message)
            failed.append(error)
        yield path, image


def segmented(
    model: ImageModel,
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


def predict_image(model: ImageModel, image: Tensor, *, score_threshold: float) -> Instances:
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
    originals = {real_path(path) for path in images}
    for overlay in overlays:
        if real_path(overlay) in originals:
            raise ConfigError(f"The overlay {overlay} would replace an image that was given.", "give another --out")
        if overlay.exists() and not overwrite:
            raise ConfigError(f"{overlay} exists.", "give --overwrite to replace it, or another --out")
