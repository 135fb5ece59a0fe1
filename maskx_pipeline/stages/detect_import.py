"""A detector from elsewhere in the place of one trained here."""

from __future__ import annotations

import logging
from pathlib import Path

from maskx_pipeline.config import DataConfig, ImportConfig
from maskx_pipeline.data.records import categories_to_json
from maskx_pipeline.detection.identity import record_identities
from maskx_pipeline.detection.torchvision_import import import_detector as read_detector
from maskx_pipeline.detection.torchvision_import import source_digest
from maskx_pipeline.engine.checkpoint import save_weights
from maskx_pipeline.engine.runlog import BEST_FILE, LAST_FILE, open_run
from maskx_pipeline.provenance.files import sha256_of_file
from maskx_pipeline.settings import digest_of
from maskx_pipeline.stages.inputs import read_train

logger = logging.getLogger("maskx")


def import_detector(config: ImportConfig, data: DataConfig, *, overwrite: bool = False, command: str = "") -> Path:
    """Stage 1 without training: a torchvision Faster R-CNN, its outputs mapped to the data set's categories by name.

    Returns:
        The run folder, which the next stages take like that of `maskx detect train`.
    """
    content = source_digest(config)
    categories = read_train(data).categories
    inputs = {"weights": content, "categories": digest_of([[c.id, c.name] for c in categories])}
    if config.names is not None and config.names.is_file():
        inputs["names"] = sha256_of_file(config.names)
    if overwrite:
        read_detector(config, categories)  # an error comes before anything is removed
    with open_run(
        config.out,
        stage="detect",
        identity=config.identity(),
        config={},
        inputs=inputs,
        command=command,
        overwrite=overwrite,
    ) as run:
        if run.is_finished():
            return config.out
        imported = read_detector(config, categories)
        if imported.left_out:
            logger.info(
                "%d of the %d classes that the detector knows are not in the data set and count as background: %s",
                len(imported.left_out),
                len(imported.left_out) + len(categories),
                ", ".join(imported.left_out),
            )
        for name in (BEST_FILE, LAST_FILE):  # as a training leaves them
            save_weights(config.out / name, imported.tensors, {"imported": content})
        run.update(
            config=imported.config.to_mapping(),
            categories=categories_to_json(categories),
            imported={
                **config.to_mapping(),
                "outputs": {c.name: n for c, n in zip(categories, imported.outputs, strict=True)},
                "left_out": list(imported.left_out),
            },
        )
        record_identities(run, imported.config, categories)
        run.finish()
    return config.out
