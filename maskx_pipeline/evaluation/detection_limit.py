"""How many detections of an image and category AP counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

MOST_DETECTIONS = 100
"""The last of pycocotools' ``maxDets``, with which COCO's AP is computed."""


def limit_note(results: Sequence[Mapping[str, Any]]) -> str | None:
    """A sentence where COCO's limit left detections out; None where it did not.

    Args:
        results: COCO results with ``image_id`` and ``category_id``.
    """
    times = Counter((result["image_id"], result["category_id"]) for result in results)
    cut = {image for (image, _), count in times.items() if count > MOST_DETECTIONS}
    if not cut:
        return None
    over = sum(max(0, count - MOST_DETECTIONS) for count in times.values())
    return (
        f"AP counts the {MOST_DETECTIONS} best detections of an image and category, as COCO's: in {len(cut)} images "
        f"{over} more were left out. So objects beyond {MOST_DETECTIONS} count as missed, however well they are found."
    )
