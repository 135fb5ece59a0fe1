"""The generated data set: what its categories, masks and boxes promise."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from maskx_pipeline.config import ShapesConfig
from maskx_pipeline.data.category_sets import masked_labels, resolve_category_set
from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.errors import ConfigError, OutputError
from maskx_pipeline.shapes import draw
from maskx_pipeline.shapes.categories import shapes_categories
from maskx_pipeline.shapes.generate import generate_shapes


def small(out: Path, **changes):
    return ShapesConfig(out=out, train_count=12, val_count=6, image_size=64, hues=4, **changes)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return generate_shapes(small(tmp_path_factory.mktemp("data") / "shapes"))


def read(folder: Path, split: str):
    return json.loads((folder / f"{split}.json").read_text())


def contents(folder: Path):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


def masks_by_image(data):
    masks = {}
    for annotation in data["annotations"]:
        masks.setdefault(annotation["image_id"], []).append(coco_mask.decode(annotation["segmentation"]).astype(bool))
    return masks


def test_the_same_seed_gives_the_same_bytes(shapes, tmp_path):
    """Images and annotations are a function of the settings only."""
    assert contents(generate_shapes(small(tmp_path / "again"))) == contents(shapes)


def test_another_seed_gives_another_data_set(shapes, tmp_path):
    """The seed changes the images."""
    other = contents(generate_shapes(small(tmp_path / "other", seed=1)))
    name = Path("train/000000.png")
    assert other[name] != contents(shapes)[name]


def test_train_and_val_share_no_image(shapes):
    """No image of val is an image of train."""
    train = {path.read_bytes() for path in (shapes / "train").iterdir()}
    assert not train & {path.read_bytes() for path in (shapes / "val").iterdir()}


def test_every_image_is_on_disk_with_its_recorded_size(shapes):
    """The records agree with the files."""
    for split, count in (("train", 12), ("val", 6)):
        records = read(shapes, split)["images"]
        assert len(records) == count
        for record in records:
            with Image.open(shapes / split / record["file_name"]) as image:
                assert (image.size, image.mode) == ((record["width"], record["height"]), "RGB")


def test_boxes_and_areas_are_those_of_the_visible_pixels(shapes):
    """A box ends where the last visible pixel of its object ends."""
    for annotation in read(shapes, "val")["annotations"]:
        visible = coco_mask.decode(annotation["segmentation"])
        rows, columns = np.nonzero(visible)
        x, y, width, height = annotation["bbox"]
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x, y, x + width, y + height)
        assert annotation["area"] == visible.sum()


def test_visible_pixels_belong_to_one_object_only(shapes):
    """Objects occlude one another: their masks are disjoint."""
    for masks in masks_by_image(read(shapes, "val")).values():
        assert np.sum(masks, axis=0).max() == 1


def test_boxes_overlap_so_heavily_that_only_the_class_tells_the_objects_apart(tmp_path):
    """Most objects share half of their box with another object of their image, although masks are disjoint."""
    data = read(generate_shapes(ShapesConfig(out=tmp_path, train_count=1, val_count=40)), "val")
    shared = []
    for _, group in itertools.groupby(data["annotations"], key=lambda annotation: annotation["image_id"]):
        boxes = np.array([annotation["bbox"] for annotation in group], dtype=float)
        overlaps = coco_mask.iou(boxes, boxes, [1] * len(boxes))
        np.fill_diagonal(overlaps, 0)
        shared += list(overlaps.max(axis=1) >= 0.5)
    assert np.mean(shared) > 0.6


def test_objects_of_an_image_are_of_different_categories(shapes):
    """The class says which object is meant."""
    for split in ("train", "val"):
        pairs = [(a["image_id"], a["category_id"]) for a in read(shapes, split)["annotations"]]
        assert len(pairs) == len(set(pairs))


def test_train_has_masks_for_half_of_the_categories_and_val_for_all(shapes):
    """In training the key `segmentation` is missing for the categories that are not masked."""
    masked = {i + 1 for i, c in enumerate(shapes_categories(shapes=4, textures=3, hues=4, categories=0)) if c.masked}
    assert len(masked) == 24
    for annotation in read(shapes, "train")["annotations"]:
        assert ("segmentation" in annotation) == (annotation["category_id"] in masked)
    assert all("segmentation" in annotation for annotation in read(shapes, "val")["annotations"])


def test_with_masks_all_only_the_masks_of_train_differ(shapes, tmp_path):
    """Every training object has its mask; images, boxes, val and the two halves are those of `half`."""
    everything = generate_shapes(small(tmp_path / "all", masks="all"))
    half, whole = read(shapes, "train"), read(everything, "train")
    assert all("segmentation" in annotation for annotation in whole["annotations"])
    for mine, other in zip(half["annotations"], whole["annotations"], strict=True):
        assert mine == {key: value for key, value in other.items() if key in mine}
    assert whole["images"] == half["images"]
    assert read(everything, "val")["annotations"] == read(shapes, "val")["annotations"]
    for name in ("seen.txt", "unseen.txt", "train/000000.png"):
        assert (everything / name).read_bytes() == (shapes / name).read_bytes()


def test_seen_and_unseen_txt_name_the_halves_for_a_split(shapes):
    """As `--split @FILE` reads them: the seen half is the one with masks in train.json."""
    data = read_coco(shapes / "train.json", shapes / "train")
    masked = masked_labels(data)
    for name, labels in (("seen.txt", masked), ("unseen.txt", {c.label for c in data.categories} - masked)):
        split = f"@{shapes / name}"
        assert set(resolve_category_set(split, data.categories, masked=masked, seen=None)) == labels


@pytest.mark.parametrize(
    ("shapes_count", "textures", "hues", "categories"),
    [(4, 3, 6, 0), (4, 3, 6, 36), (4, 2, 6, 0), (3, 3, 4, 0), (3, 3, 4, 20), (6, 4, 12, 100)],
)
def test_every_attribute_value_has_several_seen_and_unseen_categories(shapes_count, textures, hues, categories):
    """Unseen categories recombine what seen ones show."""
    chosen = shapes_categories(shapes=shapes_count, textures=textures, hues=hues, categories=categories)
    assert len(chosen) == len({c.name for c in chosen}) == (categories or shapes_count * textures * hues)
    for attribute, values in (("shape", shapes_count), ("texture", textures), ("hue", hues)):
        for value, masked in itertools.product(range(values), (True, False)):
            count = sum(getattr(c, attribute) == value and c.masked == masked for c in chosen)
            assert count >= 2, (attribute, value, masked)


def test_categories_appear_equally_often(tmp_path):
    """No category is rare: counts differ by little more than chance of what found no place."""
    data = read(generate_shapes(ShapesConfig(out=tmp_path, train_count=60, val_count=1, hues=2, shapes=2)), "train")
    counts = np.bincount([annotation["category_id"] for annotation in data["annotations"]], minlength=13)[1:]
    assert counts.min() > 0.7 * counts.max()


def test_a_finished_data_set_is_left_alone(shapes):
    """Generating again with the same settings touches no file."""
    before = {path: path.stat().st_mtime_ns for path in shapes.rglob("*.*")}
    generate_shapes(small(shapes))
    assert before == {path: path.stat().st_mtime_ns for path in shapes.rglob("*.*")}


def test_other_annotations_are_never_overwritten_unasked(tmp_path):
    """A folder with other content is refused by name; with overwrite it is replaced."""
    (tmp_path / "train.json").write_text('{"images": []}')
    with pytest.raises(OutputError, match=r"train\.json"):
        generate_shapes(small(tmp_path))
    assert (tmp_path / "train.json").read_text() == '{"images": []}'
    generate_shapes(small(tmp_path), overwrite=True)
    assert len(read(tmp_path, "train")["images"]) == 12


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"shapes": 7}, "shapes"), ({"textures": 5}, "textures"), ({"categories": 73}, "72"), ({"categories": 1}, "72")],
)
def test_impossible_counts_of_categories_are_refused(changes, named):
    """The error names the setting and what is possible."""
    with pytest.raises(ConfigError, match=named):
        shapes_categories(**{"shapes": 4, "textures": 3, "hues": 6, "categories": 0} | changes)


def test_fewest_objects_above_most_objects_is_refused(tmp_path):
    """objects-min and objects-max must agree, and nothing is written before that is known."""
    with pytest.raises(ConfigError, match="objects-max"):
        generate_shapes(ShapesConfig(out=tmp_path / "x", objects_min=4, objects_max=3))
    assert not (tmp_path / "x").exists()


def test_shapes_are_told_apart_by_their_outline():
    """No two shapes cover nearly the same part of their box."""
    u, v = np.meshgrid(np.linspace(-1, 1, 50), np.linspace(-1, 1, 50))
    outlines = [draw.outline(shape, u, v, 1.0) for shape in range(len(draw.SHAPES))]
    for one, other in itertools.combinations(outlines, 2):
        assert (one & other).sum() / (one | other).sum() < 0.8
