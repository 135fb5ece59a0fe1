"""The page of a review: what is written where, and that nothing in it is taken for markup or loaded from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from maskx_pipeline.annotate.quality import AnnotationQuality
from maskx_pipeline.annotate.reliability import MaskScore, reliability
from maskx_pipeline.annotate.review_items import ReviewItem
from maskx_pipeline.page import render_page

_SIDE = 300  # of the plot, in its own units


def render_review(
    name: str, filled: int, empty: int, shown: Sequence[ReviewItem], quality: AnnotationQuality | None, *, digest: str
) -> str:
    """Write the page.

    Args:
        name: Of the annotation file.
        filled: Masks of maskx in it.
        empty: Boxes without a mask.
        shown: The masks on the page, the least certain ones.
        digest: Of the annotation file: decisions are kept under it.
    """
    counts = Counter(item.seen for item in shown)
    return render_page(
        "maskx_pipeline.annotate",
        "review_template",
        "review",
        name=name,
        filled=filled,
        empty=empty,
        shown=len(shown),
        unseen=counts[False],
        last=shown[-1].confidence if shown else None,
        key=digest[:16],
        quality=quality and _measured(quality),
        side=_SIDE,
    )


def _measured(quality: AnnotationQuality) -> dict[str, Any]:
    """The steps of confidence for seen and unseen categories, and where their marks are in the plot."""
    of_kind = {kind: [score for score in quality.scores if score.seen is seen] for kind, seen in _KINDS}
    return {
        "dataset": quality.dataset,
        "masks": len(quality.scores),
        "unseen": len(of_kind["unseen"]),
        "kinds": {kind: _marks(scores) for kind, scores in of_kind.items() if scores},
    }


_KINDS = (("unseen", False), ("seen", True))


def _marks(scores: Sequence[MaskScore]) -> list[dict[str, Any]]:
    return [
        {
            "bin": step,
            "x": round(_SIDE * step.confidence, 1),
            "y": round(_SIDE * (1 - step.iou), 1),
            "size": round(3 + 6 * (step.masks / len(scores)) ** 0.5, 1),
        }
        for step in reliability(scores)
    ]
