"""Masks for boxes of known category."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from evaluation_world import World
from pycocotools import mask as coco_mask
from torchvision.models.detection.rpn import RegionProposalNetwork

from maskx_pipeline.annotate.fill_masks import cut_to_box, expected_iou, fill_masks, teacher_masks
from maskx_pipeline.data.images import read_image
from maskx_pipeline.data.masks import segmentation_to_rle
from maskx_pipeline.detection.heads import BoxHeads


def test_the_confidence_is_the_iou_that_the_probabilities_promise() -> None:
    """Sure of everything: 1. Sure inside and one cell of four at 0.5: 2 of 2.5. Nothing found: 0."""
    sure = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    assert expected_iou(sure) == 1
    assert expected_iou(torch.tensor([[1.0, 1.0], [0.5, 0.0]])) == pytest.approx(2 / 2.5)
    assert expected_iou(torch.tensor([[0.8, 0.8], [0.0, 0.2]])) == pytest.approx(1.6 / 2.2)
    assert expected_iou(torch.full((2, 2), 0.5)) == 0


def test_a_mask_ends_at_its_box() -> None:
    """The pixels whose centres lie inside; at least one, also for a box thinner than a pixel."""
    ones = np.ones((10, 12), dtype=np.uint8)
    cut = cut_to_box(ones, (2.4, 3.6, 7.6, 8.4))
    assert cut.sum() == cut[4:8, 2:8].sum() == 24
    assert cut_to_box(ones, (11.9, 9.7, 12.0, 9.8)).sum() == 1
    assert (cut_to_box(ones, (0, 0, 12, 10)) == ones).all()


@pytest.mark.parametrize("mask_format", ["polygons", "rle"])
def test_a_mask_is_that_of_its_own_label_inside_its_box(world: World, mask_format: str) -> None:
    """Each annotation gets one mask, in order; its area is that of what is written; labels decide."""
    image = world.val.images[0]
    annotations = world.val.annotations_of(image.id)
    labels = [annotation.label for annotation in annotations]
    filled = fill_masks(world.model, world.val, annotations, labels, mask_format=mask_format)
    assert [mask.annotation_id for mask in filled] == [annotation.id for annotation in annotations]
    found = [(mask, a) for mask, a in zip(filled, annotations, strict=True) if mask.segmentation is not None]
    assert found
    for mask, annotation in found:
        pixels = coco_mask.decode(segmentation_to_rle(mask.segmentation, image.height, image.width))
        assert (cut_to_box(pixels, annotation.box_xyxy) == pixels).all()
        assert mask.area == pixels.sum() > 0
        assert 0 < mask.confidence <= 1
    others = fill_masks(world.model, world.val, annotations, [1 + label % 3 for label in labels], mask_format="rle")
    assert [m.confidence for m in others] != [m.confidence for m in filled]


def test_given_boxes_are_segmented_as_detected_ones(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the detector's own boxes and labels, the masks are those of `predict`; also of more boxes than one batch.

    RPN and box head, which look for boxes, do not run.
    """
    image = world.val.images[0]
    pixels = read_image(world.val.image_path(image.id)).float() / 255
    found = world.model.predict(pixels)
    assert len(found)
    for part in (RegionProposalNetwork, BoxHeads):
        monkeypatch.delattr(part, "forward")
    masks = world.model.segment(pixels, found.boxes_xyxy, found.labels)
    assert torch.equal(masks, found.mask_probs)
    many = 300 // len(found) + 1
    repeated = world.model.segment(pixels, found.boxes_xyxy.repeat(many, 1), found.labels.repeat(many))
    assert torch.allclose(repeated, found.mask_probs.repeat(many, 1, 1), atol=1e-5)


class Specked:
    """A model that finds the left half of each box, and one cell in its far corner."""

    def segment(self, image: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        probs = torch.zeros(len(boxes), 28, 28)
        probs[:, :, :14] = 0.9
        probs[:, 24:26, 24:26] = 0.8
        return probs


@pytest.mark.parametrize("mask_format", ["polygons", "rle"])
def test_specks_are_left_out_of_polygons_and_rle_alike(world: World, mask_format: str) -> None:
    """They are counted, and the confidence is that of what is written: the speck's cells are outside of the mask."""
    image = world.val.images[0]
    largest = max(world.val.annotations_of(image.id), key=lambda a: a.area)
    (kept,) = fill_masks(Specked(), world.val, [largest], [1], mask_format=mask_format)
    (cut,) = fill_masks(Specked(), world.val, [largest], [1], speck_share=0.02, mask_format=mask_format)
    assert (kept.specks, cut.specks) == (0, 1)
    masks = [coco_mask.decode(segmentation_to_rle(m.segmentation, image.height, image.width)) for m in (kept, cut)]
    assert cut.area == masks[1].sum() < masks[0].sum()
    assert [cv2.connectedComponents(mask, connectivity=4)[0] - 1 for mask in masks] == [2, 1]
    inside = 28 * 14 * 0.9
    assert kept.confidence == pytest.approx((inside + 4 * 0.8) / (28 * 14 + 4), abs=1e-4)
    assert cut.confidence == pytest.approx(inside / (28 * 14 + 4 * 0.8), abs=1e-4)


def test_specks_of_a_teachers_mask_are_left_out_too(world: World) -> None:
    """Where its mask is taken, and where it is measured."""
    image = world.val.images[0]
    annotation = world.val.annotations_of(image.id)[0]
    mask = np.zeros((image.height, image.width), np.uint8)
    mask[5:25, 5:25] = 1
    mask[0, 0] = 1

    def opinion(pixels: np.ndarray, boxes: object) -> list[dict[str, object]]:
        return [coco_mask.encode(np.asfortranarray(mask))]

    how = {"mask_format": "rle", "speck_share": 0.02}
    (taken,) = fill_masks(Specked(), world.val, [annotation], [1], opinion=opinion, by_teacher={1: 0.7}, **how)
    (measured,) = teacher_masks(opinion, world.val, [annotation], **how)
    assert (taken.by_teacher, taken.area, taken.specks) == (True, 400, 1)
    assert measured.area == 400
