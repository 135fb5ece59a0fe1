"""A file that is not what its name says, or broken in one place: a known error that names it; nothing is written."""

from __future__ import annotations

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

DEEP = "[" * 20_000
CLASSES = '"categories": [{"id": 1, "name": "a"}]'
BOXES = "ImageID,LabelName,XMin,XMax,YMin,YMax\n"

LABELME = (write_labelme, "labelme", "b.json")
OPEN_IMAGES = (write_open_images, "open-images", "validation-annotations-bbox.csv")
OBJECTS = (write_objects365, "objects365", "zhiyuan_objv2_val.json")
LVIS = (write_lvis, "lvis", "lvis_v1_val.json")


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (LABELME, DEEP),
        (LABELME, b"\xff\xfe["),
        (OPEN_IMAGES, f"{BOXES}00cc,/m/man,0.1\n"),
        (OPEN_IMAGES, f"{BOXES}00cc,/m/man,left,0.2,0.1,0.2\n"),
        (OPEN_IMAGES, BOXES.encode("utf-16")),
        (OPEN_IMAGES, b"\xff\xfe\x00"),
        ((write_open_images, "open-images", "train-annotations-object-segmentation.csv"),
         "MaskPath,ImageID,LabelName,BoxXMin\na.png,00aa,/m/man,0.1\n"),
        (OBJECTS, DEEP),
        (OBJECTS, f'{{"images": [{{"id": 1, "file_name": 5}}], "annotations": [], {CLASSES}}}'),
        (OBJECTS, '{"images": [{"id": 1, "file_name": "a"}], "annotations": [], "categories": [{"id": 1}]}'),
        (LVIS, f'{{"images": [{{"id": 1, "coco_url": 5}}], "annotations": [], {CLASSES}}}'),
        (LVIS, f'{{"images": [], "annotations": [], {CLASSES}}}'),
        ((write_voc, "voc", "Annotations/2007_000002.xml"), "<annotation>" * 20_000),
        ((write_yolo, "yolo", "labels/val/c.txt"), b"\xff\xfe0"),
    ],
)  # fmt: skip
def test_it_is_named(tmp_path: Path, kind: tuple[Callable[[Path], Any], str, str], content: str | bytes) -> None:
    """Whatever reads it."""
    write, name, file = kind
    write(tmp_path / "set")
    path = tmp_path / "set" / file
    assert path.is_file()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    source = path if name in ("objects365", "lvis") else tmp_path / "set"
    said = maskx("convert", "from", name, str(source), "--out", str(tmp_path / "out"), code=1)
    assert "Error: " in said
    assert "->" in said
    assert file in said or "no image" in said
    assert not list((tmp_path / "out").glob("*"))


def test_the_categories_of_masks_are_read_as_carefully(tmp_path: Path) -> None:
    """Those that --masks-annotations names."""
    write_objects365(tmp_path / "set")
    (tmp_path / "deep.json").write_text(DEEP)
    words = ("objects365", str(tmp_path / "set"), "--out", str(tmp_path / "out"))
    said = maskx("convert", "from", *words, "--masks-annotations", str(tmp_path / "deep.json"), code=1)
    assert "deep.json has no categories" in said


def test_what_is_read_is_never_overwritten(tmp_path: Path) -> None:
    """Not even where it is said that what is there is to be."""
    source = write_lvis(tmp_path / "set") / "lvis_v1_val.json"
    own = source.rename(source.with_name("train.json"))
    before = own.read_bytes()
    said = maskx("convert", "from", "lvis", str(own), "--out", str(own.parent), "--overwrite", code=1)
    assert "is what is read, and would be overwritten" in said
    assert own.read_bytes() == before


def test_a_report_of_another_program_stays(tmp_path: Path) -> None:
    """LabelMe writes one beside report.jpg; one of maskx that is damaged is written again."""
    folder = write_labelme(tmp_path / "set")
    report = folder / "report.json"
    report.write_text('{"shapes": []}')
    for more in ((), ("--overwrite",)):
        said = maskx("convert", "from", "labelme", str(folder), "--out", str(folder), *more, code=1)
        assert "report.json exists, and was not written by maskx" in said
        assert report.read_text() == '{"shapes": []}'
    report.unlink()
    out = tmp_path / "out"
    maskx("convert", "from", "labelme", str(folder), "--out", str(out))
    sound = (out / "report.json").read_bytes()
    (out / "report.json").write_bytes(sound.replace(b"images", b"imagez", 1))
    maskx("convert", "from", "labelme", str(folder), "--out", str(out))
    assert (out / "report.json").read_bytes() == sound
