"""Nulls that stand for masks."""

from __future__ import annotations

import io
import json

from maskx_pipeline.annotate.null_masks import NullMasks

TEXT = (
    b'{"info": {"note": "\\"segmentation\\": null, \\\\"}, "annotations": [\n'
    b'{"id": 1, "segmentation":null},{"id": 2, "segmentation" \n: null , "area": null},\n'
    b'{"segmentations": null, "a\\"segmentation": null, "segmentation": [[1, 2]]}, {"segmentation": null}]}'
)


def written(pieces: list[bytes]) -> tuple[bytes, int]:
    """What comes out."""
    stream = io.BytesIO()
    nulls = NullMasks(stream)
    for piece in pieces:
        assert nulls.write(piece) == len(piece)
    nulls.close()
    return stream.getvalue(), nulls.changed


def test_only_the_values_of_that_key_change() -> None:
    """Texts, other keys and other nulls stay; all else is the same byte for byte."""
    after, changed = written([TEXT])
    assert changed == 3
    assert after == (
        TEXT.replace(b'"segmentation":null', b'"segmentation":[]')
        .replace(b'"segmentation" \n: null ', b'"segmentation" \n: [] ')
        .replace(b'{"segmentation": null}', b'{"segmentation": []}')
    )
    before = json.loads(TEXT)
    for entry in before["annotations"]:
        entry["segmentation"] = entry["segmentation"] or []
    assert json.loads(after) == before


def test_where_the_pieces_end_does_not_matter() -> None:
    """A file is written a megabyte at a time."""
    for size in range(1, len(TEXT)):
        assert written([TEXT[start : start + size] for start in range(0, len(TEXT), size)]) == written([TEXT])
