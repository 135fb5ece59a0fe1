"""`maskx annotate`: masks for the boxes of an annotation file."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotate_world import MIXED, SQUARE, annotate, entries, write_dataset, write_model, write_photo, write_project
from pycocotools.coco import COCO

from maskx_pipeline.provenance.lock import locked


@pytest.mark.parametrize("mask_format", ["polygons", "rle"])
def test_only_boxes_without_mask_are_filled_and_no_other_byte_changes(project: Path, mask_format: str) -> None:
    """Taking out again what was put in gives the file that was read; each reason to leave one is counted."""
    counts = json.loads(annotate(project, "boxes.json", "--json", "--mask-format", mask_format).stdout)
    before, after = entries(project / "boxes.json"), entries(project / "annotated.json")
    filled = [number for number, entry in after.items() if "mask_source" in entry]
    assert set(filled) <= {1, 3, 7, 8}
    assert {1, 7} <= set(filled)
    assert counts["filled"] + counts["empty"] == 4
    assert (counts["masked"], counts["crowd"], counts["unknown"]) == (1, 1, {"new": 1})
    assert counts["problems"] == {"zero-area box": 1}
    text, original = (project / name for name in ("annotated.json", "boxes.json"))
    for number, entry in after.items():
        assert list(entry)[: len(before[number])] == list(before[number])
        if number in filled:
            assert entry["mask_source"].startswith("maskx:tiny#")
            assert 0 < entry["mask_confidence"] <= 1
            assert entry["area"] != 1200
        else:
            assert entry == before[number]
    stripped = text.read_text(encoding="utf-8")
    for number in filled:
        new, old = (json.dumps(part[number], ensure_ascii=False) for part in (after, before))
        assert stripped.count(new) == 1
        stripped = stripped.replace(new, old)
    assert stripped == original.read_text(encoding="utf-8")


def test_the_mask_lies_in_its_box_and_is_of_its_own_category(project: Path) -> None:
    """Categories are matched by name, though ids differ; the model is surest of the first and finds no last."""
    annotate(project, "boxes.json")
    after = entries(project / "annotated.json")
    coco = COCO(str(project / "annotated.json"))
    for number in (1, 7):
        x, y, width, height = after[number]["bbox"]
        mask = coco.annToMask(coco.anns[number])
        inside = mask[y : y + height, x : x + width].sum()
        assert inside == mask.sum() == after[number]["area"]
        assert inside > 0.9 * width * height
    assert after[1]["mask_confidence"] > after[3]["mask_confidence"]
    assert "mask_source" not in after[8]


def test_finished_it_returns_at_once_and_another_model_or_input_is_named(
    project: Path, model: Path, tmp_path: Path
) -> None:
    """Nothing is done twice, nothing replaced without --overwrite; the inputs never."""
    first = annotate(project, "boxes.json", "--json")
    when = (project / "annotated.json").stat().st_mtime_ns
    again = annotate(project, "boxes.json", "--json")
    assert "unchanged" in again.stderr
    assert again.stdout == first.stdout
    other = write_model(tmp_path / "other", seed=5)
    assert "model: " in annotate(project, "boxes.json", "--model", str(other), code=1).stderr
    assert "mask-format: polygons -> rle" in annotate(project, "boxes.json", "--mask-format", "rle", code=1).stderr
    assert (project / "annotated.json").stat().st_mtime_ns == when
    annotate(project, "boxes.json", "--mask-format", "rle", "--overwrite")
    assert isinstance(entries(project / "annotated.json")[1]["segmentation"], dict)
    raw = (project / "boxes.json").read_bytes()
    assert "overwritten" in annotate(project, "boxes.json", "--out", "boxes.json", "--overwrite", code=1).stderr
    assert (project / "boxes.json").read_bytes() == raw


def test_interrupted_it_goes_on_with_the_next_image_and_gives_the_same_file(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No image is done twice, and until the end there is no result."""
    annotate(project, "boxes.json", "--out", "whole.json")
    module = importlib.import_module("maskx_pipeline.annotate.fill_journal")
    fill, done = module.fill_masks, []

    def fill_then_stop(model: Any, data: Any, annotations: Any, *rest: Any, **options: Any) -> Any:
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(annotations[0].image_id)
        return fill(model, data, annotations, *rest, **options)

    monkeypatch.setattr(module, "fill_masks", fill_then_stop)
    annotate(project, "boxes.json", code=130)
    assert not (project / "annotated.json").exists()
    assert (project / "annotated.json.partial").exists()
    error = annotate(project, "boxes.json", "--min-confidence", "0.5", code=1).stderr
    assert "min-confidence: 0.0 -> 0.5" in error
    monkeypatch.setattr(module, "fill_masks", fill)
    assert "1 of 2 images were done before" in annotate(project, "boxes.json").stderr
    assert (project / "annotated.json").read_bytes() == (project / "whole.json").read_bytes()
    assert not (project / "annotated.json.partial").exists()


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a project is filled to, with RLE, where nothing stops it."""
    folder = tmp_path_factory.mktemp("whole")
    write_project(folder, model)
    annotate(folder, "boxes.json", "--mask-format", "rle")
    return (folder / "annotated.json").read_bytes()


@pytest.mark.parametrize("after", ["note", "output", "worklist"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_killed_while_it_writes_its_files_it_finishes_at_the_next_start(
    project: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch, after: str, overwrite: bool
) -> None:
    """Without being told anything: no file of its own is another program's to it."""
    again = ["--overwrite"] if overwrite else []
    options = ["boxes.json", "--mask-format", "rle"]
    if overwrite:
        annotate(project, "boxes.json")
    files = importlib.import_module("maskx_pipeline.provenance.files")
    stage = importlib.import_module("maskx_pipeline.stages.annotate")
    move = files.move_into_place

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    def moved(temporary: Path, path: Path) -> None:
        if path.name == "annotated.json":
            if after == "output":
                move(temporary, path)
            raise KeyboardInterrupt
        move(temporary, path)

    with monkeypatch.context() as context:
        if after == "worklist":
            context.setattr(stage, "remove_file", killed)
        else:
            context.setattr(files, "move_into_place", moved)
        annotate(project, *options, *again, code=130)
    assert (project / "annotated.report.json").exists()
    said = annotate(project, *options).stderr
    assert "2 of 2 images were done before" in said
    assert (project / "annotated.json").read_bytes() == whole
    assert not (project / "annotated.json.partial").exists()
    assert "unchanged" in annotate(project, *options).stderr


def test_overwrite_checks_first_and_keeps_what_others_wrote(project: Path) -> None:
    """A wrong setting, or another program's file beside it: the earlier result is still there."""
    annotate(project, "boxes.json")
    before = (project / "annotated.json").read_bytes()
    annotate(project, "boxes.json", "--overwrite", "--model", "nowhere", code=1)
    annotate(project, "boxes.json", "--overwrite", "--second-opinion", "samm", code=1)
    partial = project / "annotated.json.partial"
    partial.write_text("a download")
    said = annotate(project, "boxes.json", "--mask-format", "rle", "--overwrite", code=1).stderr
    assert "partial exists, and was not written by maskx" in said
    assert partial.read_text() == "a download"
    assert (project / "annotated.json").read_bytes() == before


def test_two_at_once_on_one_file(project: Path) -> None:
    """The second is told who the first is, and its masks do not get into the first one's file."""
    with locked(project / "annotated.json"):
        child = os.fork()
        if child == 0:
            code = 70
            try:
                said = annotate(project, "boxes.json", "--overwrite", code=1).stderr
                code = 0 if f"process {os.getppid()} on " in said and "being written by another" in said else 71
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not (project / "annotated.json").exists()


def test_uncertain_masks_are_left_out(project: Path) -> None:
    """--min-confidence is the IoU with the true mask that the model expects; percent are refused."""
    annotate(project, "boxes.json")
    sure = {n: e["mask_confidence"] for n, e in entries(project / "annotated.json").items() if "mask_source" in e}
    least = sorted(sure.values())[1]
    options = ("boxes.json", "--min-confidence", f"{least}", "--out", "sure.json", "--json")
    counts = json.loads(annotate(project, *options).stdout)
    kept = {n for n, entry in entries(project / "sure.json").items() if "mask_source" in entry}
    assert kept == {number for number, confidence in sure.items() if confidence >= least}
    assert counts["uncertain"] == len(sure) - len(kept) > 0
    assert "50.0 is too large" in annotate(project, "boxes.json", "--min-confidence", "50", code=1).stderr


def test_that_nothing_was_filled_is_said_with_what_to_do(project: Path) -> None:
    """Each time, since the exit code is 0; and not where there was nothing to fill."""
    nothing = "warning: No mask was filled in"
    assert nothing not in annotate(project, "boxes.json").stderr
    unsure = annotate(project, "boxes.json", "--min-confidence", "1", "--out", "unsure.json")
    assert f"{nothing}: give a lower --min-confidence" in unsure.stderr
    write_dataset(project, {"a.png": "RGB"}, [{"category_id": 1}])  # of which the model finds none
    for _ in range(2):
        done = annotate(project, "boxes.json", "--out", "empty.json")
        assert "0 of 1 annotations filled" in done.stdout
        assert f"{nothing}: the model finds no pixel of the object in any of 1 boxes" in done.stderr
        assert "--model" in done.stderr
    write_dataset(project, {"a.png": "RGB"}, [{"segmentation": SQUARE}])
    assert nothing not in annotate(project, "boxes.json", "--out", "full.json").stderr


def test_unusable_images_are_named_and_tried_again_by_the_next_call(project: Path) -> None:
    """A corrupt file, a missing one and one of another size: the rest is written, and the exit code tells."""
    (project / "images" / "corrupt.jpg").write_bytes(b"no image")
    write_photo(project / "images" / "small.png", size=(30, 30))
    files = {"a.png": "RGB", "corrupt.jpg": "missing", "gone.png": "missing", "small.png": "missing"}
    write_dataset(project, files, [{"image_id": number} for number in (1, 2, 3, 4)])
    done = annotate(project, "boxes.json", code=1)
    for name in ("corrupt.jpg", "gone.png", "small.png"):
        assert name in done.stderr
    assert "30x30" in done.stderr
    assert "3 images cannot be used" in done.stderr
    assert [n for n, entry in entries(project / "annotated.json").items() if "mask_source" in entry] == [1]
    for name in ("corrupt.jpg", "gone.png", "small.png"):
        write_photo(project / "images" / name)
    assert "1 of 4 images were done before" in annotate(project, "boxes.json").stderr
    assert all("mask_source" in entry for entry in entries(project / "annotated.json").values())


def test_photos_of_every_kind_are_filled(project: Path) -> None:
    """Greyscale, 16-bit, CMYK, palette, transparent, and turned by EXIF."""
    files = {"l.png": "L", "i.png": "I;16", "c.jpg": "CMYK", "p.png": "P", "t.png": "RGBA", "e.jpg": "exif"}
    write_dataset(project, files, [{"image_id": number} for number in range(1, len(files) + 1)])
    counts = json.loads(annotate(project, "boxes.json", "--json").stdout)
    assert counts["filled"] == len(files)


def test_a_byte_order_mark_and_floats_as_ids_are_taken(project: Path) -> None:
    """The mark is left out, since pycocotools refuses it; 1.0 stays 1.0."""
    path = project / "boxes.json"
    text = (
        path.read_text(encoding="utf-8").replace('"id": 1,', '"id": 1.0,').replace('"image_id": 1,', '"image_id": 1.0,')
    )
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert "byte order mark" in annotate(project, "boxes.json").stderr
    written = (project / "annotated.json").read_text(encoding="utf-8")
    assert written.startswith('{"info": {"year": 2.5}')
    assert '"id": 1.0, "image_id": 1.0,' in written
    assert "mask_source" in COCO(str(project / "annotated.json")).anns[1]


def test_what_is_missing_is_said(project: Path, tmp_path: Path) -> None:
    """The image folder of another file, categories that the model does not know, a folder that is not there."""
    path = write_dataset(tmp_path / "images" / "..", {}, MIXED, name="other.json")
    assert "--images" in annotate(project, str(path), code=1).stderr
    assert "does not exist" in annotate(project, str(path), "--images", "nowhere", code=1).stderr
    content = json.loads((project / "boxes.json").read_text(encoding="utf-8"))
    content["categories"] = [{"id": number, "name": f"no {number}"} for number in (1, 2, 3, 4)]
    path.write_text(json.dumps(content))
    error = annotate(project, str(path), "--images", "images", code=1).stderr
    assert "no category of the model" in error
    assert "猫" in error


def test_evaluating_hides_the_masks_that_exist_and_writes_nothing(project: Path) -> None:
    """IoU per category and for seen and unseen ones, against the file's own masks."""
    whole = [[4, 5, 44, 5, 44, 35, 4, 35]]
    left_half = [[4, 5, 24, 5, 24, 35, 4, 35]]
    boxes = [
        {"segmentation": whole},
        {"segmentation": left_half, "image_id": 2},
        {"category_id": 2, "segmentation": whole},
    ]
    write_dataset(project, {"a.png": "RGB", "b.png": "RGB"}, [*boxes, {}, *MIXED[3:6]])
    before = sorted(project.iterdir())
    report = json.loads(annotate(project, "boxes.json", "--evaluate", "--json").stdout)
    by_name = {row["name"]: row for row in report["categories"]}
    assert set(by_name) == {'dog/"cat"', "猫"}
    assert by_name['dog/"cat"'] == {"name": 'dog/"cat"', "seen": True, "masks": 2, "mask_iou": pytest.approx(75, abs=4)}
    assert report["sets"]["seen"]["masks"] == 2
    assert report["sets"]["unseen"]["mask_iou"] == by_name["猫"]["mask_iou"]
    ious = [row["mask_iou"] for row in by_name.values()]
    assert report["sets"]["all"]["mask_iou_of_categories"] == pytest.approx(np.mean(ious))
    assert report["min_confidence"][0]["all"]["kept"] == 100
    shapes = report["at_boxes"]["sets"]
    # Two whole boxes and a left half; seen are a whole one and the half. The ellipse has pi / 4 of the box, nearly, and
    # of the half the intersection pi / 8 over 1/2 + pi / 8.
    filled, ellipse = "the filled box", "the ellipse in the box"
    assert shapes["seen"]["iou"][filled]["mean"] == pytest.approx(75)
    assert shapes["unseen"]["iou"][filled] == {"mean": 100, "low": None, "high": None}
    assert shapes["seen"]["iou"][filled]["low"] == pytest.approx(50)
    half = (np.pi / 8) / (1 / 2 + np.pi / 8)
    assert shapes["seen"]["iou"][ellipse]["mean"] == pytest.approx(50 * (np.pi / 4 + half), abs=1)
    assert shapes["all"]["iou"]["this model"]["mean"] == pytest.approx(report["sets"]["all"]["mask_iou"])
    text = annotate(project, "boxes.json", "--evaluate").stdout
    assert text.count(" categories: ") == 2
    assert "Mask IoU at the true boxes of boxes.json" in text
    assert 'dog/"cat"' in text
    assert "unseen" in text
    assert sorted(project.iterdir()) == before
    write_dataset(project, {"a.png": "RGB"}, [{}])
    assert "nothing to measure" in annotate(project, "boxes.json", "--evaluate", code=1).stderr


def test_a_wanted_iou_chooses_the_confidence_by_what_val_shows(project: Path) -> None:
    """Masks of val are hidden and measured; how many boxes that fills, and of how little it is known, is said."""
    whole = [[4, 5, 44, 5, 44, 35, 4, 35]]
    sliver = [[4, 5, 8, 5, 8, 35, 4, 35]]
    masks = [{"segmentation": whole}, {"segmentation": whole}, {"category_id": 2, "segmentation": sliver}]
    val = write_dataset(project, {"a.png": "RGB"}, masks, name="val.json")
    settings = (project / "maskx.toml").read_text().replace("'boxes.json'", f"'{val.name}'")
    (project / "maskx.toml").write_text(settings)
    options = ("boxes.json", "--images", "images", "--wanted-iou", "0.9")
    done = annotate(project, *options)
    assert "--wanted-iou 0.9: masks of confidence" in done.stdout
    assert "2 of 3 have it" in done.stdout
    assert "none of 1 masks of unseen categories has it" in done.stdout
    assert "too uncertain (below 0." in done.stdout
    filled = [n for n, entry in entries(project / "annotated.json").items() if "mask_source" in entry]
    assert 1 in filled
    assert 3 not in filled
    report = json.loads((project / "annotated.report.json").read_text(encoding="utf-8"))
    assert report["counts"]["wanted"]["kept"] == 2
    assert report["reliability"]["seen"][0]["masks"] == 2
    again = annotate(project, *options)
    assert "unchanged" in again.stderr
    assert again.stdout == done.stdout
    assert "the best is" in annotate(project, *options[:-1], "0.99999", "--out", "o.json", code=1).stderr
    assert not (project / "o.json").exists()
    both = annotate(project, *options, "--min-confidence", "0.5", "--out", "o.json", code=1).stderr
    assert "give one of them" in both
    val.write_text(val.read_text().replace("[4, 5, 8", "[4, 5, 9"))
    assert "measured on" in annotate(project, *options, code=1).stderr


def test_without_masks_nothing_can_be_measured_by(project: Path) -> None:
    """An error that says what to do, before any mask is computed."""
    write_dataset(project, {"a.png": "RGB"}, [{}])
    error = annotate(project, "boxes.json", "--wanted-iou", "0.5", code=1).stderr
    assert "no masks are there to measure by" in error
    assert not (project / "annotated.json").exists()


def test_what_was_filled_is_reviewed_and_rejected(project: Path) -> None:
    """The page, the worklist, and the rejected mask gone again; each finished step returns at once."""
    done = annotate(project, "boxes.json", "--review", "review")
    assert "open review/index.html" in done.stdout
    page = (project / "review" / "index.html").read_text(encoding="utf-8")
    assert "Measured on 1 masks" in page
    lines = (project / "review" / "worklist.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "file_name,annotation_id,category,confidence,reason"
    assert {"a.png", "b.png"} >= {line.split(",")[0] for line in lines[1:]}
    assert "review is finished and unchanged" in annotate(project, "boxes.json", "--review", "review").stderr
    (project / "decisions.csv").write_text("annotation_id,decision,confidence\n1,rejected,0.5\n7,accepted,0.5\n")
    options = ("annotated.json", "--rejected", "decisions.csv", "--out", "reviewed.json")
    done = annotate(project, *options)
    assert "1 rejected masks emptied" in done.stdout
    after = entries(project / "reviewed.json")
    assert after[1]["segmentation"] == []
    assert after[1]["area"] == 40 * 30
    assert "mask_source" not in after[1]
    assert after[7] == entries(project / "annotated.json")[7]
    assert len(COCO(str(project / "reviewed.json")).anns) == len(after)
    assert "unchanged" in annotate(project, *options).stderr
    (project / "decisions.csv").write_text("annotation_id\n7\n")
    assert "rejected: " in annotate(project, *options, code=1).stderr
    assert "overwritten" in annotate(project, *options[:3], code=1).stderr
    assert "give one of them" in annotate(project, *options, "--evaluate", code=1).stderr


def test_a_review_needs_no_measurement_and_refuses_another_folder_at_once(project: Path) -> None:
    """Where the images of val are gone the page says that so; a wrong folder is named before the work."""
    write_dataset(project, {"gone.png": "missing"}, [{"segmentation": SQUARE}], name="val.json")
    settings = (project / "maskx.toml").read_text().replace("'boxes.json'", "'val.json'")
    (project / "maskx.toml").write_text(settings)
    error = annotate(project, "boxes.json", "--images", "images", "--review", "images", code=1).stderr
    assert "images exists, and was not written by maskx" in error
    assert not (project / "annotated.json").exists()
    done = annotate(project, "boxes.json", "--images", "images", "--review", "review")
    assert "The confidence of the masks is not measured" in done.stderr
    assert "It was not measured" in (project / "review" / "index.html").read_text(encoding="utf-8")
