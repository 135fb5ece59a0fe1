"""How good the masks of `maskx annotate` are: masks that exist are hidden, predicted, and compared."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maskx_pipeline import text
from maskx_pipeline.annotate.fill_masks import FilledMask, Opinion, fill_masks, teacher_masks
from maskx_pipeline.annotate.known_masks import masks_of_known, some_of
from maskx_pipeline.annotate.reliability import MaskScore, bins_to_json, reliability
from maskx_pipeline.annotate.true_boxes import figures_at_boxes
from maskx_pipeline.data.masks import segmentation_to_rle
from maskx_pipeline.data.records import Annotation, CocoData
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.sharing import each_of
from maskx_pipeline.errors import DataError
from maskx_pipeline.evaluation.box_figures import BoxFigures
from maskx_pipeline.evaluation.box_iou import MODEL
from maskx_pipeline.evaluation.box_masks import mask_iou
from maskx_pipeline.evaluation.expectation import Expectation
from maskx_pipeline.text import number_text
from maskx_pipeline.whole_model import WholeModel

logger = logging.getLogger("maskx")

_LEAST = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class AnnotationQuality:
    """Mask IoU of predicted masks, per category and for the seen and unseen ones.

    Attributes:
        scores: One for each mask that was hidden.
        teacher: Whose masks were measured beside the model's; empty if nobody's.
        boxes: The same beside shapes in the boxes, with intervals; None where that was not asked.
        expected: What `maskx tune` expects of this model on unseen categories; None where it was not asked.
    """

    model: str
    dataset: str
    scores: tuple[MaskScore, ...]
    categories: tuple[str, ...]
    unreadable: tuple[str, ...]
    teacher: str = ""
    boxes: BoxFigures | None = None
    expected: Expectation | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; IoU in percent, None where there is nothing to measure."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            **({"teacher": self.teacher} if self.teacher else {}),
            "sets": {name: self._set_row(name, scores) for name, scores in self._sets().items()},
            "categories": [
                {"name": name, "seen": scores[0].seen, "masks": len(scores), "mask_iou": _mean_iou(scores),
                 **_teacher_row(scores)}
                for name, scores in self._by_category(self.scores).items()
            ],
            "min_confidence": [
                {
                    "min_confidence": least,
                    **{name: {"kept": _share(s, least), "mask_iou": _mean_iou(_sure(s, least))}
                       for name, s in self._sets().items()},
                }
                for least in _LEAST
            ],
            "reliability": {name: bins_to_json(scores) for name, scores in self._sets().items()},
            "unreadable": list(self.unreadable),
            **({} if self.boxes is None else {"at_boxes": self.boxes.to_json()}),
            **({} if self.expected is None else {"expected": self.expected.to_json()}),
        }  # fmt: skip

    def to_text(self) -> str:
        """Tables for the terminal: sets, what --min-confidence would keep, IoU by confidence, categories."""
        sets = self._sets()
        others = [self.teacher] if self.teacher else []
        rows = [(name, self._set_row(name, scores)) for name, scores in sets.items()]
        boxes = [] if self.boxes is None else [*self.boxes.verdicts(), "", self.boxes.to_text(), ""]
        lines = [
            f"{self.model} on the {len(self.scores)} masks of {self.dataset}",
            "",
            *boxes,
            text.table(
                ["set", "categories", "masks", "mean IoU of categories"],
                [[n, str(r["categories"]), str(r["masks"]), number_text(r["mask_iou_of_categories"])] for n, r in rows],
                words=[True, False, False, False],
            ),
            "",
            text.table(
                ["min-confidence", *(f"{name} {what}" for name in sets for what in ("kept", "IoU"))],
                [
                    [f"{least:g}", *(t for s in sets.values()
                                     for t in (number_text(_share(s, least)), number_text(_mean_iou(_sure(s, least)))))]
                    for least in _LEAST
                ],
                words=[False] * (1 + 2 * len(sets)),
            ),
            "",
            text.table(
                ["confidence", *(f"{name} {what}" for name in sets for what in ("masks", "IoU"))],
                _reliability_rows(sets),
                words=[False] * (1 + 2 * len(sets)),
            ),
            "",
            text.table(
                ["category", "", "masks", "IoU", *others],
                [
                    [name, "seen" if scores[0].seen else "unseen", str(len(scores)), number_text(_mean_iou(scores)),
                     *(number_text(iou) for iou in _teacher_row(scores).values())]
                    for name, scores in self._by_category(self.scores).items()
                ],
                words=[True, True, False, False, *[False] * len(others)],
            ),
        ]  # fmt: skip
        if self.expected is not None:
            measured = _mean_of_categories(sets["unseen"])
            lines += ["", self.expected.to_text(), f"Measured on them: mask IoU {number_text(measured)}."]
        return "\n".join(lines)

    def _sets(self) -> dict[str, list[MaskScore]]:
        return {
            "all": list(self.scores),
            "seen": [score for score in self.scores if score.seen],
            "unseen": [score for score in self.scores if not score.seen],
        }

    def _set_row(self, name: str, scores: Sequence[MaskScore]) -> dict[str, Any]:
        means = {} if self.boxes is None else {row.name: row.iou for row in self.boxes.sets}[name]
        values = {source: interval.to_json()["mean"] for source, interval in means.items()}
        return {
            "categories": len({score.category for score in scores}),
            "masks": len(scores),
            "mask_iou": values.get(MODEL),
            "mask_iou_of_categories": _mean_of_categories(scores),
            **({"teacher_mask_iou": values.get(self.teacher)} if self.teacher and scores else {}),
        }

    def _by_category(self, scores: Iterable[MaskScore]) -> dict[str, list[MaskScore]]:
        grouped: dict[str, list[MaskScore]] = {name: [] for name in self.categories}
        for score in scores:
            grouped[score.category].append(score)
        return {name: group for name, group in grouped.items() if group}


def measure_annotation(
    model: WholeModel,
    data: CocoData,
    *,
    labels: Mapping[int, int],
    seen: Collection[int],
    mask_format: str,
    folder: str,
    speck_share: float = 0.0,
    most: int | None = None,
    opinion: Opinion | None = None,
    teacher: str = "",
    beside_shapes: bool = False,
) -> AnnotationQuality:
    """Predict each mask that exists, from the box alone, and compare. Nothing is written.

    What is compared is what would be written: cut at the box, without specks, as polygons where these are asked for.
    Several processes share the images, and all get the figures.

    Args:
        labels: The model's label of each label of ``data`` that it knows; others are left out.
        seen: The model's labels whose masks it was trained on.
        speck_share: Parts below this share of their mask are left out.
        most: Take images in a fixed random order until they hold so many masks; all if None.
        opinion: A teacher that is measured beside the model, and ``teacher``, its name.
        beside_shapes: Whether the filled box and the ellipse in the box are measured too, and intervals.

    Raises:
        DataError: There is no mask to compare with, or no image can be read.
    """
    work = some_of(masks_of_known(data, labels), most)
    if not work:
        raise DataError(
            f"{data.path} has no masks of categories that the model knows, so there is nothing to measure.",
            "give a file with masks, such as val-annotations",
        )
    how: dict[str, Any] = {"mask_format": mask_format, "speck_share": speck_share}

    def compare(annotations: Sequence[Annotation]) -> list[MaskScore] | DataError:
        chosen = [labels[annotation.label] for annotation in annotations]
        try:
            filled = fill_masks(model, data, annotations, chosen, **how)
            others: Sequence[FilledMask | None] = [None] * len(filled)
            if opinion is not None:
                others = teacher_masks(opinion, data, annotations, **how)
        except DataError as error:
            logger.warning("%s It is left out.", error.message)
            return error
        return [
            _score(data, annotation, mask, other, seen=label in seen)
            for annotation, mask, other, label in zip(annotations, filled, others, chosen, strict=True)
        ]

    images = list(work.values())
    found = list(each_of(images, compare, desc="annotate and compare"))

    def figures() -> AnnotationQuality:
        scores = [score for of_image in found if not isinstance(of_image, DataError) for score in of_image]
        unreadable = [error for error in found if isinstance(error, DataError)]
        if not scores:
            raise unreadable[0]
        compared = [image for image, made in zip(images, found, strict=True) if not isinstance(made, DataError)]
        measured = [annotation for annotations in compared for annotation in annotations]
        known_seen = {label for label, of_model in labels.items() if of_model in seen}
        return AnnotationQuality(
            model=folder,
            dataset=str(data.path),
            scores=tuple(scores),
            categories=tuple(dict.fromkeys(category.name for category in data.categories)),
            unreadable=tuple(error.message for error in unreadable),
            teacher=teacher,
            boxes=figures_at_boxes(data, measured, scores, seen=known_seen, teacher=teacher) if beside_shapes else None,
        )

    return distributed.on_main(figures)


def _score(
    data: CocoData, annotation: Annotation, mask: FilledMask, other: FilledMask | None, *, seen: bool
) -> MaskScore:
    iou = _iou_with_truth(data, annotation, mask)
    teacher_iou = None if other is None else _iou_with_truth(data, annotation, other)
    return MaskScore(data.category(annotation.label).name, seen, iou, mask.confidence, teacher_iou)


def _iou_with_truth(data: CocoData, annotation: Annotation, mask: FilledMask) -> float:
    if mask.segmentation is None:
        return 0.0
    image = data.image(annotation.image_id)
    first, second = (
        segmentation_to_rle(s, image.height, image.width) for s in (mask.segmentation, annotation.segmentation)
    )
    return mask_iou(first, second)


def _reliability_rows(sets: Mapping[str, Sequence[MaskScore]]) -> list[list[str]]:
    """A row for each step of confidence: masks and their IoU in each set."""
    found = {name: {b.low: b for b in reliability(scores)} for name, scores in sets.items()}
    rows = []
    for low, step in found["all"].items():
        here = [bins.get(low) for bins in found.values()]
        cells = [(str(b.masks), number_text(100 * b.iou)) if b else ("0", "-") for b in here]
        rows.append([f"{low:.1f}-{step.high:.1f}", *(cell for pair in cells for cell in pair)])
    return rows


def _mean_of_categories(scores: Sequence[MaskScore]) -> float | None:
    by_category: dict[str, list[float]] = {}
    for score in scores:
        by_category.setdefault(score.category, []).append(score.iou)
    return _percent([sum(ious) / len(ious) for ious in by_category.values()])


def _teacher_row(scores: Sequence[MaskScore]) -> dict[str, float | None]:
    """Of masks that a teacher was asked for too."""
    found = [score.teacher_iou for score in scores if score.teacher_iou is not None]
    return {"teacher_mask_iou": _percent(found)} if found else {}


def _sure(scores: Sequence[MaskScore], least: float) -> list[MaskScore]:
    return [score for score in scores if score.confidence >= least]


def _share(scores: Sequence[MaskScore], least: float) -> float | None:
    return _percent([float(score.confidence >= least) for score in scores])


def _mean_iou(scores: Sequence[MaskScore]) -> float | None:
    return _percent([score.iou for score in scores])


def _percent(values: Sequence[float]) -> float | None:
    return 100 * math.fsum(values) / len(values) if values else None
