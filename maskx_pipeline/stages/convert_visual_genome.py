"""`maskx convert visual-genome`: Visual Genome in COCO format."""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.config import VisualGenomeConfig
from maskx_pipeline.convert import visual_genome


def convert_visual_genome(config: VisualGenomeConfig, *, overwrite: bool = False) -> Path:
    """Convert Visual Genome's own files to COCO-format train, val and test annotations, COCO's categories first.

    Returns:
        The folder ``config.out``, with the map of COCO's categories and a report of every dropped object.
    """
    return visual_genome.convert_visual_genome(config, overwrite=overwrite)
