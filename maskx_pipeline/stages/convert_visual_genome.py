"""`maskx convert visual-genome`: Visual Genome in COCO format."""

from __future__ import annotations

from maskx_pipeline.convert.visual_genome import convert_visual_genome

__all__ = ["convert_visual_genome"]
