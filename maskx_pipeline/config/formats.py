"""Data sets in other formats, which `maskx convert` writes in COCO's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskx_pipeline.settings import StageConfig, option, settings


@dataclass(frozen=True, slots=True)
class Format:
    """A subcommand of `maskx convert`.

    Attributes:
        config: Its settings; their table is the subcommand's name.
        module: Has ``convert(config, *, overwrite)``, which returns the folder that it wrote.
        summary: The line of `maskx convert --help`.
        about: The text of its own ``--help``.
    """

    config: type[StageConfig]
    module: str
    summary: str
    about: str


@dataclass(frozen=True, slots=True)
class Source:
    """A subcommand of `maskx convert from`.

    Attributes:
        config: Its settings; their table is ``from-`` and the subcommand's name.
        module: Has ``convert(source, config, *, overwrite)``, which returns the folder that it wrote.
        summary: The line of `maskx convert from --help`.
        about: The text of its own ``--help``.
    """

    config: type[StageConfig]
    module: str
    summary: str
    about: str

    @property
    def name(self) -> str:
        """What the subcommand is called."""
        return self.config.table.removeprefix("from-")


_OUT_HELP = "Folder to write: an annotation file for each split, and report.json."


@settings
class VisualGenomeConfig(StageConfig):
    """From Visual Genome's own files (v1.4) to COCO-format annotations; the defaults are the paper's (section 5)."""

    table = "visual-genome"
    objects: Path = option(Path("data/visual-genome/objects.json"), "Visual Genome's objects.json.")
    image_data: Path = option(Path("data/visual-genome/image_data.json"), "Visual Genome's image_data.json.")
    coco_val: Path | None = option(
        None, "COCO's instances_val2017.json, or a list of image ids: these images become val."
    )
    out: Path = option(
        Path("data/vg3k"), "Folder to write: train.json, val.json, test.json, coco-categories.json, report.json."
    )
    categories: int = option(3000, "Most frequent synsets that become categories.", minimum=1)
    test_count: int = option(5000, "Images of test: the last of those that are not in COCO.", minimum=0)


@settings
class FromYoloConfig(StageConfig):
    """From YOLO's labels, boxes and polygons."""

    table = "from-yolo"
    out: Path = option(Path("data/yolo"), _OUT_HELP)


@settings
class FromVocConfig(StageConfig):
    """From the XML files and mask pictures of Pascal VOC."""

    table = "from-voc"
    out: Path = option(Path("data/voc"), _OUT_HELP)


@settings
class FromLabelMeConfig(StageConfig):
    """From the JSON files of LabelMe."""

    table = "from-labelme"
    out: Path = option(Path("data/labelme"), _OUT_HELP)


@settings
class FromOpenImagesConfig(StageConfig):
    """From Open Images' boxes and mask pictures."""

    table = "from-open-images"
    images: Path | None = option(None, "Folder of the images, or of one for each split; SOURCE/images if not given.")
    masks: Path | None = option(None, "Folder of the mask pictures, likewise; SOURCE/masks if not given.")
    out: Path = option(Path("data/oi"), _OUT_HELP)


@settings
class FromLvisConfig(StageConfig):
    """From LVIS v1."""

    table = "from-lvis"
    out: Path = option(Path("data/lvis"), _OUT_HELP)


@settings
class FromObjects365Config(StageConfig):
    """From Objects365 v2, with a map of the categories that another data set has masks of."""

    table = "from-objects365"
    masks_annotations: Path | None = option(
        None, "Annotation file of the data set with masks, such as LVIS'; its categories are COCO's if not given."
    )
    out: Path = option(
        Path("data/o365"), "Folder to write: an annotation file for each split, category-map.json, report.json."
    )


FORMATS = (
    Format(
        config=VisualGenomeConfig,
        module="maskx_pipeline.convert.visual_genome",
        summary="Visual Genome v1.4: boxes of its frequent synsets.",
        about="Convert Visual Genome v1.4 to boxes of its most frequent synsets, with COCO's 80 categories first.\n\n"
        "Needs no project: `maskx init` comes after it, with the annotations that this writes. OUT/report.json counts "
        "every dropped object by its reason; OUT/coco-categories.json says which category is which of COCO's.",
    ),
)
"""A new format is its own file in convert/, and its settings and an entry here."""

SOURCES = (
    Source(
        config=FromYoloConfig,
        module="maskx_pipeline.convert.from_yolo",
        summary="YOLO labels: boxes and polygons, by data.yaml.",
        about="Convert a data set with YOLO's labels; SOURCE is its data.yaml, or the folder where that lies.\n\n"
        "A line of five numbers is a box without a mask, a longer one a polygon. OUT holds a file for each split, and "
        "report.json.",
    ),
    Source(
        config=FromVocConfig,
        module="maskx_pipeline.convert.from_voc",
        summary="Pascal VOC: XML files and mask pictures.",
        about="Convert a data set in the format of Pascal VOC; SOURCE is the folder with Annotations and JPEGImages."
        "\n\n"
        "An object whose number has no pixel in SegmentationObject is a box without a mask. OUT holds a file for each "
        "split, and report.json.",
    ),
    Source(
        config=FromLabelMeConfig,
        module="maskx_pipeline.convert.from_labelme",
        summary="LabelMe: a JSON file beside each image.",
        about="Convert the JSON files of LabelMe; SOURCE is the folder where they lie beside their images.\n\n"
        "Polygons, circles and masks are masks, a rectangle is a box without one; shapes of one group are one object. "
        "Subfolders train, val and test are splits. OUT holds a file for each split, and report.json.",
    ),
    Source(
        config=FromOpenImagesConfig,
        module="maskx_pipeline.convert.from_open_images",
        summary="Open Images: boxes of 600 categories, masks of 350.",
        about="Convert Open Images' boxes and masks; SOURCE is the folder with its CSV files, as downloaded.\n\n"
        "A box of a group is a crowd region. Images whose files are not there are left out, so a part of the data set "
        "can be taken. OUT holds train.json, val.json, test.json and report.json.",
    ),
    Source(
        config=FromLvisConfig,
        module="maskx_pipeline.convert.from_lvis",
        summary="LVIS v1: file names, and what was looked for.",
        about="Convert LVIS v1; SOURCE is the folder with lvis_v1_train.json and lvis_v1_val.json, or one of them.\n\n"
        "Images are relative to the folder that holds COCO's train2017 and val2017. What LVIS says of categories that "
        "were looked for in an image stays, and `maskx evaluate` heeds it.",
    ),
    Source(
        config=FromObjects365Config,
        module="maskx_pipeline.convert.from_objects365",
        summary="Objects365 v2: boxes, and a map to COCO or LVIS.",
        about="Convert Objects365 v2; SOURCE is the folder with zhiyuan_objv2_train.json and zhiyuan_objv2_val.json."
        "\n\nOUT/category-map.json says which category of the data set with masks is which of these, for "
        "`maskx init --masks-category-map`.",
    ),
)
"""The same for `maskx convert from`: what it reads is an argument, and no setting."""
