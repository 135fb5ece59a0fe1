"""Mask IoU at given boxes: how good masks are, apart from the detector, beside what a person would take instead."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

MODEL = "this model"
"""The source of masks that the others are rivals of."""

ELLIPSE = "the ellipse in the box"
SHAPES = ("the filled box", ELLIPSE)
"""What a person would take who has boxes alone."""

_RESAMPLES, _SEED = 1000, 0
_OUTSIDE = (2.5, 97.5)  # percentiles that bound the interval of 95 %


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean in percent, and the bounds of its 95 % interval; NaN where there is nothing to measure."""

    mean: float
    low: float
    high: float

    @property
    def is_certain(self) -> bool:
        """Whether the interval leaves out zero: a difference of this size is hardly chance."""
        return self.low > 0 or self.high < 0

    def to_json(self) -> dict[str, float | None]:
        """Plain values; None for NaN."""
        values = {"mean": self.mean, "low": self.low, "high": self.high}
        return {name: None if math.isnan(value) else value for name, value in values.items()}


@dataclass(eq=False)
class BoxIou:
    """The IoU of masks with the true ones, for each object of val that has a mask.

    The mean of a set is that over its objects. Intervals are from 1,000 resamples of the images with a fixed seed,
    since objects of one image are not independent. The difference of two sources is taken object by object.

    Attributes:
        annotation_ids: int64 [N].
        image_ids: int64 [N].
        labels: int64 [N], 1..K.
        ious: By source, float64 [N] in 0..1; NaN where the source has no mask for an object.
    """

    annotation_ids: NDArray[np.int64]
    image_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    ious: dict[str, NDArray[np.float64]]

    def mean(self, source: str, chosen: NDArray[np.bool_]) -> Interval:
        """The mean IoU of a source over some objects, bool [N], in percent."""
        return self._interval(self.ious[source], chosen)

    def difference(self, source: str, other: str, chosen: NDArray[np.bool_]) -> Interval:
        """By how many points the first is above the second, over the objects of which both have a mask."""
        return self._interval(self.ious[source] - self.ious[other], chosen)

    def by_object(self) -> dict[str, dict[int, float]]:
        """By source, the IoU of each object by annotation id."""
        ids = self.annotation_ids.tolist()
        return {source: dict(zip(ids, values.tolist(), strict=True)) for source, values in self.ious.items()}

    def beside(self, others: Mapping[str, Mapping[int, float]]) -> BoxIou:
        """With further sources, behind the first: their IoU by annotation id."""
        ids = self.annotation_ids.tolist()
        first, *rest = self.ious
        further = {
            name: np.array([of.get(id_, math.nan) for id_ in ids], dtype=np.float64) for name, of in others.items()
        }
        ious = {first: self.ious[first], **further, **{source: self.ious[source] for source in rest}}
        return BoxIou(self.annotation_ids, self.image_ids, self.labels, ious)

    def of_labels(self, labels: frozenset[int]) -> NDArray[np.bool_]:
        """The objects of some categories, bool [N]."""
        return np.isin(self.labels, sorted(labels))

    @cached_property
    def _places(self) -> tuple[int, NDArray[np.int64]]:
        images, places = np.unique(self.image_ids, return_inverse=True)
        return len(images), places

    @cached_property
    def _draws(self) -> NDArray[np.float32]:
        """How often each image is in each resample, float32 [resamples, images]."""
        count = self._places[0]
        drawn = np.random.default_rng(_SEED).multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)
        return drawn.astype(np.float32)

    def _interval(self, values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> Interval:
        count, places = self._places
        counted = chosen & np.isfinite(values)
        if not counted.any():
            return Interval(math.nan, math.nan, math.nan)
        mean = 100 * float(values[counted].mean())
        totals = np.bincount(places[counted], values[counted], count)
        numbers = np.bincount(places[counted], minlength=count)
        if (numbers > 0).sum() < 2:
            return Interval(mean, math.nan, math.nan)  # one image says nothing of how images differ
        drawn, objects = self._draws @ totals, self._draws @ numbers
        means = 100 * drawn[objects > 0] / objects[objects > 0]
        low, high = np.percentile(means, _OUTSIDE)
        return Interval(mean, float(low), float(high))


def best_rival(box_iou: BoxIou, source: str, rivals: Sequence[str], chosen: NDArray[np.bool_]) -> str:
    """The best of the rivals on some objects; "" where it or ``source`` has no mask of them."""
    means = {rival: box_iou.mean(rival, chosen).mean for rival in rivals}
    measured = [rival for rival, mean in means.items() if not math.isnan(mean)]
    if not measured or math.isnan(box_iou.mean(source, chosen).mean):
        return ""
    return max(measured, key=means.__getitem__)


def plain(intervals: Mapping[str, Interval]) -> dict[str, Any]:
    """Intervals by name for JSON."""
    return {name: interval.to_json() for name, interval in intervals.items()}
