"""Which of two gives a category its masks, the model or a teacher: the better one where true masks say so."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from maskx_pipeline.annotate.quality import AnnotationQuality
from maskx_pipeline.annotate.reliability import MaskScore
from maskx_pipeline.data.records import Category
from maskx_pipeline.errors import listed

FEWEST = 10
"""Measured masks: a category with fewer is judged with others of its kind, seen or unseen."""

_NAMED = 10


@dataclass(frozen=True, slots=True)
class Choice:
    """How a category was decided; IoU in percent, None where nothing could be measured.

    Attributes:
        masks: How many masks were compared, of this category or of others of its kind.
        of_kind: Whether others were taken, since the category has fewer than `FEWEST`.
    """

    category: str
    model_iou: float | None
    teacher_iou: float | None
    masks: int
    of_kind: bool

    @property
    def is_teachers(self) -> bool:
        """Whether the teacher is better; equals are the model's."""
        return self.model_iou is not None and self.teacher_iou is not None and self.teacher_iou > self.model_iou


def choose_best(
    quality: AnnotationQuality, categories: Collection[Category], *, seen: Collection[int]
) -> dict[int, Choice]:
    """Decide for each category of the model, by label.

    A category of few masks is judged by those of all seen categories if it is seen, of all unseen ones if not, and by
    all masks where there are few of these too. A model is better on what it was trained on, a teacher is not.

    Args:
        quality: With the teacher's masks beside the model's.
        seen: Labels whose masks the model was trained on.
    """
    by_name: dict[str, list[MaskScore]] = {}
    for score in quality.scores:
        by_name.setdefault(score.category, []).append(score)
    of_kind = {kind: [score for score in quality.scores if score.seen is kind] for kind in (True, False)}
    choices = {}
    for category in categories:
        own = by_name.get(category.name, [])
        pools = (own, of_kind[category.label in seen], list(quality.scores))
        taken = next((pool for pool in pools if len(pool) >= FEWEST), pools[-1])
        choices[category.label] = Choice(
            category=category.name,
            model_iou=_mean([score.iou for score in taken]),
            teacher_iou=_mean([score.teacher_iou for score in taken if score.teacher_iou is not None]),
            masks=len(taken),
            of_kind=taken is not own,
        )
    return choices


def confidences(choices: Mapping[int, Choice]) -> dict[int, float]:
    """The IoU, 0..1, to expect of the teacher's masks, by the label of the categories that are the teacher's."""
    return {n: c.teacher_iou / 100 for n, c in choices.items() if c.is_teachers and c.teacher_iou is not None}


def scores_of_best(scores: Iterable[MaskScore], choices: Mapping[int, Choice]) -> tuple[MaskScore, ...]:
    """What is measured of the masks that are taken: in the teacher's categories its own, with their confidence."""
    taken = {choices[label].category: iou for label, iou in confidences(choices).items()}
    return tuple(
        replace(s, iou=s.teacher_iou, confidence=round(taken[s.category], 4))
        if s.category in taken and s.teacher_iou is not None
        else s
        for s in scores
    )


def choices_text(choices: Mapping[int, Choice], teacher: str) -> str:
    """A sentence for the terminal."""
    taken = [
        f"{c.category} ({c.teacher_iou:.1f}, the model {c.model_iou:.1f}{', from others of its kind' * c.of_kind})"
        for c in choices.values()
        if c.is_teachers
    ]
    named = f": {listed(taken, _NAMED)}" if taken else ""
    return f"{teacher} has the higher mask IoU in {len(taken)} of {len(choices)} categories{named}"


def _mean(values: list[float]) -> float | None:
    return 100 * sum(values) / len(values) if values else None
