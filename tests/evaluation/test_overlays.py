"""Overlays: green for seen, red for unseen, and labels that can be read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskx_pipeline.evaluation.overlays import SEEN_COLOURS, UNSEEN_COLOURS, _place, _Rectangle, draw_instances
from maskx_pipeline.whole_model import Instances

NAMES = {1: "cat", 2: "a rather long category name"}


def grey(height: int, width: int) -> torch.Tensor:
    """An image without colour."""
    return torch.full((3, height, width), 128, dtype=torch.uint8)


def full_boxes(*boxes: list[float], labels: list[int], scores: list[float] | None = None) -> Instances:
    """Instances whose masks fill their boxes."""
    return Instances(
        boxes_xyxy=torch.tensor(boxes).reshape(-1, 4),
        scores=torch.tensor(scores or [0.9] * len(boxes)),
        labels=torch.tensor(labels, dtype=torch.int64),
        mask_probs=torch.ones(len(boxes), 28, 28),
    )


def test_seen_categories_are_green_and_unseen_ones_red() -> None:
    """As in the paper's figures."""
    instances = full_boxes([50, 200, 250, 400], [350, 200, 550, 400], labels=[1, 2])
    picture = np.asarray(draw_instances(grey(480, 640), instances, names=NAMES, seen=[1]), dtype=int)
    seen, unseen, outside = picture[300, 150], picture[300, 450], picture[50, 300]
    assert seen[1] > seen[0] + 20
    assert seen[1] > seen[2] + 20
    assert unseen[0] > unseen[1] + 20
    assert unseen[0] > unseen[2] + 20
    assert outside.tolist() == [128, 128, 128]
    assert all(green > max(red, blue) for red, green, blue in SEEN_COLOURS)
    assert all(red > max(green, blue) for red, green, blue in UNSEEN_COLOURS)


def test_unseen_masks_are_hatched_and_their_boxes_dashed() -> None:
    """For those to whom red and green look alike: along a line through a mask of one colour, and along a box."""
    instances = full_boxes([50, 200, 250, 400], [350, 200, 550, 400], labels=[1, 2])
    picture = np.asarray(draw_instances(grey(480, 640), instances, names=NAMES, seen=[1]), dtype=int)
    inside_seen, inside_unseen = picture[330, 70:230], picture[330, 370:530]
    assert len(np.unique(inside_seen, axis=0)) == 1
    assert len(np.unique(inside_unseen, axis=0)) == 2  # stripes and what is between them
    changes = (np.diff(inside_unseen[:, 1]) != 0).sum()
    assert 160 / 12 - 1 <= changes / 2 <= 160 / 12 + 2  # a stripe every six widths of the line, which is 2
    bare = full_boxes([350, 200, 550, 400], labels=[2])
    bare = Instances(bare.boxes_xyxy, bare.scores, bare.labels, mask_probs=torch.zeros(1, 28, 28))
    for seen, pieces in (([2], 1), ([], 10)):  # 200 pixels; dashes of 12 and gaps of 8
        alone = np.asarray(draw_instances(grey(480, 640), bare, names=NAMES, seen=seen), dtype=int)
        drawn = (alone[400, 345:556] != 128).any(axis=1)
        assert (np.diff(drawn.astype(int)) == 1).sum() in (pieces, pieces + 1)


def test_instances_below_the_threshold_are_not_drawn() -> None:
    """And with none left, the picture is the image."""
    instances = full_boxes([50, 200, 250, 400], labels=[1], scores=[0.4])
    picture = np.asarray(draw_instances(grey(480, 640), instances, names=NAMES, seen=[], score_threshold=0.5))
    assert (picture == 128).all()


def test_no_instances_leave_the_image_as_it_is() -> None:
    """An image in which nothing was found is still written."""
    picture = draw_instances(grey(480, 640), full_boxes(labels=[]), names=NAMES, seen=[])
    assert (np.asarray(picture) == 128).all()


@pytest.mark.parametrize(
    ("size", "drawn"), [((128, 96), (512, 384)), ((640, 480), (640, 480)), ((30, 2000), (30, 2000))]
)
def test_small_images_are_enlarged_so_that_labels_can_be_read(size: tuple[int, int], drawn: tuple[int, int]) -> None:
    """By a whole factor; sizes are width and height."""
    instances = full_boxes([1, 1, 20, 20], labels=[2])
    assert draw_instances(grey(size[1], size[0]), instances, names=NAMES, seen=[]).size == drawn


@pytest.mark.parametrize(
    "box",
    [
        [0, 0, 5, 5],
        [395, 295, 400, 300],
        [-50, -50, 10, 10],
        [390, 290, 460, 360],
        [0, 0, 400, 300],
        [500, 400, 600, 500],
    ],
)
def test_labels_stay_inside_the_image(box: list[float]) -> None:
    """Wherever the box lies, and however many labels lie there already."""
    taken: list[_Rectangle] = []
    for _ in range(8):
        place = _place(box, 90, 20, (400, 300), taken)
        assert place.left >= 0
        assert place.top >= 0
        assert place.right <= 400
        assert place.bottom <= 300
        taken.append(place)


def test_labels_do_not_cover_one_another_where_there_is_room() -> None:
    """Objects often have the same corner."""
    taken: list[_Rectangle] = []
    for _ in range(6):
        place = _place([100, 100, 220, 200], 90, 20, (400, 300), taken)
        assert not any(place.overlap(other) for other in taken)
        taken.append(place)


def test_the_image_itself_is_not_drawn_on() -> None:
    """The caller may need it again."""
    image = grey(480, 640)
    draw_instances(image, full_boxes([50, 200, 250, 400], labels=[1]), names=NAMES, seen=[1])
    assert (image == 128).all()
