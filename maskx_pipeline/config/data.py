"""The data set, and where it may come from."""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.config.shared import SEED_HELP
from maskx_pipeline.settings import StageConfig, option, settings


@settings
class DataConfig(StageConfig):
    """The data set: COCO-format annotation files and their image folders."""

    table = "data"
    train_images: Path = option(Path("data/train"), "Folder of the training images.")
    train_annotations: Path = option(Path("data/train.json"), "COCO-format annotations of the training images.")
    val_images: Path = option(Path("data/val"), "Folder of the validation images.")
    val_annotations: Path = option(Path("data/val.json"), "COCO-format annotations of the validation images.")
    crowds_are_objects: bool = option(
        False, "Read annotations with `iscrowd` as objects, where a tool writes so what was drawn with a brush."
    )
    max_pixels: int = option(
        178_956_970,
        "Most pixels of an image that is read; the default is what Pillow opens.",
        identity=False,
        minimum=1,
    )


@settings
class DoctorConfig(StageConfig):
    """What is known to be right although it looks wrong."""

    table = "doctor"
    accept: tuple[str, ...] = option(
        (),
        'Kinds of findings that are right as they are, with the reason: ["same object twice: two layers of a scan"]. '
        "`maskx doctor` names the kinds.",
        identity=False,
    )


@settings
class MasksConfig(StageConfig):
    """Masks of another data set: where given, export-embeddings, fit-transfer and evaluate read it in place of [data],
    which then needs no masks. Its categories are mapped onto those of the detector."""

    table = "masks"
    train_images: Path | None = option(None, "Folder of the images whose masks are trained on.")
    train_annotations: Path | None = option(None, "COCO-format annotations of these images.")
    val_images: Path | None = option(None, "Folder of the images whose masks are measured against.")
    val_annotations: Path | None = option(None, "COCO-format annotations of these images.")
    category_map: Path | None = option(
        None,
        "Which of its categories is which of the detector's, as `maskx convert visual-genome` writes it; not needed "
        "where ids and names are the same.",
    )


@settings
class ShapesConfig(StageConfig):
    """The generated data set `shapes`: each category is a shape, a texture and a hue."""

    table = "shapes"
    out: Path = option(
        Path("data/shapes"), "Folder to write: train/, val/, train.json, val.json, seen.txt, unseen.txt."
    )
    shapes: int = option(3, "Number of shapes, 2 to 6.", minimum=2)
    textures: int = option(3, "Number of textures, 1 to 4.", minimum=1)
    hues: int = option(4, "Number of hues, 2 to 12.", minimum=2)
    categories: int = option(0, "Number of categories; 0 takes every combination.", minimum=0)
    train_count: int = option(1200, "Number of training images.", minimum=1)
    val_count: int = option(300, "Number of validation images.", minimum=1)
    image_size: int = option(96, "Side of the square images, in pixels.", minimum=32, maximum=4096)
    objects_min: int = option(3, "Fewest objects in an image.", minimum=1)
    objects_max: int = option(6, "Most objects in an image.", minimum=1, maximum=1000)
    masks: str = option(
        "half",
        "Categories with masks in train.json: half of them, or all, so that a split chooses. seen.txt and unseen.txt "
        "list the two halves either way.",
        choices=("half", "all"),
    )
    seed: int = option(0, SEED_HELP, minimum=0)
