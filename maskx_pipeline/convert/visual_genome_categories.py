"""The categories of Visual Genome: its most frequent synsets, with COCO's 80 categories aligned to them and first."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

from maskx_pipeline.data.category_map import SCHEMA
from maskx_pipeline.data.category_sets import COCO_CATEGORIES

NAMED_OTHERWISE = {
    "cell phone": "cellular_telephone.n.01",
    "couch": "sofa.n.01",
    "dining table": "dinner_table.n.01",
    "donut": "doughnut.n.02",
    "fire hydrant": "water_faucet.n.01",
    "hair drier": "hand_blower.n.01",
    "handbag": "bag.n.04",
    "hot dog": "hotdog.n.01",
    "orange": "orange.n.01",
    "potted plant": "plant.n.01",
    "remote": "remote_control.n.01",
    "skis": "ski.n.01",
    "sports ball": "ball.n.01",
    "stop sign": "sign.n.02",
    "suitcase": "bag.n.06",
    "teddy bear": "teddy.n.01",
    "tv": "television.n.01",
    "wine glass": "wineglass.n.01",
}
"""COCO's name to the synset under which Visual Genome's annotators put the thing; the authors' choice."""

_SENSE = re.compile(r"\.[nvasr]\.\d+$")


class VisualGenomeCategory(NamedTuple):
    """A category of the converted data set."""

    id: int
    name: str
    """COCO's name where the category is aligned to one of COCO's, else the synset."""
    synset: str
    coco_id: int | None

    def to_json(self) -> dict[str, Any]:
        """As it stands in the annotation files."""
        return {"id": self.id, "name": self.name, "synset": self.synset}


def choose_categories(synset_counts: Counter[str], count: int) -> tuple[VisualGenomeCategory, ...]:
    """Take the most frequent synsets and those to which COCO's categories are aligned (section 5).

    A COCO category is aligned to the synset that the authors chose by hand; else to the most frequent one of the same
    name, ``dog.n.01`` to ``dog``. One that occurs nowhere in the data is left out.

    Args:
        synset_counts: How often each synset occurs in the data, in the order of first occurrence (which breaks ties).
        count: N of the N most frequent synsets. An aligned synset that is none of them comes on top, which makes 3001
            categories of Visual Genome's top 3000.

    Returns:
        COCO's categories in COCO's order, then the other synsets by name; ids from 1.
    """
    ranked = [synset for synset, _ in synset_counts.most_common()]
    aligned = _align_coco(ranked)
    others = sorted(set(ranked[:count]) - set(aligned.values()))
    rows = [(COCO_CATEGORIES[coco_id], synset, coco_id) for coco_id, synset in aligned.items()]
    every = [*rows, *((synset, synset, None) for synset in others)]
    return tuple(VisualGenomeCategory(number, *row) for number, row in enumerate(every, start=1))


def category_map(categories: tuple[VisualGenomeCategory, ...]) -> dict[str, Any]:
    """The aligned categories as JSON: which of COCO's (with masks) is which of these (with boxes)."""
    found = {category.coco_id for category in categories}
    return {
        "schema": SCHEMA,
        "categories": [
            {
                "coco_id": c.coco_id,
                "coco_name": COCO_CATEGORIES[c.coco_id],
                "category_id": c.id,
                "category_name": c.name,
                "synset": c.synset,
            }
            for c in categories
            if c.coco_id is not None
        ],
        "coco_categories_not_found": [name for coco_id, name in COCO_CATEGORIES.items() if coco_id not in found],
    }


def _align_coco(ranked: list[str]) -> dict[int, str]:
    """COCO's category ids, ascending, to synsets."""
    most_frequent: dict[str, str] = {}
    for synset in ranked:
        most_frequent.setdefault(_SENSE.sub("", synset).replace("_", " "), synset)
    known = set(ranked)
    aligned = {}
    for coco_id, name in COCO_CATEGORIES.items():
        by_hand = NAMED_OTHERWISE.get(name, "")
        if by_hand in known:
            aligned[coco_id] = by_hand
        elif name in most_frequent:
            aligned[coco_id] = most_frequent[name]
    return aligned
