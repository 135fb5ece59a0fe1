"""What can be wrong with a data set: the kinds of findings, when each is an error, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from maskx_pipeline.data.masks import HOW_WRITTEN

ERROR, WARNING, NOTE = "error", "warning", "note"
LOST = "lost"
"""An error where it takes a part of the data set that matters, else a warning."""

MISSING = "missing image file"
TWO_FILES = "image id of two files"
REPEATED = "duplicate annotation id"
REPEATED_PER_IMAGE = "annotation ids repeat per image"
UNKNOWN_CATEGORY = "unknown category id"
SHIFTED_CATEGORIES = "category ids shifted by one"
BROKEN_MASK = "broken segmentation"
EMPTY_MASK = "mask without a pixel"
NO_BOXES = "image without boxes"
"""Usual: COCO's train2017 has a thousand such images."""
UNUSABLE = "unusable image"
LARGE = "image too large"
MISFIT = "mask does not fit its box"
SMALL = "mask fills little of its box"
TWICE = "same object twice"
CORNER = "boxes lie in a corner"
CROWDS = "crowds left out"
CROWDED = "crowds look like objects"
ONE_FILE = "file under several image ids"
LEAK = "image in train and val"
COPIES = "same picture twice"
TURNED = "orientation tag"
DARK = "16-bit values in a part of their range"
CROWDED_IMAGE = "more than 100 objects of a category"
NARROW = "image too narrow"
RECTANGLES = "masks are their boxes"
NO_MASKS = "no mask that can be used"
NOTHING = "no boxes at all"
ONE_CATEGORY = "one category"
ALIKE = "category names alike"
NAMELESS = "category without a name"

READINGS = ("corners", "centres", "fractions", "percent", "y before x")
"""What ``bbox`` may hold in place of [x, y, width, height]."""


def misread(reading: str) -> str:
    """The kind of boxes that are written as one of READINGS."""
    return f"boxes look like {reading}"


@dataclass(frozen=True, slots=True)
class Kind:
    """What is counted, how bad it is (ERROR, WARNING, NOTE or LOST), and what to do.

    ``share`` is for LOST: the part of all that makes it an error.
    """

    unit: str
    severity: str
    advice: str
    share: float = 0.05


_BOXES = "COCO's bbox is [x, y, width, height] in pixels, x and y of the top left corner; write the boxes so"

KINDS: Mapping[str, Kind] = {
    MISSING: Kind("images", LOST, "check `file_name`, a path that begins in the image folder"),
    TWO_FILES: Kind("images", LOST, "give each file an id of its own: whose its annotations are cannot be told"),
    "duplicate image id": Kind("images", WARNING, "list each image once"),
    "image without size": Kind("images", LOST, "give width and height in pixels"),
    "annotation of a dropped image": Kind("annotations", WARNING, "it comes back with its image"),
    "unknown image id": Kind("annotations", LOST, "list their images under `images`, or remove these annotations"),
    "category not in the category map": Kind("annotations", NOTE, "they are left out as the map says"),
    UNKNOWN_CATEGORY: Kind("annotations", LOST, "list their categories, or remove these annotations"),
    SHIFTED_CATEGORIES: Kind(
        "annotations", ERROR,
        "`categories` and `category_id` are numbered from different starts, so the other objects have the name of a "
        "neighbour: number both alike",
    ),
    REPEATED: Kind("annotations", LOST, "number the annotations anew; only the first of an id is used"),
    REPEATED_PER_IMAGE: Kind(
        "annotations", LOST,
        "ids count anew in each image, and only the first of an id is used: number the annotations through the file",
    ),
    "broken box": Kind("annotations", LOST, "bbox is four numbers, [x, y, width, height]"),
    "zero-area box": Kind("annotations", LOST, f"remove them if they are slips; else: {_BOXES}"),
    "box outside the image": Kind("annotations", LOST, f"are they of another image, or another size? {_BOXES}"),
    "box partly outside the image": Kind(
        "annotations", LOST, f"are they of another image, or another size? {_BOXES}", share=0.2
    ),
    BROKEN_MASK: Kind("masks", WARNING, HOW_WRITTEN),
    EMPTY_MASK: Kind("masks", WARNING, "points and lines count as no mask: draw the outline, or leave `[]`"),
    NO_BOXES: Kind("images", NOTE, "nothing to do: they are kept and not trained on"),
    UNUSABLE: Kind("images", ERROR, "training would stop at them: replace them, or drop them from the annotation file"),
    LARGE: Kind("images", ERROR, "cut them into tiles, or raise the limit with --max-pixels (max-pixels in [data])"),
    MISFIT: Kind("masks", LOST, "masks and boxes must be of the same image, in its pixels: look at one of them"),
    SMALL: Kind("masks", WARNING, "right where a box is of the whole object, and the mask of what is seen of it"),
    TWICE: Kind(
        "annotations", LOST, "keep one of each: of a box and a mask of the same object, the one with the mask"
    ),
    CORNER: Kind(
        "annotations", ERROR, "are they of smaller copies of the images, or in percent? give them in pixels of these"
    ),
    CROWDS: Kind(
        "annotations", NOTE,
        "`iscrowd` 1 means a region of many objects: neither trained on nor learnt from; --crowds-are-objects reads "
        "them as objects",
    ),
    CROWDED: Kind(
        "annotations", ERROR,
        "this looks like a tool's doing, which writes whatever was drawn with a brush as a crowd: give "
        "--crowds-are-objects, or crowds-are-objects = true in [data] of maskx.toml, to read them as objects",
    ),
    ONE_FILE: Kind("images", LOST, "list a file once, with all its annotations: those of the other id are background"),
    LEAK: Kind("images", WARNING, "AP would be measured on what was trained on: take them out of one of the two"),
    COPIES: Kind("images", WARNING, "keep one of each"),
    TURNED: Kind(
        "images", WARNING,
        "they are turned as a viewer shows them, and their size fits either way: look at one with its boxes, and "
        "remove the tag if these were drawn on the picture as it is stored",
    ),
    DARK: Kind("images", WARNING, "16 bits are scaled by 256, so these are nearly black: stretch their values first"),
    NARROW: Kind("images", ERROR, "resizing leaves no pixel of their shorter side: cut them into pieces"),
    CROWDED_IMAGE: Kind(
        "images", NOTE,
        "AP counts the 100 best detections of an image and category, and a detector gives 100 an image unless "
        "--detections-per-image says more: tiles have fewer objects each",
    ),
    RECTANGLES: Kind(
        "masks", ERROR,
        "they teach a model to draw boxes. If a tool made them, empty their `segmentation` (`[]`): then they count as "
        "boxes only",
    ),
    NO_MASKS: Kind(
        "objects", ERROR,
        "at least one category with masks is needed: draw them in a labelling tool, or take those of another data set "
        "with `maskx init --masks-train-images` and the options beside it",
    ),
    NOTHING: Kind("images", ERROR, "give an annotation file with boxes"),
    ONE_CATEGORY: Kind(
        "categories", NOTE,
        "T has nothing to transfer from one category to another: `maskx fit-transfer --embedding none` learns masks "
        "from those objects that have one, and evaluate, predict and annotate work with it",
    ),
    ALIKE: Kind(
        "categories", WARNING,
        "names that differ in capitals and spaces at most: if they are one thing, make one category of them, else the "
        "masks of one are unseen to the other; if not, rename one",
    ),
    NAMELESS: Kind("categories", WARNING, "give it a name: tables, category sets and word vectors go by it"),
    **{misread(reading): Kind("annotations", ERROR, _BOXES) for reading in READINGS},
}  # fmt: skip


def is_grave(count: int, of: int, share: float = 0.05) -> bool:
    """Whether so many are no slips: most of them, or some and a share of all."""
    return (count >= 2 and 2 * count > of) or (count >= 5 and count >= share * of)
