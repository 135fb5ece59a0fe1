"""One step of joint training: which losses there are, and where their gradients go."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from e2e_world import ROI_SIZE, UNSEEN, joint_model, write_data
from torch import Tensor

from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.data.dataset import DetectionDataset, as_floats
from maskx_pipeline.data.masks import rasterize_roi_target
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.detection.class_weights import class_weights
from maskx_pipeline.e2e.mask_targets import SeenMasks
from maskx_pipeline.e2e.model import E2EModel
from maskx_pipeline.errors import DataError
from maskx_pipeline.transfer.embedding.class_weights import ClassWeightVectors

SEEN = {1, 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> CocoData:
    config = write_data(tmp_path_factory.mktemp("data"))
    return read_coco(config.train_annotations, config.train_images)


def _batch(data: CocoData, *, flip: float = 0.0) -> tuple[list[Tensor], list[dict[str, Any]]]:
    dataset = DetectionDataset(data, flip_probability=flip, seed=0)
    items = [dataset[dataset.key(0, index)] for index in (0, 1)]
    return [as_floats(image) for image, _ in items], [target for _, target in items]


def _masks(data: CocoData, seen: set[int] | None = None) -> SeenMasks:
    return SeenMasks(data, seen=SEEN if seen is None else seen, size=2 * ROI_SIZE)


def _mask_gradient(model: E2EModel, data: CocoData) -> dict[str, Tensor | None]:
    torch.manual_seed(1)
    losses = model(*_batch(data), _masks(data))
    losses["loss_mask"].backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("layer", ["cls_score", "bbox_pred"])
@pytest.mark.parametrize("structure", [{"form": "published"}, {"form": "linear"}, {"form": "linear", "kernel": "rbf"}])
def test_the_mask_loss_reaches_the_class_weights_only_without_stop_gradient(
    data: CocoData, layer: str, structure: dict[str, Any]
) -> None:
    """Section 3.2: w_det stays homogeneous between seen and unseen categories if the gradient is stopped."""
    name = f"detector.roi_heads.box_predictor.{layer}.weight"
    stopped = _mask_gradient(joint_model(data, **structure, zero_start=False), data)
    assert stopped[name] is None or not stopped[name].any()
    assert any(g is not None and g.any() for n, g in stopped.items() if n.startswith("mask_model.predictor"))
    assert any(g is not None and g.any() for n, g in stopped.items() if n.startswith("detector.backbone.fpn"))
    free = _mask_gradient(joint_model(data, stop_gradient=False, **structure, zero_start=False), data)[name]
    assert free is not None
    rows = free.view(4, -1)
    assert not rows[0].any()
    assert rows[1:3].any(dim=1).all()


def test_only_seen_rois_are_drawn_and_each_gets_the_mask_of_its_own_object(
    data: CocoData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RoIs are sampled over all categories; those of unseen ones never come to the mask loss."""
    drawn: list[tuple[int, bool]] = []
    masks = _masks(data)
    draw = masks.targets

    def watch(ids: Tensor, boxes: Tensor, *, flipped: bool) -> Tensor:
        targets = draw(ids, boxes, flipped=flipped)
        labels = {a.id: a.label for a in data.annotations()}
        drawn.extend((labels[number], flipped) for number in ids.tolist())
        return targets

    monkeypatch.setattr(masks, "targets", watch)
    seen_labels: list[int] = []
    model = joint_model(data)
    model.mask_model.register_forward_pre_hook(lambda _, inputs: seen_labels.extend(inputs[1].tolist()))
    model(*_batch(data), masks)
    assert len(drawn) >= 4  # at the least, the ground-truth boxes themselves are sampled
    assert [label for label, _ in drawn] == seen_labels
    assert UNSEEN not in seen_labels


def test_a_step_without_a_seen_roi_has_a_mask_loss_of_zero_with_a_gradient(
    data: CocoData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several processes must all have gradients for all parameters."""
    masks = _masks(data)
    monkeypatch.setattr(masks, "have", lambda ids: torch.zeros(len(ids), dtype=torch.bool))
    model = joint_model(data)
    loss = model(*_batch(data), masks)["loss_mask"]
    loss.backward()
    assert loss == 0
    assert all(p.grad is not None and not p.grad.any() for p in model.mask_model.parameters())


def test_the_targets_of_a_mirrored_image_are_mirrored(data: CocoData) -> None:
    """Image, boxes and masks are flipped together, in pixels of the image before resizing."""
    masks = _masks(data)
    plain, mirrored = (_batch(data, flip=flip)[1][0] for flip in (0.0, 1.0))
    assert [plain["flipped"], mirrored["flipped"]] == [False, True]
    usable = masks.have(plain["annotation_ids"])
    assert usable.tolist() == [label in SEEN for label in plain["labels"].tolist()]
    ids = plain["annotation_ids"][usable]
    one = masks.targets(ids, plain["boxes"][usable], flipped=False)
    two = masks.targets(ids, mirrored["boxes"][usable], flipped=True)
    assert one.any()
    assert torch.equal(one, two.flip(-1))


def test_rois_of_a_placed_image_are_drawn_in_the_image_of_the_file(
    data: CocoData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ground-truth boxes are sampled, so the masks' own boxes are among the RoIs that are drawn."""
    dataset = DetectionDataset(data, flip_probability=0.0, seed=0, augment="jitter")
    items = [dataset[index] for index in range(4)]
    masks, asked = _masks(data), []
    draw = masks.targets

    def watch(ids: Tensor, boxes: Tensor, *, flipped: bool) -> Tensor:
        asked.extend(zip(ids.tolist(), boxes.tolist(), strict=True))
        return draw(ids, boxes, flipped=flipped)

    monkeypatch.setattr(masks, "targets", watch)
    joint_model(data)([as_floats(image) for image, _ in items], [target for _, target in items], masks)
    whole = {a.id: a.box_xyxy for a in data.annotations()}
    own = [n for n, box in asked if torch.allclose(torch.tensor(box), torch.tensor(whole[n]), atol=0.1)]
    assert len(set(own)) >= 3  # all that the frame does not cut


def test_rois_are_drawn_in_the_frame_of_the_original_image(data: CocoData, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network sees a resized image; the polygons are of the one on disk."""
    model = joint_model(data)
    model.detector.transform.min_size = (128,)
    model.detector.transform.max_size = 192
    model.detector.roi_heads.fg_bg_sampler.positive_fraction = 1.0
    caught: list[tuple[Tensor, Tensor, Tensor]] = []
    masks = _masks(data)
    draw = masks.targets

    def watch(ids: Tensor, boxes: Tensor, *, flipped: bool) -> Tensor:
        caught.append((ids, boxes, draw(ids, boxes, flipped=flipped)))
        return caught[-1][2]

    monkeypatch.setattr(masks, "targets", watch)
    model(*_batch(data), masks)
    objects = {a.id: a for a in data.annotations()}
    own = 0
    for ids, boxes, targets in caught:
        for number, box, target in zip(ids.tolist(), boxes.tolist(), targets, strict=True):
            if torch.allclose(torch.tensor(box), torch.tensor(objects[number].box_xyxy), atol=1e-3):
                own += 1
                expected = rasterize_roi_target(
                    objects[number].segmentation, objects[number].box_xyxy, size=14, height=64, width=96
                )
                assert (target != torch.from_numpy(expected)).float().mean() < 0.02
    assert own >= 4


def test_t_reads_the_class_weights_as_they_are_now(data: CocoData, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those that the model was built with; and a file or a measurement has the newest ones."""
    model = joint_model(data, embedding="cls")
    before = model.mask_model.mask_weights().detach().clone()
    with torch.no_grad():
        model.detector.roi_heads.box_predictor.cls_score.weight.add_(1.0)
    read: list[Tensor] = []
    predictor = model.mask_model.predictor
    assert predictor is not None
    predictor.register_forward_pre_hook(lambda _, inputs: read.append(inputs[2].clone()))
    model(*_batch(data), _masks(data))
    newest = ClassWeightVectors("cls").vectors(class_weights(model.detector))
    assert torch.equal(read[0], newest)
    assert torch.equal(model.state_dict()["mask_model.predictor.embedding.rows"], newest)
    assert not torch.equal(model.mask_model.mask_weights(), before)


@pytest.mark.parametrize("condition", ["raw", "centred", "pca"])
def test_the_map_of_the_start_gives_what_t_was_built_with_and_moves_with_the_weights(
    data: CocoData, condition: str
) -> None:
    """A basis that is fixed: adding the same to every category moves all alike, however they are reduced."""
    model = joint_model(data, condition=condition)
    built = model.mask_model.get_buffer("predictor.embedding.rows").clone()
    assert torch.allclose(model.live_embeddings(), built, atol=1e-5)
    with torch.no_grad():
        model.detector.roi_heads.box_predictor.cls_score.weight[1] += 0.5
    moved = model.live_embeddings()
    assert not torch.allclose(moved[0], built[0], atol=1e-3)
    assert torch.allclose(moved[1:], built[1:], atol=1e-5)


def test_without_a_mask_of_a_seen_category_nothing_can_be_trained(data: CocoData) -> None:
    """The error comes before the first step."""
    with pytest.raises(DataError, match="no object of the seen categories has a mask"):
        _masks(data, seen={9})


@pytest.mark.parametrize("box_loss", ["projection", "projection+pairwise"])
def test_boxes_of_unseen_categories_supervise_their_rois(data: CocoData, box_loss: str) -> None:
    """The mask loss is that of before; the box losses come beside it, and reach the mask head but no detector layer."""
    plain = joint_model(data)
    torch.manual_seed(1)
    without = plain(*_batch(data), _masks(data))
    model = joint_model(data, box_loss=box_loss)
    model.load_state_dict(plain.state_dict())
    names: list[int] = []
    model.mask_model.register_forward_pre_hook(lambda _, inputs: names.extend(inputs[1].tolist()))
    torch.manual_seed(1)
    losses = model(*_batch(data), _masks(data), 0.5)
    added = {f"loss_{name}" for name in box_loss.split("+")}
    assert set(losses) - set(without) == added
    torch.testing.assert_close(losses["loss_mask"], without["loss_mask"])
    assert UNSEEN in names
    assert all(losses[name] > 0 for name in added)
    torch.manual_seed(1)
    twice = model(*_batch(data), _masks(data), 1.0)
    torch.testing.assert_close(twice["loss_projection"], 2 * losses["loss_projection"])
    twice["loss_projection"].backward()
    assert any(p.grad is not None and p.grad.any() for p in model.mask_model.head.parameters())
    assert not any(p.grad is not None and p.grad.any() for p in model.detector.roi_heads.box_predictor.parameters())


def test_before_its_weight_grows_a_box_loss_costs_nothing(data: CocoData) -> None:
    """RoIs without a mask are not even pooled; the loss is there, so that each step logs the same names."""
    model = joint_model(data, box_loss="projection")
    labels: list[int] = []
    model.mask_model.register_forward_pre_hook(lambda _, inputs: labels.extend(inputs[1].tolist()))
    losses = model(*_batch(data), _masks(data))
    assert losses["loss_projection"] == 0
    assert UNSEEN not in labels
