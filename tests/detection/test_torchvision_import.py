"""torchvision's Faster R-CNN in the place of a detector trained here."""

from __future__ import annotations

import urllib.error
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models.detection import (
    FasterRCNN,
    FasterRCNN_ResNet50_FPN_Weights,
    fasterrcnn_resnet50_fpn_v2,
)
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision_models import PROPOSALS, SIZE, as_if_trained, blocks, calibrate, tiny_faster_rcnn

from maskx_pipeline.config import ImportConfig
from maskx_pipeline.data.records import Category
from maskx_pipeline.detection import torchvision_import
from maskx_pipeline.detection.features import FrozenDetector
from maskx_pipeline.detection.identity import trained_with_masks
from maskx_pipeline.detection.load import empty_detector
from maskx_pipeline.detection.torchvision_import import ImportedDetector, import_detector
from maskx_pipeline.errors import ConfigError, DataError, MachineError, WeightsError

COCO = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
HOLES = tuple(number for number, name in enumerate(COCO) if name == "N/A")
EVERY = tuple(name for number, name in enumerate(COCO) if number and number not in HOLES)
SOME = ("zebra", "traffic light", "person", "hot dog")
IMAGES = [blocks(128, 176, seed=0), blocks(150, 140, seed=1)]
NAMES = ("cow", "zebra", "N/A", "cat", "dog")


def _config(weights: object, **changes: object) -> ImportConfig:
    given = {"weights": str(weights), "min_size": SIZE, "max_size": SIZE, **changes}
    return ImportConfig.from_mapping(given, source="test")


def _categories(names: Sequence[str]) -> tuple[Category, ...]:
    return tuple(Category(10 * label, name, label) for label, name in enumerate(names, start=1))


def _detections(imported: ImportedDetector, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    config = imported.config.replace(rpn_post_nms=PROPOSALS)
    detector = empty_detector(config, num_classes=len(imported.outputs) + 1)
    detector.load_state_dict(imported.tensors)
    found = FrozenDetector(detector, device=torch.device("cpu"), amp_dtype=None).extract(image).detections
    return found.boxes_xyxy, found.scores, found.labels


@torch.no_grad()
def _assert_same(model: FasterRCNN, imported: ImportedDetector, images: list[Tensor]) -> None:
    """Box for box: what torchvision's model finds of the data set's categories is what the imported one finds."""
    label_of = {output: label for label, output in enumerate(imported.outputs, start=1)}
    model.to(memory_format=torch.channels_last)  # as ours: rounded in another order, scores differ by 1e-4
    model.roi_heads.detections_per_img = 10_000  # those of other categories shall not push any out
    for image in images:
        theirs = model([image])[0]
        mapped = torch.tensor([label_of.get(int(output), 0) for output in theirs["labels"]])
        kept = torch.where(mapped > 0)[0][:100]
        assert len(kept) >= 5
        boxes, scores, labels = _detections(imported, image)
        assert labels.tolist() == mapped[kept].tolist()
        torch.testing.assert_close(scores, theirs["scores"][kept], atol=1e-4, rtol=0)
        torch.testing.assert_close(boxes, theirs["boxes"][kept], atol=2e-2, rtol=0)


def _most_found(model: FasterRCNN, image: Tensor, count: int) -> list[int]:
    with torch.no_grad():
        return model([image])[0]["labels"].bincount().topk(count).indices.tolist()


@pytest.mark.slow
def test_coco_v1_by_name_finds_box_for_box_what_torchvision_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all 80 categories: 91 outputs, the holes dropped, frozen batch norm with eps 0 as those weights need."""
    torch.manual_seed(3)
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None)  # as torchvision's, where weights are given
    model = as_if_trained(FasterRCNN(backbone, 91, SIZE, SIZE), holes=HOLES)
    overwrite_eps(model, 0.0)
    calibrate(model, IMAGES)
    monkeypatch.setattr(FasterRCNN_ResNet50_FPN_Weights, "get_state_dict", lambda *_, **__: model.state_dict())
    imported = import_detector(_config("fasterrcnn_resnet50_fpn"), _categories(EVERY[::-1]))
    assert (imported.config.other_outputs, imported.left_out) == (0, ())
    assert (imported.config.norm, imported.config.frozen_eps) == ("frozen", 0.0)
    _assert_same(model, imported, IMAGES[:1])


@pytest.mark.slow
def test_v2_of_coco_finds_box_for_box_what_torchvision_finds(tmp_path: Path) -> None:
    """Batch norm in FPN and box head, and some of the categories, whose scores stay what they are among all."""
    torch.manual_seed(3)
    model = fasterrcnn_resnet50_fpn_v2(
        weights=None, weights_backbone=None, num_classes=91, min_size=SIZE, max_size=SIZE
    )
    calibrate(as_if_trained(model, holes=HOLES), IMAGES)
    save_file(model.state_dict(), tmp_path / "v2.safetensors")
    some = [COCO[output] for output in _most_found(model, IMAGES[1], 4)]
    imported = import_detector(_config(tmp_path / "v2.safetensors"), _categories(some))
    assert (imported.config.architecture, imported.config.norm) == ("v2", "batch")
    assert imported.config.other_outputs == len(imported.left_out) == 76
    assert not {*some, "N/A"} & set(imported.left_out)
    _assert_same(model, imported, IMAGES[1:])


def test_v2_is_known_by_its_layout(tmp_path: Path) -> None:
    """And all 80 categories are found by name, however these are written."""
    model = tiny_faster_rcnn(91, v2=True)
    calibrate(as_if_trained(model, holes=HOLES), IMAGES)
    save_file(model.state_dict(), tmp_path / "v2.safetensors")
    names = [name.upper().replace(" ", "_") for name in EVERY]
    imported = import_detector(_config(tmp_path / "v2.safetensors"), _categories(names))
    assert (imported.config.architecture, imported.config.norm, imported.left_out) == ("v2", "batch", ())
    _assert_same(model, imported, IMAGES)


def test_the_eps_of_frozen_batch_norm_is_that_of_the_training(tmp_path: Path) -> None:
    """Another eps finds other boxes."""
    model = tiny_faster_rcnn(91)
    overwrite_eps(as_if_trained(model, holes=HOLES), 0.0)
    calibrate(model, IMAGES)
    torch.save(model.state_dict(), tmp_path / "x.pth")
    _assert_same(model, import_detector(_config(tmp_path / "x.pth", frozen_eps=0.0), _categories(EVERY)), IMAGES[:1])
    other = import_detector(_config(tmp_path / "x.pth"), _categories(EVERY))
    with pytest.raises(AssertionError):
        _assert_same(model, other, IMAGES[:1])


@pytest.fixture(scope="module")
def tiny() -> FasterRCNN:
    model = tiny_faster_rcnn(len(NAMES) + 1)
    calibrate(model, IMAGES)
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.bias[1 + NAMES.index("N/A")] = -100.0
    return model


def _names_file(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    (folder / "names.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return folder / "names.txt"


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_model_of_other_categories_comes_with_their_names(tiny: FasterRCNN, tmp_path: Path, prefix: str) -> None:
    """A .pth file, also of DistributedDataParallel, or inside a checkpoint."""
    state = {f"{prefix}{name}": value for name, value in tiny.state_dict().items()}
    torch.save({"model": state, "epoch": 3}, tmp_path / "own.pth")
    config = _config(tmp_path / "own.pth", names=_names_file(tmp_path))
    imported = import_detector(config, _categories(("dog", "cow")))
    assert imported.outputs == (5, 1)
    assert imported.left_out == ("zebra", "cat")
    assert imported.config.frozen_eps == 1e-5
    _assert_same(tiny, imported, IMAGES)


def test_weights_with_the_names_of_early_torchvision_are_read(tiny: FasterRCNN, tmp_path: Path) -> None:
    """COCO_V1 was saved when a convolution of FPN and RPN was not yet the first part of a block."""
    old = {}
    for name, value in tiny.state_dict().items():
        for block in ("inner_blocks", "layer_blocks"):
            for level in range(4):
                name = name.replace(f"{block}.{level}.0.", f"{block}.{level}.")
        old[name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")] = value
    assert "rpn.head.conv.weight" in old
    assert "backbone.fpn.inner_blocks.2.weight" in old
    torch.save(old, tmp_path / "old.pth")
    config = _config(tmp_path / "old.pth", names=_names_file(tmp_path))
    _assert_same(tiny, import_detector(config, _categories(("cat",))), IMAGES[:1])


def test_the_file_that_torchvision_downloads_is_known_by_its_digest(
    tiny: FasterRCNN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs eps 0 wherever it lies and whatever it is called."""
    torch.save(tiny.state_dict(), tmp_path / "x.pth")
    config = _config(tmp_path / "x.pth", names=_names_file(tmp_path))
    assert import_detector(config, _categories(("cat",))).config.frozen_eps == 1e-5
    monkeypatch.setattr(torchvision_import, "sha256_of_file", lambda path: "258fb6c6" + 56 * "0")
    assert import_detector(config, _categories(("cat",))).config.frozen_eps == 0.0


def test_weights_that_trained_with_masks_are_refused_unless_allowed(tmp_path: Path) -> None:
    """As for a backbone; what is allowed is remembered in the settings."""
    model = tiny_faster_rcnn(91)
    model.roi_heads.mask_predictor = MaskRCNNPredictor(8, 8, 91)
    torch.save(model.state_dict(), tmp_path / "mask.pth")
    with pytest.raises(WeightsError, match="--allow-mask-weights"):
        import_detector(_config(tmp_path / "mask.pth"), _categories(SOME))
    allowed = import_detector(_config(tmp_path / "mask.pth", allow_mask_weights=True), _categories(SOME))
    assert trained_with_masks(allowed.config)
    assert not any("mask" in name for name in allowed.tensors)


def test_categories_without_an_output_are_listed_with_the_nearest(tiny: FasterRCNN, tmp_path: Path) -> None:
    """So that one sees which are only spelt differently."""
    torch.save(tiny.state_dict(), tmp_path / "x.pth")
    config = _config(tmp_path / "x.pth", names=_names_file(tmp_path))
    with pytest.raises(DataError, match=r"(?s)2 of the 3 categories.*zebras \(nearest: zebra\).*qqq \(nearest: none\)"):
        import_detector(config, _categories(("zebras", "Dog", "qqq")))
    with pytest.raises(DataError, match="n/a"):
        import_detector(config, _categories(("n/a",)))
    with pytest.raises(DataError, match="same output of the detector: dog, DOG"):
        import_detector(config, _categories(("dog", "DOG")))


def test_names_must_fit_the_outputs(tiny: FasterRCNN, tmp_path: Path) -> None:
    """Neither are COCO's names taken for other outputs, nor a list of another length."""
    torch.save(tiny.state_dict(), tmp_path / "x.pth")
    with pytest.raises(ConfigError, match="6 outputs, not COCO's 91"):
        import_detector(_config(tmp_path / "x.pth"), _categories(("cat",)))
    names = _names_file(tmp_path, NAMES[1:])
    with pytest.raises(ConfigError, match="4 lines"):
        import_detector(_config(tmp_path / "x.pth", names=names), _categories(("cat",)))


def test_other_files_are_refused(tiny: FasterRCNN, tmp_path: Path) -> None:
    """No file, something else than a detector, and a detector with a part missing."""
    with pytest.raises(WeightsError, match="does not exist"):
        torchvision_import.source_digest(_config(tmp_path / "none.pth"))
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="not laid out"):
        import_detector(_config(tmp_path / "x.pth"), _categories(("cat",)))
    state = tiny.state_dict()
    del state["backbone.body.layer2.0.conv1.weight"]
    torch.save(state, tmp_path / "y.pth")
    with pytest.raises(WeightsError, match=r"layer2\.0\.conv1"):
        import_detector(_config(tmp_path / "y.pth", names=_names_file(tmp_path)), _categories(("cat",)))


def test_without_a_network_the_error_names_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the file as the other way."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(MachineError, match="fasterrcnn_resnet50_fpn_coco-258fb6c6") as caught:
        import_detector(_config("fasterrcnn_resnet50_fpn"), _categories(("cat",)))
    assert "--weights FILE" in str(caught.value)
