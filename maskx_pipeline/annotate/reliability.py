"""What a confidence is worth: the IoU that masks of a confidence really have, and the least one for a wanted IoU."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from maskx_pipeline.errors import DataError
from maskx_pipeline.text import number_text

_BINS = 10
_FEWEST = 20  # measured masks; from fewer, a mean says little


@dataclass(frozen=True, slots=True)
class MaskScore:
    """One hidden mask: the category, whether its masks were trained on, IoU with the true mask, and confidence.

    Attributes:
        teacher_iou: IoU of a teacher's mask with the true one; None where none was asked.
    """

    category: str
    seen: bool
    iou: float
    confidence: float
    teacher_iou: float | None = None


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The masks whose confidence is at least ``low`` and below ``high``; the last bin holds 1 too."""

    low: float
    high: float
    masks: int
    confidence: float
    iou: float


def reliability(scores: Iterable[MaskScore]) -> list[ReliabilityBin]:
    """Mean confidence and mean IoU by confidence, in steps of a tenth; steps without masks are left out."""
    bins: dict[int, list[MaskScore]] = {}
    for score in scores:
        bins.setdefault(min(int(score.confidence * _BINS), _BINS - 1), []).append(score)
    return [
        ReliabilityBin(
            low=number / _BINS,
            high=(number + 1) / _BINS,
            masks=len(found),
            confidence=math.fsum(score.confidence for score in found) / len(found),
            iou=math.fsum(score.iou for score in found) / len(found),
        )
        for number, found in sorted(bins.items())
    ]


@dataclass(frozen=True, slots=True)
class LeastConfidence:
    """The confidence from which on masks have a wanted mean IoU, by what was measured.

    Attributes:
        measured_on: The annotation file whose masks were hidden and predicted.
        measured, kept: Masks that were measured, and those of them that reach the confidence.
        iou: Mean IoU of the kept ones, 0..1.
        measured_unseen, kept_unseen, iou_unseen: The same for categories whose masks the model never saw; None where
            none of them is kept.
    """

    wanted_iou: float
    min_confidence: float
    measured_on: str
    measured: int
    kept: int
    iou: float
    measured_unseen: int
    kept_unseen: int
    iou_unseen: float | None

    def to_lines(self) -> list[str]:
        """What was chosen, from what, and what it does not say."""
        lines = [
            f"--wanted-iou {self.wanted_iou:g}: masks of confidence {self.min_confidence:.4f} or more. On the masks of "
            f"{self.measured_on},",
            f"  {self.kept} of {self.measured} have it, with a mean IoU of {number_text(100 * self.iou)} percent",
        ]
        if self.kept < _FEWEST:
            lines.append(f"  that is measured on {self.kept} masks alone, which says little")
        if not self.measured_unseen:
            lines.append("  all of them are of seen categories: masks of unseen ones may be worse")
        elif self.iou_unseen is None:
            lines.append(f"  none of {self.measured_unseen} masks of unseen categories has it, so theirs is not known")
        else:
            lines.append(
                f"  {self.kept_unseen} of the {self.measured_unseen} of unseen categories have it, with a mean IoU of "
                f"{number_text(100 * self.iou_unseen)} percent; those of other unseen categories may be worse"
            )
        return lines


def least_confidence(scores: Sequence[MaskScore], wanted_iou: float, *, measured_on: str) -> LeastConfidence:
    """Choose the least confidence from which on masks have the wanted mean IoU.

    Args:
        scores: Of seen and unseen categories.
        wanted_iou: 0..1.

    Raises:
        DataError: Masks of no confidence are so good.
    """
    # A mask without any pixel has confidence 0 and is never filled in.
    found = sorted((s for s in scores if s.confidence > 0), key=lambda score: -score.confidence)
    least, best, total, count = None, 0.0, 0.0, 0
    for confidence, group in itertools.groupby(found, key=lambda score: score.confidence):
        ious = [score.iou for score in group]
        total, count = total + math.fsum(ious), count + len(ious)
        best = max(best, total / count)
        if total >= wanted_iou * count:
            least = confidence
    if least is None:
        raise DataError(
            f"no confidence gives masks a mean IoU of {wanted_iou:g}: the best is {best:.2f}, on {measured_on}.",
            "give a lower --wanted-iou, or a better model with --model",
        )
    kept = [score for score in found if score.confidence >= least]
    unseen = [score.iou for score in kept if not score.seen]
    return LeastConfidence(
        wanted_iou=wanted_iou,
        min_confidence=least,
        measured_on=measured_on,
        measured=len(scores),
        kept=len(kept),
        iou=math.fsum(score.iou for score in kept) / len(kept),
        measured_unseen=sum(not score.seen for score in scores),
        kept_unseen=len(unseen),
        iou_unseen=math.fsum(unseen) / len(unseen) if unseen else None,
    )


def bins_to_json(scores: Sequence[MaskScore]) -> list[dict[str, Any]]:
    """The bins as plain values for JSON; confidence 0..1, IoU in percent."""
    return [
        {"from": b.low, "to": b.high, "masks": b.masks, "confidence": b.confidence, "mask_iou": 100 * b.iou}
        for b in reliability(scores)
    ]
