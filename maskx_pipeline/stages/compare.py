"""`maskx compare`: evaluated runs side by side."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from maskx_pipeline.study.compare import Comparison, compare_runs


def compare(folders: Iterable[Path], *, all_figures: bool = False) -> Comparison:
    """The mask AP of evaluated runs side by side, from what they recorded; or all of COCO's figures."""
    return compare_runs(folders, all_figures=all_figures)
