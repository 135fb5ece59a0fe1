"""What `maskx convert from` writes: a bit that rots in any of it is found by `maskx verify`."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from formats_world import (
    maskx,
    write_labelme,
    write_lvis,
    write_objects365,
    write_open_images,
    write_voc,
    write_yolo,
)

from maskx_pipeline.stages.verify import verify

_FLIPS = 12


@pytest.mark.parametrize(
    ("name", "write", "files"),
    [
        ("yolo", write_yolo, {"train.json", "val.json", "report.json"}),
        ("voc", write_voc, {"train.json", "val.json", "report.json"}),
        ("labelme", write_labelme, {"train.json", "report.json"}),
        ("open-images", write_open_images, {"train.json", "val.json", "report.json"}),
        ("lvis", write_lvis, {"val.json", "report.json"}),
        ("objects365", write_objects365, {"train.json", "val.json", "category-map.json", "report.json"}),
    ],
)
def test_a_flip_in_each_file_is_found(tmp_path: Path, name: str, write: Callable[[Path], Any], files: set[str]) -> None:
    """By the seal of the report, and its list of the others; what is gone is missed, and written again."""
    words = ("convert", "from", name, str(write(tmp_path / "set")), "--out", str(tmp_path / "out"))
    maskx(*words)
    out = tmp_path / "out"
    assert files <= {path.name for path in out.iterdir()}
    assert {found.state for found in verify(out).files} == {"sound"}
    drawn = random.Random(5)
    for path in sorted(out.iterdir()):
        sound = path.read_bytes()
        ends = [8 * len(sound) - 8 * 75 - bit for bit in range(1, 8 * 24, 16)]  # also the seal's own mark
        for place in [*(drawn.randrange(8 * len(sound)) for _ in range(_FLIPS)), *ends]:
            raw = bytearray(sound)
            raw[place // 8] ^= 1 << place % 8
            path.write_bytes(raw)
            assert path in {found.path for found in verify(out).damaged}, (path.name, place)
        path.unlink()
        if path.name != "report.json":
            assert path in {found.path for found in verify(out).damaged}
        assert "finished and unchanged" not in maskx(*words)
        assert path.read_bytes() == sound
