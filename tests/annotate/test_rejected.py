"""Emptying the masks that a person rejected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maskx_pipeline.annotate.rejected import empty_rejected, read_rejected
from maskx_pipeline.errors import DataError
from maskx_pipeline.provenance.files import sha256_of_file

TEXT = (
    '{"annotations": [\n'
    ' {"id": 1, "bbox": [0, 0, 4, 5], "segmentation": [[0,0,4,0,4,5]], "area": 10.0, "mask_confidence": 0.5, '
    '"mask_source": "maskx:a#1"},\n'
    ' {"id": 2,  "bbox": [0, 0, 4, 5], "segmentation": [[0,0,4,0,4,5]], "area": 10.0},\n'
    ' {"id": 3, "bbox": [0, 0, 4, 5], "segmentation": []},\n'
    ' {"id": 4, "bbox": [0, 0, 4, 5], "segmentation": [[0,0,4,0,4,5]], "mask_source": "maskx:a#1"}\n'
    ' ], "images": []}'
)


def write_csv(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_only_masks_of_maskx_are_emptied_and_no_other_byte_changes(tmp_path: Path) -> None:
    """A person's mask stays, though it is in the list."""
    dataset, out = write_csv(tmp_path / "a.json", TEXT), tmp_path / "b.json"
    done = empty_rejected(dataset, out, {1, 2, 3}, digest=sha256_of_file(dataset))
    assert (done.emptied, done.others, done.empty, done.filled) == (1, 1, 1, 1)
    assert out.read_text(encoding="utf-8") == TEXT.replace(
        '"segmentation": [[0,0,4,0,4,5]], "area": 10.0, "mask_confidence": 0.5, "mask_source": "maskx:a#1"}',
        '"segmentation": [], "area": 20.0}',
    )
    assert "1 rejected masks are not from maskx" in done.to_text()


def test_an_id_that_is_not_in_the_file_is_an_error(tmp_path: Path) -> None:
    """The CSV is of another file; nothing is written. An id that stands twice cannot be meant either."""
    dataset = write_csv(tmp_path / "a.json", TEXT)
    with pytest.raises(DataError, match="id 7 and 1 others"):
        empty_rejected(dataset, tmp_path / "b.json", {1, 7, 8}, digest=sha256_of_file(dataset))
    twice = json.loads(TEXT)
    twice["annotations"][3]["id"] = 1
    dataset.write_text(json.dumps(twice))
    with pytest.raises(DataError, match="or several, with the id 1"):
        empty_rejected(dataset, tmp_path / "b.json", {1}, digest=sha256_of_file(dataset))
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("annotation_id,decision,confidence\n1,accepted,0.5\n22,rejected,0.1\n", {22}),
        ("\ufeffconfidence,annotation_id\n0.5,3\n0.5, 4\n", {3, 4}),
        ("annotation_id\n", set()),
    ],
)
def test_the_csv_of_the_page_and_a_list_of_ids_are_read(tmp_path: Path, text: str, ids: set[int]) -> None:
    """Without a column `decision` all of them are rejected."""
    assert read_rejected(write_csv(tmp_path / "d.csv", text)) == ids


@pytest.mark.parametrize(
    ("text", "message"),
    [("id\n1\n", "no column annotation_id"), ("", "no column"), ("annotation_id\n1\nx\n", "line 3: `x`")],
)
def test_a_csv_of_another_kind_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    """It names the line."""
    with pytest.raises(DataError, match=message):
        read_rejected(write_csv(tmp_path / "d.csv", text))


def test_what_is_no_annotation_file_is_an_error(tmp_path: Path) -> None:
    """JSON or not."""
    for text in ("no json", "[1]", '{"annotations": 3}'):
        dataset = write_csv(tmp_path / "a.json", text)
        with pytest.raises(DataError, match="COCO format"):
            empty_rejected(dataset, tmp_path / "b.json", {1}, digest=sha256_of_file(dataset))
