"""`maskx compare`: the runs of a study as one table."""

from __future__ import annotations

from pathlib import Path

import click

from maskx_pipeline.commands.options import json_option, print_json, print_result


@click.command(name="compare", short_help="The AP of evaluated runs as one table.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--format",
    "style",
    type=click.Choice(("text", "markdown", "csv", "json")),
    default="text",
    show_default=True,
    help="How to print the table.",
)
@json_option
@click.option("--all-figures", is_flag=True, help="Beside AP also AP50, AP75, APS, APM and APL, as in Table 2.")
def command(runs: tuple[Path, ...], style: str, as_json: bool, all_figures: bool) -> None:
    """Print the mask AP of evaluated RUNS side by side: on unseen and on seen categories, from what they recorded.

    Runs of a split of the categories and of its reverse are laid out like the paper's tables: a line per method, AP on
    B (unseen) and AP on A (seen) for each direction.
    """
    from maskx_pipeline.stages.compare import compare

    comparison = compare(runs, all_figures=all_figures)
    print_json(comparison.to_json()) if as_json or style == "json" else print_result(comparison.to_text(style))
