"""`maskx verify`: whether files are still what maskx wrote."""

from __future__ import annotations

from pathlib import Path

import click

from maskx_pipeline.commands.options import json_option, print_report
from maskx_pipeline.errors import CheckFailedError


@click.command(name="verify", short_help="Whether files are still what was written.")
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option("--all", "every", is_flag=True, help="Name every file, not only the damaged ones.")
@json_option
def command(path: Path, every: bool, as_json: bool) -> None:
    """Check PATH against the checksums that maskx wrote: a run folder, a cache, a project folder, or any file.

    Exits with 3 where a file is damaged or gone, and says how to make it again. Reads everything, so a large cache
    takes as long as copying it. Images and files of your own have no checksums.
    """
    from maskx_pipeline.stages.verify import verify

    found = verify(path)
    print_report(found, as_json=as_json, **({} if as_json else {"every": every}))
    if found.damaged:
        raise CheckFailedError(f"not what was written: {len(found.damaged)} of {len(found.files)}.")
