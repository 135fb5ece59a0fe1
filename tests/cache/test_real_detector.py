"""The export with torchvision's Faster R-CNN, tiny and untrained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cache_fakes
import numpy as np
import pytest
import torch

from maskx_pipeline.cache.export import export_identity, plan_export, write_cache
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import DataConfig, DetectConfig, ExportConfig, ImportConfig
from maskx_pipeline.data.images import read_image
from maskx_pipeline.data.records import CocoData, categories_to_json
from maskx_pipeline.detection.class_weights import class_weights
from maskx_pipeline.detection.features import FrozenDetector
from maskx_pipeline.detection.identity import identity_of
from maskx_pipeline.detection.load import LoadedDetector, empty_detector, load_detector
from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.engine.checkpoint import save_weights
from maskx_pipeline.errors import CacheError
from maskx_pipeline.stages.detect_import import import_detector

TINY = DetectConfig(
    backbone="resnet18", backbone_weights="none", box_head_dim=16, min_size=64, max_size=96,
    anchor_sizes=(8, 16, 24, 32, 48), canonical_box_size=32, rpn_post_nms=200, score_threshold=0.2,
    nms_threshold=0.9, detections_per_image=6, cls_init_std=0.5,
)  # fmt: skip


@pytest.fixture(scope="module")
def loaded() -> Iterator[LoadedDetector]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # layers so small only wait for more
    torch.manual_seed(0)
    model = build_detector(num_classes=4, **detector_arguments(TINY))
    identity = identity_of(TINY, cache_fakes.CATEGORIES, model.state_dict())
    yield LoadedDetector(model.eval(), TINY, cache_fakes.CATEGORIES, identity)
    torch.set_num_threads(threads)


def export(config: ExportConfig, loaded: LoadedDetector, train: CocoData, val: CocoData) -> Path:
    """As the stage does it."""
    frozen = loaded.frozen(device=torch.device("cpu"), amp=config.amp)
    identity = export_identity(config, frozen, train, val)
    return write_cache(config, detector=frozen, identity=identity, train=train, val=val)


def test_cached_features_equal_live_ones(
    tmp_path: Path, loaded: LoadedDetector, train: CocoData, val: CocoData
) -> None:
    """Detections, boxes, scores and features of each image come out of the same forward pass, rounded to float16."""
    config = cache_fakes.make_config(tmp_path / "cache.h5", device="cpu", proposal_iou=0.3, amp="off", flip=False)
    plan = plan_export(config, detector=loaded.frozen(device=torch.device("cpu"), amp="off"), train=train, val=val)
    with RoICache(export(config, loaded, train, val)) as cache:
        assert cache.channels == 256
        assert 0 < len(cache.detections) <= plan.detection_rois
        assert (cache.train.ious < 1).any()
        torch.testing.assert_close(cache.class_weights.w_cls, class_weights(loaded.model).w_cls, rtol=0, atol=0)
        frozen = FrozenDetector(loaded.model, device=torch.device("cpu"), amp_dtype=None)
        for record in val.images:
            pixels = read_image(val.image_path(record.id), width=record.width, height=record.height)
            detected = frozen.extract(pixels.float() / 255)
            rows = np.flatnonzero(cache.detections.image_ids == record.id)
            np.testing.assert_array_equal(cache.detections.boxes[rows], detected.detections.boxes_xyxy.numpy())
            np.testing.assert_array_equal(cache.detections.scores[rows], detected.detections.scores.numpy())
            live = detected.pool(detected.detections.boxes_xyxy, cache_fakes.ROI_SIZE).half().numpy()
            np.testing.assert_array_equal(cache.read_features("detections", rows), live)


def test_other_settings_of_the_detector_make_another_cache(tmp_path: Path, loaded: LoadedDetector) -> None:
    """The same weights at another image size give other features; --checkpoint is known by the weights."""
    config = cache_fakes.make_config(tmp_path / "cache.h5", device="cpu", flip=False)
    train, val = cache_fakes.make_train(tmp_path, 2), cache_fakes.make_val(tmp_path, 1)
    export(config, loaded, train, val)
    export(config.replace(checkpoint="last"), loaded, train, val)
    tensors = loaded.model.state_dict()
    larger = TINY.replace(min_size=96)
    other = LoadedDetector(loaded.model, larger, loaded.categories, identity_of(larger, loaded.categories, tensors))
    with pytest.raises(CacheError, match=rf"detector: {loaded.identity:.12} -> {other.identity:.12}"):
        export(config, other, train, val)


def test_an_import_with_another_eps_makes_another_cache(tmp_path: Path) -> None:
    """The features differ, so the export never takes those of the first import for finished and unchanged."""
    described = TINY.replace(norm="frozen")
    tensors = empty_detector(described, num_classes=4).state_dict()
    for name, value in tensors.items():
        if name.endswith("running_var"):
            value[::4] = 2e-2  # so little that eps counts
            tensors[name.replace("running_var", "weight")][::4] *= 0.1
    save_weights(tmp_path / "weights.safetensors", tensors, {})
    (tmp_path / "names.txt").write_text("".join(f"{category.name}\n" for category in cache_fakes.CATEGORIES))
    train, val = cache_fakes.make_train(tmp_path, 2), cache_fakes.make_val(tmp_path, 1)
    (tmp_path / "train.json").write_text(
        json.dumps({"images": [], "annotations": [], "categories": categories_to_json(cache_fakes.CATEGORIES)})
    )
    data = DataConfig(train_annotations=tmp_path / "train.json", train_images=tmp_path)
    settings = cache_fakes.make_config(tmp_path / "cache.h5", device="cpu", flip=False)

    def imported(eps: float) -> LoadedDetector:
        config = ImportConfig(
            weights=str(tmp_path / "weights.safetensors"), names=tmp_path / "names.txt", out=tmp_path / "detector",
            min_size=64, max_size=96, frozen_eps=eps,
        )  # fmt: skip
        return load_detector(import_detector(config, data, overwrite=True))

    first = imported(0)
    export(settings, first, train, val)
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[4.0, 4.0, 50.0, 60.0]])
    second = imported(0.05)
    before, after = (
        FrozenDetector(detector.model, device=torch.device("cpu"), amp_dtype=None).extract(image).pool(boxes, 7)
        for detector in (first, second)
    )
    assert not torch.allclose(before, after, rtol=0.1)
    assert first.identity != second.identity
    with pytest.raises(CacheError, match="detector: "):
        export(settings, second, train, val)
    export(settings, imported(0), train, val)  # the first again: finished and unchanged


SCRIPT = """
import sys
from pathlib import Path
import cache_fakes
from maskx_pipeline.engine import distributed
distributed.start()
folder = Path(sys.argv[1])
cache_fakes.export(folder / "joined.h5", cache_fakes.make_train(folder), cache_fakes.make_val(folder))
"""


@pytest.mark.slow
def test_two_processes_write_what_one_writes(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """Under torchrun, with a finished second call."""
    single = cache_fakes.export(tmp_path / "single.h5", train, val)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])])}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    for _ in range(2):
        subprocess.run([*command, str(tmp_path)], env=environment, check=True, timeout=300)
        assert cache_fakes.contents(tmp_path / "joined.h5") == cache_fakes.contents(single)
    assert sorted(path.name for path in tmp_path.glob("joined*")) == [
        "joined.h5", "joined.shard-0.h5", "joined.shard-1.h5",
    ]  # fmt: skip
