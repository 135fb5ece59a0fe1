"""Large pictures in tiles, and images in batches."""

from __future__ import annotations

import builtins
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_world import World
from PIL import Image
from pycocotools import mask as coco_mask
from torch import Tensor

from maskx_pipeline.data.images import read_image
from maskx_pipeline.data.records import Category
from maskx_pipeline.errors import MachineError
from maskx_pipeline.evaluation.given_images import given_images
from maskx_pipeline.evaluation.predict_images import predict_folder, segmented
from maskx_pipeline.evaluation.tiled_objects import TiledObjects
from maskx_pipeline.whole_model import Instances

CATEGORIES = (Category(4, "dark", 1), Category(9, "bright", 2))


class FindsBright:
    """Stands for a whole model: each tile's bright pixels are one object, a rectangle, which fills its box."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.sizes: list[list[tuple[int, int]]] = []

    def predict_many(self, images: list[Tensor]) -> list[Instances]:
        self.sizes.append([(image.shape[1], image.shape[2]) for image in images])
        return [self._found(image) for image in images]

    def _found(self, image: Tensor) -> Instances:
        rows, columns = torch.where(image[0] > 0.9)
        if not len(rows):
            return Instances(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long(), torch.zeros(0, 28, 28))
        ends = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        box, score = torch.tensor([[float(end) for end in ends]]), torch.tensor([0.5 + len(rows) / 1e5])
        return Instances(box, score, torch.tensor([2]), torch.ones(1, 28, 28))


def scene(folder: Path) -> Path:
    """A picture of 300 x 200 in which the edge of a tile of 128 goes through a bright rectangle."""
    pixels = np.zeros((200, 300, 3), np.uint8)
    pixels[40:90, 100:180] = 255
    Image.fromarray(pixels).save(folder / "large.png")
    return folder / "large.png"


def test_an_object_that_tiles_cut_is_joined(tmp_path: Path) -> None:
    """By SAHI; box and mask are those of the whole rectangle, in pixels of the picture."""
    pytest.importorskip("sahi")
    from maskx_pipeline.evaluation.tiles import predict_tiled

    image, model = read_image(scene(tmp_path)), FindsBright()
    found = predict_tiled(model, image, tile=128, categories=CATEGORIES, score_threshold=0.5, batch=4)
    assert found.boxes_xyxy[0].tolist() == pytest.approx([100, 40, 180, 90], abs=1)
    assert found.labels.tolist() == [2]
    mask = coco_mask.decode(found.rles[0])
    assert mask.shape == (200, 300)
    inside, wanted = mask.astype(bool), image[0].numpy() > 0
    assert (inside & wanted).sum() / (inside | wanted).sum() > 0.95
    assert [len(sizes) for sizes in model.sizes] == [4, 2, 1]  # six tiles and the whole picture
    assert {size for sizes in model.sizes[:-1] for size in sizes} == {(128, 128)}
    assert not len(predict_tiled(model, image, tile=128, categories=CATEGORIES, score_threshold=0.99))


def test_pictures_above_the_size_of_a_tile_are_cut_and_others_are_not(tmp_path: Path) -> None:
    """Overlays and results are written as of any other image."""
    pytest.importorskip("sahi")
    large, small = scene(tmp_path), tmp_path / "small.png"
    Image.open(large).crop((90, 30, 190, 100)).save(small)
    model = FindsBright()
    path = predict_folder(
        model,
        given_images([large, small]),
        out=tmp_path / "out",
        categories=CATEGORIES,
        seen=[2],
        score_threshold=0.5,
        tile=128,
    )
    assert model.sizes[-1] == [(70, 100)]
    results = json.loads(path.read_text())
    assert [(r["file_name"], r["category_id"]) for r in results] == [("large.png", 9), ("small.png", 9)]
    boxes = json.loads((path.parent / "results_bbox.json").read_text())
    assert boxes[0]["bbox"] == pytest.approx([100, 40, 80, 50], abs=1)
    assert [r["segmentation"]["size"] for r in results] == [[200, 300], [70, 100]]
    picture = np.asarray(Image.open(tmp_path / "out/large.jpg").convert("RGB")).astype(int)
    scale = picture.shape[1] // 300
    red, green, _ = picture[65 * scale, 140 * scale]
    assert green > red  # the object is drawn, as one of a seen category


def test_without_sahi_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before an image is looked at."""
    really = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("sahi"):
            raise ModuleNotFoundError("No module named 'sahi'", name="sahi")
        return really(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "maskx_pipeline.evaluation.tiles", raising=False)
    with pytest.raises(MachineError, match="sahi") as caught:
        predict_folder(
            FindsBright(),
            given_images([scene(tmp_path)]),
            out=tmp_path / "out",
            categories=CATEGORIES,
            seen=[],
            score_threshold=0.5,
            tile=128,
        )
    assert "pip install sahi" in str(caught.value)


def test_masks_of_tiles_are_drawn_at_the_size_of_the_picture() -> None:
    """And those below a score are left out with all that is theirs."""
    bitmap = np.zeros((4, 6), np.uint8)
    bitmap[1:3, 2:5] = 1
    rle = coco_mask.encode(np.asfortranarray(bitmap))
    found = TiledObjects(torch.zeros(2, 4), torch.tensor([0.9, 0.2]), torch.tensor([1, 2]), (rle, rle)).above(0.5)
    assert (len(found), len(found.rles), found.labels.tolist()) == (1, 1, [1])
    assert np.array_equal(found.masks(8, 12)[0], bitmap.repeat(2, 0).repeat(2, 1))


def test_a_batch_finds_what_single_images_do(world: World) -> None:
    """Up to rounding; one pass of the backbone where all are of one size, and the same bits where they are not."""
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(3, 8, 10, generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2) for _ in "abc"]
    passes: list[int] = []
    hook = world.model.detector.detector.backbone.register_forward_hook(
        lambda _, inputs, __: passes.append(len(inputs[0]))
    )
    single = [world.model.predict(image) for image in images]
    together = world.model.predict_many(images)
    several = world.model.predict_many([images[0], images[1][:, :, :40]])
    hook.remove()
    assert passes == [1, 1, 1, 3, 1, 1]
    assert min(len(found) for found in single) >= 1
    for one, other in zip(single, together, strict=True):
        assert one.labels.tolist() == other.labels.tolist()
        torch.testing.assert_close(one.boxes_xyxy, other.boxes_xyxy, atol=1e-3, rtol=0)
        torch.testing.assert_close(one.scores, other.scores, atol=1e-5, rtol=0)
        torch.testing.assert_close(one.mask_probs, other.mask_probs, atol=2e-3, rtol=0)
    assert torch.equal(several[0].mask_probs, single[0].mask_probs)


def test_batches_keep_the_order_and_what_cannot_be_read() -> None:
    """Images are waited for until one has another size, or the batch is full."""
    sizes = [(60, 80), (60, 80), (60, 80), (80, 60), None, (80, 60)]
    images = [None if size is None else torch.full((3, *size), 255, dtype=torch.uint8) for size in sizes]
    paths = [Path(f"{number}.png") for number in range(6)]
    model = FindsBright()
    found = list(segmented(model, zip(paths, images, strict=True), categories=CATEGORIES, score_threshold=0.5, batch=2))
    assert [path for path, _, _ in found] == paths
    assert [None if i is None else tuple(i.shape[1:]) for _, i, _ in found] == sizes
    assert [n is None for _, _, n in found] == [size is None for size in sizes]
    assert model.sizes == [[(60, 80), (60, 80)], [(60, 80)], [(80, 60)], [(80, 60)]]
