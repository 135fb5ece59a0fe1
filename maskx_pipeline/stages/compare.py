"""`maskx compare`: evaluated runs side by side."""

from __future__ import annotations

from maskx_pipeline.study.compare import compare_runs as compare

__all__ = ["compare"]
