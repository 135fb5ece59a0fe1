"""`maskx annotate --for`: the filled file, as a tool takes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from annotate_world import MIXED, annotate, entries, write_dataset


@pytest.mark.parametrize("tool", ["cvat", "label-studio", "datumaro", "ultralytics"])
def test_a_folder_for_the_tool_lies_beside_the_file(project: Path, tool: str) -> None:
    """As many objects as the file has, without what cannot be told; the file itself is as without --for."""
    annotate(project, "boxes.json", "--out", "alone.json")
    told = annotate(project, "boxes.json", "--for", tool)
    assert (project / "annotated.json").read_bytes() == (project / "alone.json").read_bytes()
    folder = project / f"annotated-for-{tool}"
    assert f"For {tool}: " in told.stderr
    assert str(folder.name) in told.stderr
    report = json.loads((folder / "report.json").read_text())
    after = [entry for entry in entries(project / "annotated.json").values() if entry["bbox"][2] > 0]
    objects = [entry for entry in after if tool in ("cvat", "datumaro") or not entry["iscrowd"]]
    masks = sum(bool(entry.get("segmentation")) for entry in objects)
    assert report["splits"]["train"] == {"images": 2, "boxes": len(objects), "masks": masks}
    assert "finished and unchanged" in annotate(project, "boxes.json", "--for", tool).stderr


def test_the_folder_follows_the_file(project: Path) -> None:
    """With other masks it is written anew; --evaluate writes nothing to hand over."""
    annotate(project, "boxes.json", "--for", "cvat")
    before = (project / "annotated-for-cvat" / "train.json").read_bytes()
    annotate(project, "boxes.json", "--mask-format", "rle", "--for", "cvat", "--overwrite")
    assert (project / "annotated-for-cvat" / "train.json").read_bytes() != before
    assert "--evaluate" in annotate(project, "boxes.json", "--evaluate", "--for", "cvat", code=1).stderr


def test_a_null_in_place_of_a_mask_becomes_an_empty_list(project: Path) -> None:
    """Also of a crowd, and of a category that the model does not know; no other byte changes, and it is counted."""
    nulls = [{}, {"iscrowd": 1, "segmentation": None}, {"category_id": 4, "segmentation": None, "note": None}]
    write_dataset(project, {"a.png": "RGB", "b.png": "RGB"}, [*MIXED, *nulls])
    told = annotate(project, "boxes.json", "--min-confidence", "1")
    original = (project / "boxes.json").read_text(encoding="utf-8")
    assert (project / "annotated.json").read_text(encoding="utf-8") == original.replace(
        '"segmentation": null', '"segmentation": []'
    )
    assert original.count('"segmentation": null') == 3
    assert "3 without a mask said null" in told.stdout
    (project / "d.csv").write_text("annotation_id\n")
    annotate(project, "boxes.json", "--rejected", "d.csv", "--out", "rejected.json")
    assert (project / "rejected.json").read_bytes() == (project / "annotated.json").read_bytes()
