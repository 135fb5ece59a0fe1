"""What was measured is kept beside the annotation file."""

from __future__ import annotations

from pathlib import Path

import pytest
from review_world import quality

from maskx_pipeline.annotate.evidence import evidence_path, kept_quality
from maskx_pipeline.annotate.quality import AnnotationQuality
from maskx_pipeline.errors import OutputError


def test_it_is_measured_once_for_each_model(tmp_path: Path) -> None:
    """And read back as it was."""
    path, measured = evidence_path(tmp_path / "annotated.json"), []

    def measure() -> AnnotationQuality:
        measured.append(1)
        return quality(unseen=len(measured) == 1)

    assert kept_quality(path, {"model": "a"}, measure) == quality()
    assert kept_quality(path, {"model": "a"}, measure) == quality()
    assert len(measured) == 1
    assert kept_quality(path, {"model": "b"}, measure) == quality(unseen=False)
    assert path.name == "annotated.quality.json"


@pytest.mark.parametrize("text", ["no json", "[]", "{}", '{"made_from": {}, "other": 1}'])
def test_a_file_of_that_name_that_is_not_maskxs_is_left_alone(tmp_path: Path, text: str) -> None:
    """It is named."""
    path = tmp_path / "annotated.quality.json"
    path.write_text(text)
    with pytest.raises(OutputError, match="was not written by maskx"):
        kept_quality(path, {"model": "a"}, quality)
    assert path.read_text() == text
