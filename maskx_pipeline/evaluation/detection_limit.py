"""How many detections of an image and category AP counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

MOST_DETECTIONS = 100
"""The last of pycocotools' ``maxDets``, with which COCO's AP is computed."""


def limit_notes(
    results: Sequence[Mapping[str, Any]], objects: Mapping[int, int], *, most: int = MOST_DETECTIONS
) -> list[str]:
    """Sentences where a limit left detections out; none where it did not.

    Args:
        results: COCO results with ``image_id`` and ``category_id``.
        objects: Image id -> number of objects that val has there.
        most: The detections of an image and category that count.
    """
    notes = []
    times = Counter((result["image_id"], result["category_id"]) for result in results)
    cut = {image for (image, _), count in times.items() if count > most}
    if cut:
        over = sum(max(0, count - most) for count in times.values())
        whose = ", as COCO's" if most == MOST_DETECTIONS else ""
        notes.append(
            f"AP counts the {most} best detections of an image and category{whose}: in {len(cut)} images {over} more "
            f"were left out. Objects beyond {most} count as missed, however well they are found; --max-detections "
            "counts more."
        )
    found = max(Counter(result["image_id"] for result in results).values(), default=0)
    crowded = [count for count in objects.values() if count > found]
    if found and crowded:
        notes.append(
            f"In {len(crowded)} images val has more objects (up to {max(crowded)}) than the detector gave detections "
            f"in any image ({found}): the objects beyond count as missed. --detections-per-image of "
            "`maskx detect train` sets how many it gives."
        )
    return notes
