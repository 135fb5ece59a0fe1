"""Crowd regions: how many objects they take from training, and whether a tool made them."""

from __future__ import annotations

from collections import Counter

import numpy as np

from maskx_pipeline.data.findings import Finding, finding
from maskx_pipeline.data.kinds import CROWDED, CROWDS
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.doctor.columns import examples_of
from maskx_pipeline.errors import listed

_FEWEST = 3
"""Crowds of a category: with fewer, all may be so by chance."""

_SHARE = 0.25
"""Of a category's objects, or of its masks: in a sample of COCO with crowds of its own, the most is 0.07."""

_NAMED = 10


def crowd_findings(data: CocoData, part: str) -> list[Finding]:
    """Count crowds by category; those of a category that is nearly all crowds are suspected."""
    table = data.annotations()
    if not table.iscrowd.any():
        return []
    crowds = Counter(table.labels[table.iscrowd].tolist())
    every = Counter(table.labels.tolist())
    masked = Counter(table.labels[table.has_mask].tolist())
    lost = Counter(table.labels[table.has_mask & table.iscrowd].tolist())
    suspect = {
        label
        for label, count in crowds.items()
        if count >= _FEWEST
        and (count >= _SHARE * every[label] or (lost[label] >= _FEWEST and lost[label] >= _SHARE * masked[label]))
    }
    found = []
    for kind, labels in ((CROWDED, suspect), (CROWDS, crowds.keys() - suspect)):
        rows = np.flatnonzero(table.iscrowd & np.isin(table.labels, sorted(labels)))
        if len(rows):
            names = [f"{data.category(n).name} ({crowds[n]} of {every[n]})" for n in sorted(labels)]
            examples = examples_of(data, rows)
            said = listed(names, _NAMED)
            found.append(finding(kind, part, count=len(rows), of=len(table), said=said, examples=examples))
    return found
