"""What was measured about a model's masks, kept beside the annotation file that they fill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from maskx_pipeline.annotate.quality import AnnotationQuality
from maskx_pipeline.annotate.reliability import MaskScore
from maskx_pipeline.engine import distributed
from maskx_pipeline.errors import OutputError
from maskx_pipeline.provenance.files import write_json
from maskx_pipeline.provenance.made_from import AGAIN, MadeFrom, differences, read_json


def evidence_path(out: Path) -> Path:
    """The measurement beside the annotation file."""
    return out.with_name(f"{out.stem}.quality.json")


def kept_quality(path: Path, made_from: MadeFrom, measure: Callable[[], AnnotationQuality]) -> AnnotationQuality:
    """What was measured before, if it was of the same model and masks; else measure, in all processes, and keep it.

    Raises:
        OutputError: The file is another program's.
    """
    quality = distributed.on_main(lambda: _kept(path, made_from))
    if quality is None:
        measured = quality = measure()
        kept = {"made_from": dict(made_from), "quality": asdict(measured)}
        distributed.on_main(lambda: write_json(path, kept))
    return quality


def _kept(path: Path, made_from: MadeFrom) -> AnnotationQuality | None:
    content = read_json(path)
    if path.exists() and (content is None or not {"made_from", "quality"} <= content.keys()):
        raise OutputError(f"{path} exists, and was not written by maskx.", AGAIN)
    if content is not None and not differences(content["made_from"], made_from):
        stored = content["quality"]
        scores = tuple(MaskScore(**score) for score in stored["scores"])
        lists = {name: tuple(stored[name]) for name in ("categories", "unreadable")}
        return AnnotationQuality(**{**stored, **lists, "scores": scores})
    return None
