"""From a person's decisions back to boxes without masks."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

from maskx_pipeline.annotate.rejected import Emptied, empty_rejected, read_rejected
from maskx_pipeline.config import AnnotateConfig, DataConfig
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.provenance.files import sha256_of_file
from maskx_pipeline.provenance.lock import locked
from maskx_pipeline.provenance.made_from import finished_note, noted_path, report_path
from maskx_pipeline.settings import digest_of

logger = logging.getLogger("maskx")


def reject_masks(
    config: AnnotateConfig, data: DataConfig, dataset: Path, rejected: Path, *, overwrite: bool = False
) -> Emptied:
    """Write an annotation file to ``config.out`` in which the rejected masks are empty, all else as it was.

    Args:
        dataset: What was reviewed.
        rejected: A CSV of annotation ids, as the review page gives it.

    Raises:
        ConfigError: ``config.out`` is an input.
        OutputError: It holds something else.
        DataError: The CSV is not of this file.
    """
    report = report_path(config.out)
    written = {path.resolve() for path in (config.out, report)}
    for path in (dataset, rejected, data.train_annotations, data.val_annotations):
        if path.resolve() in written:
            raise ConfigError(f"{path} would be overwritten by --out {config.out}.", "give another file with --out")
    ids = read_rejected(rejected)
    digest = sha256_of_file(dataset)
    made_from = {"annotation file": digest, "rejected": digest_of(sorted(ids))}
    with locked(config.out):
        note = finished_note(report, config.out, made_from, overwrite=overwrite)
        if note is not None:
            logger.info("%s is finished and unchanged.", config.out)
            return Emptied(**note["counts"])
        content: dict[str, Any] = {}
        with noted_path(config.out, report, made_from, content) as temporary:
            emptied = dataclasses.replace(empty_rejected(dataset, temporary, ids, digest=digest), out=str(config.out))
            content["counts"] = emptied.to_json()
    if not ids:
        logger.warning("%s rejects nothing.", rejected)
    return emptied
