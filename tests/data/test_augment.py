"""Where augmentation puts images, boxes and masks, and what it does to colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from e2e_world import write_data

from maskx_pipeline.data.augment import IN_PLACE, Placement, change_colours, draw_placement, place
from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.data.dataset import DetectionDataset, batches
from maskx_pipeline.data.masks import segmentation_to_rle
from maskx_pipeline.e2e.mask_targets import SeenMasks

GREY = [124, 116, 104]


def test_a_smaller_image_lies_in_grey_and_its_boxes_with_it():
    """Half the size, four pixels from the left and three from the top, by hand."""
    image = torch.full((3, 10, 20), 200, dtype=torch.uint8)
    frame, boxes, kept = place(image, torch.tensor([[2.0, 2.0, 10.0, 8.0]]), Placement(0.5, 0.5, left=4, top=3))
    assert frame.shape == image.shape
    assert (frame[:, 3:8, 4:14] == 200).all()
    outside = torch.ones(10, 20, dtype=torch.bool)
    outside[3:8, 4:14] = False
    assert frame[:, outside].unique(dim=1).flatten().tolist() == GREY
    assert boxes.tolist() == [[5, 4, 9, 7]]
    assert kept.tolist() == [0]


def test_of_a_larger_image_the_frame_shows_a_part():
    """Twice the size, cut at the left and the top: boxes are cut to the frame, and one outside of it is gone."""
    image = torch.arange(200, dtype=torch.uint8).view(1, 10, 20).expand(3, -1, -1)
    boxes = torch.tensor([[0.0, 0.0, 3.0, 1.0], [2.0, 2.0, 10.0, 8.0], [13.0, 0.0, 20.0, 10.0]])
    frame, there, kept = place(image, boxes, Placement(2.0, 2.0, left=-7, top=-3))
    assert there.tolist() == [[0, 1, 13, 10], [19, 0, 20, 10]]
    assert kept.tolist() == [1, 2]
    doubled = image[:1].float()[None].repeat_interleave(2, 2).repeat_interleave(2, 3)[0, :, 3:13, 7:27]
    assert float((frame[:1].float() - doubled).abs().max()) <= 6  # bilinear against nearest, of rows that differ by 20


def test_a_box_comes_back_from_the_frame():
    """What masks are drawn by."""
    placement = Placement(0.7, 1.3, left=-11, top=5)
    boxes = torch.tensor([[1.0, 2.0, 30.0, 41.0]])
    assert placement.to_frame(boxes)[0].tolist() == pytest.approx([0.7 - 11, 2.6 + 5, 21 - 11, 53.3 + 5])
    torch.testing.assert_close(placement.to_file(placement.to_frame(boxes)), boxes)


@pytest.mark.parametrize(("augment", "low", "high"), [("jitter", 0.8, 1.25), ("lsj", 0.1, 2.0)])
def test_scales_fill_their_range_and_the_image_covers_the_frame_or_lies_in_it(augment: str, low: float, high: float):
    """200 draws; a flip alone draws nothing."""
    assert draw_placement("flip", 100, 50, random=np.random.default_rng(0)) == IN_PLACE
    drawn = [draw_placement(augment, 100, 200, random=np.random.default_rng(seed)) for seed in range(200)]
    scales = [p.scale_x for p in drawn]
    assert low - 0.01 <= min(scales) < low + 0.1
    assert high - 0.1 < max(scales) <= high + 0.01
    assert len({p.left for p in drawn}) > 20
    for p in drawn:
        for scale, offset, side in ((p.scale_x, p.left, 200), (p.scale_y, p.top, 100)):
            room = side - round(scale * side)
            assert min(0, room) <= offset <= max(0, room)


def test_colours_change_by_at_most_their_share():
    """Of a grey image contrast and saturation change nothing, so it shows the brightness."""
    grey = torch.full((3, 4, 4), 100, dtype=torch.uint8)
    values = [change_colours(grey, 0.2, random=np.random.default_rng(seed)).unique().tolist() for seed in range(50)]
    assert all(len(value) == 1 and 79 <= value[0] <= 120 for value in values)
    assert min(values)[0] < 88
    assert max(values)[0] > 112
    picture = torch.randint(256, (3, 8, 8)).byte()
    assert torch.equal(change_colours(picture, 0.0, random=np.random.default_rng(0)), picture)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory):
    config = write_data(tmp_path_factory.mktemp("data"))
    return read_coco(config.train_annotations, config.train_images)


def _dataset(data, augment: str, colour_jitter: float = 0.0):
    return DetectionDataset(data, flip_probability=0.5, seed=0, augment=augment, colour_jitter=colour_jitter)


@pytest.mark.parametrize("augment", ["jitter", "lsj"])
def test_masks_are_drawn_where_the_image_was_put(data, augment: str):
    """As if the mask were a picture that went through the same hands as the image."""
    from pycocotools import mask as coco_mask

    dataset, masks = _dataset(data, augment), SeenMasks(data, seen={1, 2, 3}, size=14)
    segmentations = {annotation.id: annotation.segmentation for annotation in data.annotations()}
    agreed = total = moved = 0
    for key in range(4 * len(dataset)):
        _, target = dataset[key]
        moved += target["placement"] != IN_PLACE
        ids, boxes = target["annotation_ids"], target["boxes"]
        drawn = masks.targets(ids, target["placement"].to_file(boxes), flipped=target["flipped"])
        for number, box, cells in zip(ids.tolist(), boxes.tolist(), drawn, strict=True):
            if min(box[2] - box[0], box[3] - box[1]) < 10:
                continue
            bitmap = torch.from_numpy(coco_mask.decode(segmentation_to_rle(segmentations[number], 64, 96)))
            bitmap = bitmap.flip(1) if target["flipped"] else bitmap
            picture = place((bitmap * 255).expand(3, -1, -1), torch.zeros(0, 4), target["placement"])[0][0] > 128
            places = [box[i] + (np.arange(14) + 0.5) / 14 * (box[i + 2] - box[i]) for i in (0, 1)]
            columns, rows = (np.floor(p).astype(int) for p in places)
            agreed += int((picture[rows][:, columns] == cells.bool()).sum())
            total += 14 * 14
    assert moved > 15
    assert total > 20 * 14 * 14
    assert agreed / total > 0.94  # all but the cells along the diagonal edge


def test_an_image_whose_objects_all_fell_out_stays_in_its_place(make_data):
    """So every image of a batch has a box."""
    data = make_data([{"bbox": [0, 0, 2, 2]}])
    dataset = _dataset(data, "lsj")
    targets = [dataset[dataset.key(epoch, 0)][1] for epoch in range(60)]
    assert all(len(target["boxes"]) == len(target["labels"]) == 1 for target in targets)
    assert 5 < sum(target["placement"] == IN_PLACE for target in targets) < 55


def test_augmented_batches_are_functions_of_seed_and_step(data):
    """Begun at step 3, from other processes, they are the same to the bit; flip and order are the usual ones."""

    def run(augment: str, start: int = 0, workers: int = 0, colour_jitter: float = 0.4):
        dataset = _dataset(data, augment, colour_jitter)
        steps = batches(dataset, images_per_batch=2, start=start, iterations=6, seed=0, workers=workers)
        return [(images, targets) for images, targets in steps]

    whole, later = run("lsj"), run("lsj", start=3, workers=2)
    for (images, targets), (others, other_targets) in zip(whole[3:], later, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(images, others, strict=True))
        assert all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(targets, other_targets, strict=True))
        assert [t["placement"] for t in targets] == [t["placement"] for t in other_targets]
    usual = run("flip", colour_jitter=0.0)
    assert [[(t["image_id"], t["flipped"]) for t in ts] for _, ts in whole] == [
        [(t["image_id"], t["flipped"]) for t in ts] for _, ts in usual
    ]
    assert len({t["placement"] for _, ts in whole for t in ts}) > 6
