"""The folder of a review: what is in it, in which order, and that it is whole or not there."""

from __future__ import annotations

import csv
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from review_world import EVIL, FILES, MASKS, review, write_annotated

from maskx_pipeline.annotate import review_folder
from maskx_pipeline.errors import OutputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_annotated(tmp_path)
    return tmp_path


def values_of(script: Path) -> list[Any]:
    """The arguments of the call that a script of data is."""
    found = re.fullmatch(r"maskx\w+\((.*)\);\n", script.read_text(encoding="ascii"))
    assert found
    values: list[Any] = json.loads(f"[{found[1]}]")
    return values


def worklist(written: Path) -> list[dict[str, str]]:
    with (written / "worklist.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_worklist_has_boxes_without_masks_first_and_then_masks_least_certain_first(folder: Path) -> None:
    """With the reason; a person's own mask is not in it, and no text can be taken for a formula."""
    rows = worklist(review(folder))
    assert [int(row["annotation_id"]) for row in rows] == [62, 63, 61, *range(MASKS, 0, -1)]
    assert [(row["reason"], row["confidence"]) for row in rows[:3]] == [
        ("no mask: the model finds nothing in the box", ""),
        ("no mask: image cannot be read", ""),
        ("no mask: too uncertain", "0.2500"),
    ]
    by_id = {int(row["annotation_id"]): row for row in rows}
    assert by_id[1] == {
        "file_name": "'=1.png", "annotation_id": "1", "category": "'=2+3", "confidence": "0.9900", "reason": "",
    }  # fmt: skip
    assert by_id[2]["reason"] == "touches 3 of the 4 sides of its box; 2 parts; category unseen"
    assert (by_id[2]["file_name"], by_id[3]["category"]) == (FILES[2], EVIL)


def test_with_a_second_opinion_the_masks_that_agree_least_come_first(folder: Path) -> None:
    """Here the most certain ones: by a teacher, and by the model. The page stays least certain first."""
    path = folder / "annotated.json"
    content = json.loads(path.read_text())
    first, second = content["annotations"][:2]
    first |= {"mask_agreement": 0.2, "mask_source": "teacher:=Own#1", "second_opinion": "maskx:m#1"}
    second |= {"mask_agreement": 0.5, "second_opinion": "teacher:=Own#1"}
    path.write_text(json.dumps(content))
    written = review(folder)
    rows = worklist(written)
    assert [int(row["annotation_id"]) for row in rows[:6]] == [62, 63, 61, 1, 2, 60]
    assert [(row["agreement"], row["mask_by"]) for row in rows[2:5]] == [
        ("", ""),
        ("0.2000", "'=Own"),
        ("0.5000", "model"),
    ]
    assert rows[3]["reason"] == "agreement 0.20 with the second opinion"
    assert "second opinion" not in rows[4]["reason"]
    [index] = values_of(written / "data" / "index.js")
    assert index["ids"] == [str(number) for number in range(MASKS, 0, -1)]


def test_the_page_has_the_least_certain_masks_up_to_the_limit_and_says_so(folder: Path) -> None:
    """The worklist has all."""
    written = review(folder, limit=10)
    [index] = values_of(written / "data" / "index.js")
    assert index["ids"] == [str(number) for number in range(60, 50, -1)]
    assert index["confidences"] == [100 * number for number in range(40, 50)]
    assert [index["names"][place][0] for place in index["categories"][:3]] == [EVIL, "猫 & co", "=2+3"]
    page = (written / "index.html").read_text(encoding="utf-8")
    assert "The 10 least certain of 60 masks" in page
    assert "confidence 0.49 or less" in page
    assert len(list((written / "crops").rglob("*.webp"))) == 10
    assert len(worklist(written)) == MASKS + 3


def test_a_mask_is_drawn_where_it_is_in_its_crop(folder: Path) -> None:
    """The box is 40 x 20 at (20, 30) with a margin of 8; a ring of RLE has its hole."""
    written = review(folder)
    [number, details] = values_of(written / "data" / "00000.js")
    assert number == 0
    file_name, reason, pictured, width, height, *box, path = details[MASKS - 1]  # annotation 1
    assert (file_name, reason, pictured) == (FILES[1], "", 1)
    assert (width, height, box) == (57, 37, [8, 8, 40, 20])
    assert path == "M8 8L48 8L48 28L8 28Z"
    ring = details[MASKS - 6][-1]
    assert ring.count("M") == 2
    with Image.open(written / "crops" / "000" / f"{MASKS - 1:06d}.webp") as crop:
        assert crop.size == (57, 37)


def test_names_of_the_data_are_never_markup_nor_paths(folder: Path) -> None:
    """They are escaped in the page, strings of ASCII in the scripts, and no file is called after them."""
    written = review(folder)
    for path in (written / "index.html", *(written / "data").iterdir()):
        assert "<img" not in path.read_text(encoding="utf-8")
        assert re.fullmatch(r"index\.(html|js)|\d{5}\.js", path.name)
    names = {path.relative_to(written).as_posix() for path in (written / "crops").rglob("*.webp")}
    assert names == {f"crops/000/{rank:06d}.webp" for rank in range(MASKS)}


def test_finished_it_is_left_alone_and_another_one_is_refused(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """--overwrite replaces it, but never what a person put there or what is not maskx's."""
    written = review(folder)
    when = (written / "index.html").stat().st_mtime_ns
    review(folder)
    assert (written / "index.html").stat().st_mtime_ns == when
    with pytest.raises(OutputError, match="review-limit: 2000 -> 5"):
        review(folder, limit=5)
    review(folder, limit=5, overwrite=True)
    assert "The 5 least certain" in (written / "index.html").read_text(encoding="utf-8")
    (written / "decisions.csv").write_text("mine")
    review(folder, limit=5)
    with pytest.raises(OutputError, match=r"decisions\.csv, which would be lost"):
        review(folder, limit=6, overwrite=True)
    (written / "review.json").unlink()
    with pytest.raises(OutputError, match="was not written by maskx"):
        review(folder, overwrite=True)
    assert (written / "decisions.csv").read_text() == "mine"


def test_interrupted_there_is_no_folder_and_an_earlier_one_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it is the last file that fails; nothing is left beside it."""
    for there in (False, True):
        if there:
            review(folder, limit=5)
        before = sorted(folder.rglob("*"))
        with monkeypatch.context() as patch:

            def stop(*_: Any, **__: Any) -> None:
                raise KeyboardInterrupt

            patch.setattr(review_folder, "render_review", stop)
            with pytest.raises(KeyboardInterrupt):
                review(folder, overwrite=True)
        assert sorted(folder.rglob("*")) == before


def test_a_missing_image_leaves_its_masks_without_a_picture(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Everything else is there."""
    (folder / "images" / FILES[1]).unlink()
    written = review(folder)
    details = values_of(written / "data" / "00000.js")[1]
    assert {one[2] for one in details if one[0] == FILES[1]} == {0}
    assert {one[2] for one in details if one[0] == FILES[2]} == {1}
    assert "shown without a picture" in caplog.text


def test_an_image_in_a_subfolder_has_its_picture(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the annotation file leaves the folder out, as some tools do."""
    (folder / "images" / "camera").mkdir()
    (folder / "images" / FILES[1]).rename(folder / "images" / "camera" / FILES[1])
    with caplog.at_level(logging.WARNING, logger="maskx"):  # a command that ran before lets more through
        written = review(folder)
    assert not caplog.records
    assert len(list((written / "crops").rglob("*.webp"))) == MASKS


def test_without_a_measurement_the_page_says_so(folder: Path) -> None:
    """And with one of seen categories alone it warns of unseen ones."""
    from review_world import quality

    assert "It was not measured" in (review(folder, quality=None) / "index.html").read_text(encoding="utf-8")
    page = (review(folder, quality=quality(unseen=False), overwrite=True) / "index.html").read_text(encoding="utf-8")
    assert "masks of unseen ones may be worse" in page
    assert "unseen-mark" not in page.split("</style>")[1]
