"""Tools and formats that `maskx convert to` and `maskx annotate --for` write for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskx_pipeline.settings import StageConfig, option, settings


@dataclass(frozen=True, slots=True)
class Tool:
    """A subcommand of `maskx convert to`.

    Attributes:
        writer: ``module:function``, which writes splits into a folder.
        summary: The line of `maskx convert to --help`.
        about: The text of its own ``--help``.
        has_tasks: `maskx annotate --for` takes it: people correct masks with it, or train on them.
    """

    name: str
    writer: str
    summary: str
    about: str
    has_tasks: bool = False


@settings
class ConvertToConfig(StageConfig):
    """Handing annotations over to another tool."""

    table = "convert-to"
    images: Path | None = option(
        None, "Folder of the images; that of [data] if the file is one of its annotation files."
    )
    split: str = option("train", "Name of the split that the file becomes.")
    val: Path | None = option(None, "Another annotation file, which becomes the split val.")
    val_images: Path | None = option(None, "Folder of its images; that of --images if not given.")
    out: Path | None = option(None, "Folder to write; FILE-for-TOOL beside the file if not given.")
    copy_images: bool = option(
        False, "Copy the images into the folder where the tool wants them there, in place of hard links."
    )


_ROOM = "maskx_pipeline.convert"

TOOLS = (
    Tool(
        "yolo",
        f"{_ROOM}.to_yolo:write",
        "YOLO labels: polygons, and boxes without masks.",
        "Write YOLO's labels of FILE: images/SPLIT, labels/SPLIT and data.yaml.\n\n"
        "A mask is a polygon, several parts joined by lines; a box without a mask is a line of five "
        "numbers. RLE becomes polygons, and crowds are left out.",
    ),
    Tool(
        "ultralytics",
        f"{_ROOM}.to_yolo:write_for_ultralytics",
        "YOLO labels to train Ultralytics' segmentation on.",
        "Write YOLO's labels of FILE as Ultralytics trains segmentation on.\n\n"
        "It refuses an image in which polygons and "
        "boxes are mixed, so a box without a mask is written as a rectangle, and counted. Fill the masks first.",
        has_tasks=True,
    ),
    Tool(
        "voc",
        f"{_ROOM}.to_voc:write",
        "Pascal VOC: XML files and mask pictures.",
        "Write FILE as Pascal VOC: JPEGImages, Annotations, ImageSets, SegmentationObject, SegmentationClass.\n\nWhere "
        "masks overlap the smaller one lies on top. A box without a mask has no pixels. Crowds are left out.",
    ),
    Tool(
        "labelme",
        f"{_ROOM}.to_labelme:write",
        "LabelMe: a JSON file beside each image.",
        "Write FILE as LabelMe's JSON files, one beside each image.\n\nA mask is one or more polygons, a box without a "
        "mask a rectangle. RLE becomes polygons, and crowds are left out.",
    ),
    Tool(
        "cvat",
        f"{_ROOM}.to_coco:write_for_cvat",
        "CVAT: COCO 1.0, with no null.",
        "Write FILE as CVAT's import of COCO 1.0 takes it: SPLIT.json.\n\nPolygons and RLE stay as they are; an absent "
        "mask is [], never null, and category ids start at 1.",
        has_tasks=True,
    ),
    Tool(
        "datumaro",
        f"{_ROOM}.to_coco:write_for_datumaro",
        "Datumaro: COCO's folders.",
        "Write FILE in COCO's folders, as Datumaro imports them: annotations/instances_SPLIT.json, images/SPLIT.",
        has_tasks=True,
    ),
    Tool(
        "label-studio",
        f"{_ROOM}.to_coco:write_for_label_studio",
        "Label Studio: polygons for its converter, and labels.",
        "Write FILE for label-studio-converter: SPLIT.json with polygons alone, and label-config.xml.\n\nRLE becomes "
        "polygons, and crowds are left out.",
        has_tasks=True,
    ),
)
"""A new tool is its writer in convert/, and an entry here."""
