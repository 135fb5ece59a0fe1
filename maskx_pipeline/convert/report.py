"""The report of a conversion: what was written from what, whether all of it is there, and the digests of its files."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from maskx_pipeline.errors import DataError, OutputError
from maskx_pipeline.provenance.file_lists import FILES, listed_files
from maskx_pipeline.provenance.files import sha256_of_file
from maskx_pipeline.provenance.made_from import are_written
from maskx_pipeline.provenance.seals import DamagedError, read_json_file, sealed_json

logger = logging.getLogger("maskx")

REPORT_FILE = "report.json"
_ELSEWHERE = "give another folder with --out"


def is_finished(out: Path, splits: Iterable[str], info: Mapping[str, Any], *, overwrite: bool) -> bool:
    """Whether a conversion is there with all that its report lists; then that is said.

    Args:
        splits: The names of its annotation files.
        info: How each of them begins.

    Raises:
        OutputError: The folder holds annotations of something else.
    """
    if overwrite or not are_written([out / f"{split}.json" for split in splits], info):
        return False
    listed = listed_files(out / REPORT_FILE)
    if not listed or not all((out / name).is_file() for name in listed):
        return False
    logger.info("%s is finished and unchanged.", out)
    return True


def refuse_inputs(out: Path, names: Iterable[str], inputs: Iterable[Path]) -> None:
    """Keep what a conversion reads from being replaced by what it writes, and a report.json of another program.

    Args:
        names: Of the files to write.

    Raises:
        OutputError: One of them is an input, or that report; also with --overwrite.
    """
    for path in (out / name for name in names):
        if any(path.exists() and one.exists() and path.samefile(one) for one in inputs):
            raise OutputError(f"{path} is what is read, and would be overwritten.", _ELSEWHERE)
    try:
        known = not (out / REPORT_FILE).exists() or "info" in read_report(out)
    except DamagedError:  # of a file that had a seal, as maskx's have
        known = True
    except (OSError, ValueError, TypeError):
        known = False
    if not known:
        raise OutputError(f"{out / REPORT_FILE} exists, and was not written by maskx.", _ELSEWHERE)


def check_found(splits: Mapping[str, Mapping[str, int]], hint: str) -> None:
    """Say so where a conversion found little of what a data set consists of.

    Args:
        splits: For each the number of images and of boxes.

    Raises:
        DataError: There is no image.
    """
    if not any(counts["images"] for counts in splits.values()):
        raise DataError(f"there is no image in what was given ({', '.join(splits)}).", hint)
    for split, counts in splits.items():
        if not counts["boxes"]:
            logger.warning("%s has no %s: %s", split, "boxes" if counts["images"] else "images", hint)


def write_report(report: Mapping[str, Any], paths: Mapping[str, Path]) -> None:
    """Write the report with the digests of the other files of a conversion.

    Args:
        paths: Name to temporary file, whole but for that of the report.
    """
    files = {name: sha256_of_file(path) for name, path in sorted(paths.items()) if name != REPORT_FILE}
    paths[REPORT_FILE].write_text(sealed_json({**report, FILES: files}), encoding="utf-8")


def read_report(folder: Path) -> dict[str, Any]:
    """What a conversion counted: its report.json."""
    report: dict[str, Any] = read_json_file(folder / REPORT_FILE)
    return report


def log_report(report: Mapping[str, Any]) -> None:
    """Say what was written, and what was not."""
    for split, counts in report["splits"].items():
        logger.info("%s: %d images, %d boxes, %d masks", split, counts["images"], counts["boxes"], counts["masks"])
    for reason, count in report["dropped"].items():
        logger.warning("%d %s", count, reason)
