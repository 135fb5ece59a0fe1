"""Named sets of categories: what ``--split`` takes everywhere."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from maskx_pipeline.data.records import Category, CocoData
from maskx_pipeline.errors import DataError
from maskx_pipeline.text import shown

COCO_CATEGORIES = {
    1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane", 6: "bus", 7: "train", 8: "truck", 9: "boat",
    10: "traffic light", 11: "fire hydrant", 13: "stop sign", 14: "parking meter", 15: "bench", 16: "bird", 17: "cat",
    18: "dog", 19: "horse", 20: "sheep", 21: "cow", 22: "elephant", 23: "bear", 24: "zebra", 25: "giraffe",
    27: "backpack", 28: "umbrella", 31: "handbag", 32: "tie", 33: "suitcase", 34: "frisbee", 35: "skis",
    36: "snowboard", 37: "sports ball", 38: "kite", 39: "baseball bat", 40: "baseball glove", 41: "skateboard",
    42: "surfboard", 43: "tennis racket", 44: "bottle", 46: "wine glass", 47: "cup", 48: "fork", 49: "knife",
    50: "spoon", 51: "bowl", 52: "banana", 53: "apple", 54: "sandwich", 55: "orange", 56: "broccoli", 57: "carrot",
    58: "hot dog", 59: "pizza", 60: "donut", 61: "cake", 62: "chair", 63: "couch", 64: "potted plant", 65: "bed",
    67: "dining table", 70: "toilet", 72: "tv", 73: "laptop", 74: "mouse", 75: "remote", 76: "keyboard",
    77: "cell phone", 78: "microwave", 79: "oven", 80: "toaster", 81: "sink", 82: "refrigerator", 84: "book",
    85: "clock", 86: "vase", 87: "scissors", 88: "teddy bear", 89: "hair drier", 90: "toothbrush",
}  # fmt: skip
"""COCO's category ids and names."""

VOC_NAMES = frozenset(
    {
        "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table", "dog",
        "horse", "motorcycle", "person", "potted plant", "sheep", "couch", "train", "tv",
    }
)  # fmt: skip
"""COCO's names of the 20 categories of PASCAL VOC, the paper's set A (section 4.1)."""

_VOC_ALIASES = frozenset({"aeroplane", "motorbike", "diningtable", "pottedplant", "sofa", "tvmonitor"})
"""VOC's own names, where COCO's differ."""

_FORMS = "all, voc, nonvoc, seen, unseen, masked, random-N-T, @names.txt"
_PAPER_CLASSES = 80
_PAPER_SIZES = (20, 30, 40, 50, 60)
_PAPER_TRIALS = 5
_PAPER_SEED = 3


def resolve_category_set(
    name: str, categories: Sequence[Category], *, masked: Collection[int], seen: Collection[int] | None
) -> frozenset[int]:
    """Find the labels of a category set.

    Args:
        name: ``all``, ``voc``, ``nonvoc``, ``seen``, ``unseen``, ``masked``, ``random-N-T`` (trial T of N categories
            drawn at random), or ``@names.txt`` (a file with one category name per line).
        masked: Labels of those that have masks in the training data.
        seen: Labels whose masks the model was trained on; None where there is no model yet.

    Returns:
        Labels, 1..K; never empty.

    Raises:
        DataError: An unknown set or category name, a set that needs a model or VOC's categories, or an empty set.
    """
    every = frozenset(category.label for category in categories)
    if name == "all":
        labels = every
    elif name in ("voc", "nonvoc"):
        voc = _voc_labels(categories)
        labels = voc if name == "voc" else every - voc
    elif name in ("seen", "unseen"):
        if seen is None:
            raise DataError(
                f"the category set `{name}` is relative to a trained model, and there is none here.",
                f"take one that the data alone define: {_FORMS}",
            )
        labels = frozenset(seen) if name == "seen" else every - frozenset(seen)
    elif name == "masked":
        labels = frozenset(masked)
    elif name.startswith("@"):
        labels = _labels_in_file(Path(name[1:]), categories)
    elif match := re.fullmatch(r"random-(\d+)-(\d+)", name):
        labels = frozenset(index + 1 for index in random_split(len(every), int(match[1]), int(match[2])))
    else:
        raise DataError(f"there is no category set `{name}`.", _suggestion(name, _FORMS.split(", ")))
    if not labels:
        raise DataError(f"the category set `{name}` is empty in this data set.", "run `maskx doctor` to see the data")
    return labels


def masked_labels(data: CocoData) -> frozenset[int]:
    """Labels that have at least one mask which is no crowd region and no teacher's: the set ``masked``."""
    return frozenset(count_masks(data))


def count_objects(data: CocoData) -> Counter[int]:
    """By image id, how many objects it has; crowds do not count."""
    annotations = data.annotations()
    return Counter(annotations.image_ids[~annotations.iscrowd].tolist())


def count_masks(data: CocoData) -> Counter[int]:
    """By label, how many objects have a mask of their own.

    Crowd regions do not count, as no mask is learnt from them; nor do masks by a teacher, which are no truth.
    """
    annotations = data.annotations()
    return Counter(annotations.labels[annotations.has_mask & ~annotations.iscrowd & ~annotations.taught].tolist())


def count_teacher_masks(data: CocoData) -> Counter[int]:
    """By label, how many objects have a mask by a teacher, whether it was read or not."""
    annotations = data.annotations()
    return Counter(annotations.labels[annotations.taught & ~annotations.iscrowd].tolist())


def random_split(num_classes: int, count: int, trial: int) -> tuple[int, ...]:
    """Draw the seen categories of one trial of the paper's random splits (section 4.2, figure 3).

    For COCO's 80 categories, 20 to 60 of them (in tens) and trials 1 to 5, these are the authors' splits: one
    generator seeded with 3 draws all sizes of trial 1, then those of trial 2, and so on. Other numbers of categories
    have a generator of their own each, so that such experiments can be made on any data set.

    Args:
        num_classes: K, without the background.
        count: N, the number of seen categories, 1..K-1.
        trial: T, from 1.

    Returns:
        Sorted indices, 0..K-1; the label is one more.

    Raises:
        DataError: N or T is out of range.
    """
    if not 1 <= count < num_classes or trial < 1:
        raise DataError(
            f"there is no random-{count}-{trial} of {num_classes} categories.",
            f"random-N-T takes N from 1 to {num_classes - 1} and T from 1",
        )
    if num_classes == _PAPER_CLASSES and count in _PAPER_SIZES and trial <= _PAPER_TRIALS:
        generator = np.random.RandomState(_PAPER_SEED)
        draws = {
            (t, n): generator.choice(num_classes, n, replace=False)
            for t in range(1, _PAPER_TRIALS + 1)
            for n in _PAPER_SIZES
        }
        drawn = draws[trial, count]
    else:
        own_generator = np.random.RandomState([_PAPER_SEED, num_classes, count, trial])
        drawn = own_generator.choice(num_classes, count, replace=False)
    return tuple(sorted(int(index) for index in drawn))


def _voc_labels(categories: Sequence[Category]) -> frozenset[int]:
    labels = frozenset(c.label for c in categories if c.name.lower() in VOC_NAMES | _VOC_ALIASES)
    if not labels:
        raise DataError(
            "this data set has none of VOC's categories, so `voc` and `nonvoc` mean nothing here.",
            "use `masked`, `random-N-T`, or a file of names: @names.txt",
        )
    return labels


def _labels_in_file(path: Path, categories: Sequence[Category]) -> frozenset[int]:
    """Read category names, one per line; empty lines and those that start with # are skipped."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(
            f"the file of category names {path} cannot be read: {error.strerror}.", "check the path after @"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8: {error}.", "give a category name per line") from error
    names = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    known: dict[str, set[int]] = {}
    for category in categories:
        known.setdefault(category.name, set()).add(category.label)
    for name in names:
        if name not in known:
            raise DataError(f"{path}: there is no category `{shown(name)}`.", _suggestion(name, list(known)))
    return frozenset(label for name in names for label in known[name])


def _suggestion(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known[:20])}"
