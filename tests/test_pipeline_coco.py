"""The main line on real COCO images, with the commands as the README gives them."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskx_pipeline.commands import run

COCO_MINI = Path(__file__).parents[2] / "shared" / "coco-mini"
SMALL = """
[detect]
backbone = "resnet18"
backbone-weights = "none"
fpn-channels = 64
box-head-dim = 128
min-size = 160
max-size = 256
rpn-pre-nms = 300
rpn-post-nms = 100
rois-per-image = 64
iterations = 60
images-per-batch = 4
lr = 0.01
warmup-iterations = 20
steps = [50]
clip-grad-norm = 5.0
score-threshold = 0.001
detections-per-image = 20
workers = 2

[export-embeddings]
rois-per-object = 1
workers = 2

[fit-transfer]
split = "voc"
head-width = 32
head-depth = 2
epochs = 2.0
rois-per-batch = 32
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not COCO_MINI.is_dir(), reason=f"the COCO sample is not at {COCO_MINI}"),
]


def test_the_commands_run_verbatim_on_coco_and_pycocotools_gives_the_same_ap(tmp_path, capsys):
    """Stage 1, cache, stage 2 with the masks of voc, AP on nonvoc; the results file is plain COCO."""
    annotations = COCO_MINI / "annotations"
    with contextlib.chdir(tmp_path):
        assert run(
            ["init", "--train-images", str(COCO_MINI / "train2017"), "--val-images", str(COCO_MINI / "val2017"),
             "--train-annotations", str(annotations / "instances_train2017.json"),
             "--val-annotations", str(annotations / "instances_val2017.json")]
        ) == 0  # fmt: skip
        settings = Path("maskx.toml")
        data, _, _ = settings.read_text(encoding="utf-8").partition("[detect]")  # whose schedule takes a GPU
        settings.write_text(data + SMALL, encoding="utf-8")
        assert run(["doctor"]) == 0
        assert run(["detect", "train"]) == 0
        assert run(["export-embeddings"]) == 0
        assert run(["fit-transfer", "--embedding", "cls+box"]) == 0
        capsys.readouterr()
        assert run(["evaluate", "--split", "nonvoc", "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        results = Path("runs/transfer/cls+box-rbf+xy+boxes@voc/evaluation/cache-best/results.json").resolve()
        assert json.loads(results.read_text())
        truth = COCO(str(annotations / "instances_val2017.json"))
        evaluation = COCOeval(truth, truth.loadRes(str(results)), "segm")
        seen = {entry["id"] for entry in report["categories"] if entry["seen"]}
        assert not seen  # the categories of the report are those of the split, and none of nonvoc is seen
        evaluation.params.catIds = sorted(entry["id"] for entry in report["categories"])
        assert len(evaluation.params.catIds) == 60
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert report["sets"]["nonvoc"]["mask"]["AP"] == pytest.approx(100 * evaluation.stats[0], abs=1e-9)
        assert report["sets"]["nonvoc"]["mask"]["AP50"] == pytest.approx(100 * evaluation.stats[1], abs=1e-9)
        assert run(["predict", str(COCO_MINI / "val2017"), "--limit", "2", "--score-threshold", "0.01"]) == 0
