"""`maskx plot-splits`: the change of AP by split as a plot (Figure 3)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from maskx_pipeline.errors import listed
from maskx_pipeline.provenance.files import check_ending, remove_file
from maskx_pipeline.provenance.lock import locked
from maskx_pipeline.stages.inputs import refuse_to_replace
from maskx_pipeline.study import splits_plot
from maskx_pipeline.study.splits import SplitStudy, read_splits

logger = logging.getLogger("maskx")

_NAMED = 10  # splits that are not drawn


def plot_splits(folders: Iterable[Path], out: Path, *, overwrite: bool = False) -> SplitStudy:
    """Plot the relative change of AP on unseen categories against the masks per seen one: a point per split.

    Where no split has a change, nothing is drawn, and that is logged.

    Args:
        folders: Evaluated runs: on each split a baseline and a model with T.
        out: The file; .svg, .pdf or .png.
    """
    check_ending(out, splits_plot.FORMATS)
    with locked(out):
        refuse_to_replace(out, overwrite)
        return _plot_splits(read_splits(folders), out)


def _plot_splits(study: SplitStudy, out: Path) -> SplitStudy:
    if not study.by_size():
        remove_file(out)  # an earlier plot, of other numbers
        logger.warning(
            "%s is not written: the baseline has no AP above zero on the unseen categories of any split, so there is "
            "no change to show. Train longer, or check with `maskx compare` what was measured.",
            out,
        )
        return study
    if absent := [point.split for point in study.points if point.change is None]:
        logger.warning("Not drawn, because the baseline has no AP above zero: %s.", listed(absent, _NAMED))
    splits_plot.plot_splits(study, out)
    return study
