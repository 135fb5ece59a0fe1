"""Pages of the documentation that speak of real images, run on a sample of COCO where it is at hand."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from docs_pages import ROOT
from docs_runner import run_page
from docs_world import small_settings, without_masks, write_coco_mini, write_toml
from pycocotools.coco import COCO

from maskx_pipeline.data.category_sets import VOC_NAMES

COCO_MINI = ROOT.parent / "shared" / "coco-mini"
YOLOX = ROOT.parent / "shared" / "yolox-nano" / "yolox_nano.onnx"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not COCO_MINI.is_dir(), reason=f"the COCO sample is not at {COCO_MINI}"),
]


def test_the_road_of_a_new_user_on_coco(tmp_path: Path) -> None:
    """Real images with the masks of voc alone lead to an annotated file, a report, and a checkpoint for torchvision."""
    folder = tmp_path / "folder"
    write_coco_mini(folder, COCO_MINI, {"train": 70, "val": 30})
    given = json.loads((folder / "train.json").read_text())
    (folder / "train.json").write_text(json.dumps(without_masks(given, VOC_NAMES)), encoding="utf-8")
    project = folder / "my-project"
    (project / "some").mkdir(parents=True)
    (project / "some" / "photos").symlink_to(folder / "images" / "val")
    (project / "seen.txt").write_text("person\ncar\nchair\nbottle\n", encoding="utf-8")
    settings = small_settings() | {
        "MASKX_DETECT_ITERATIONS": "20", "MASKX_DETECT_MIN_SIZE": "96", "MASKX_DETECT_MAX_SIZE": "128",
        "MASKX_FIT_TRANSFER_ROIS_PER_BATCH": "16", "MASKX_REPORT_SCORE_THRESHOLD": "0",
    }  # fmt: skip
    printed = run_page("docs/how-to/your-dataset.md", folder, tmp_path / "scripts", settings=settings)
    assert "70 training and 30 validation images; categories: 20 seen, 60 unseen" in printed

    before = (folder / "train.json").read_text()
    after = (project / "annotated.json").read_text()
    old, new = json.loads(before)["annotations"], json.loads(after)["annotations"]
    assert [entry["id"] for entry in new] == [entry["id"] for entry in old]
    assert [entry for entry in new if "mask_source" not in entry] == [
        entry for entry, filled in zip(old, new, strict=True) if "mask_source" not in filled
    ]
    voc = {entry["id"] for entry in given["categories"] if entry["name"] in VOC_NAMES}
    asked = [entry for entry in new if entry["category_id"] not in voc and not entry["iscrowd"]]
    assert sum("mask_source" in entry for entry in asked) > 0.9 * len(asked) > 100
    coco = COCO(str(project / "annotated.json"))
    filled = next(entry for entry in asked if "mask_source" in entry)
    assert coco.annToMask(filled).sum() == pytest.approx(filled["area"], rel=0.1)

    report = (project / "report.html").read_text(encoding="utf-8")
    assert report.count("data:image/webp") >= 2 * 12  # the model, and the truth
    assert not re.search(r'(src|href)="https?:', report)

    pytest.importorskip("onnxruntime", reason="comes with the extra dev")
    note = json.loads((project / "runs" / "exported" / "model.onnx.json").read_text())
    assert note["code"] in printed
    shutil.copy(next(COCO_MINI.glob("val2017/*.jpg")), project / "photo.jpg")
    names: dict[str, Any] = {}
    with contextlib.chdir(project):
        exec(note["code"], names)
    count = len(names["scores"])
    assert names["boxes"].shape == (count, 4)
    assert names["masks"].shape == (count, *names["image"].shape[:2])


@pytest.mark.skipif(not YOLOX.is_file(), reason=f"the detector is not at {YOLOX}")
def test_the_page_of_another_detector_runs_as_it_is_written(tmp_path: Path) -> None:
    """On the first images of the COCO sample, up to overlays and annotations; its class is the file beside the page."""
    pytest.importorskip("onnxruntime", reason="comes with the extra dev")
    folder = tmp_path / "folder"
    write_coco_mini(folder, COCO_MINI, {"train": 70, "val": 5})
    write_toml(folder, images="images/")
    shutil.copy(ROOT / "docs" / "how-to" / "other_detector.py", folder)
    (folder / "yolox_nano.onnx").symlink_to(YOLOX)
    shutil.copy(next((folder / "images" / "val").iterdir()), folder / "photo.jpg")
    content = json.loads((folder / "val.json").read_text(encoding="utf-8"))
    content["annotations"] = [entry | {"segmentation": []} for entry in content["annotations"]]
    (folder / "boxes.json").write_text(json.dumps(content), encoding="utf-8")
    settings = {name: value for name, value in small_settings().items() if "FIT_TRANSFER" in name}
    printed = run_page("docs/how-to/other-detector.md", folder, tmp_path / "scripts", settings=settings)
    assert "nonvoc" in printed
    assert (folder / "predictions" / "photo.jpg").is_file()
    annotated = json.loads((folder / "annotated.json").read_text(encoding="utf-8"))["annotations"]
    asked = [entry for entry in annotated if not entry["iscrowd"]]
    assert sum("mask_source" in entry for entry in asked) > 0.8 * len(asked)
    assert (folder / "contact-sheet.png").is_file()
