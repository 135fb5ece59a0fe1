"""`maskx plot-splits`: the paper's Figure 3."""

from __future__ import annotations

from pathlib import Path

import click

from maskx_pipeline.commands.options import json_option, overwrite_option, print_report


@click.command(name="plot-splits", short_help="What T gains on many splits, as a plot (Figure 3).")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write: .svg, .pdf or .png."
)
@json_option
@overwrite_option
def command(runs: tuple[Path, ...], out: Path, as_json: bool, overwrite: bool) -> None:
    """Plot what T gains over the baseline on each split, from evaluated RUNS, and print the numbers.

    Give a baseline and a model with T for each of several splits, such as random-20-1 to random-60-5. Each split is a
    point: the relative change of mask AP on its unseen categories, against the mean number of mask annotations of its
    seen ones. A line is the mean of the splits with as many seen categories. Splits whose baseline has no AP above zero
    are only printed; where there are no others, no file is written.
    """
    from maskx_pipeline.stages.plot_splits import plot_splits

    print_report(plot_splits(runs, out, overwrite=overwrite), as_json=as_json)
