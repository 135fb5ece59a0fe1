"""From Visual Genome's own files to COCO-format annotations."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from maskx_pipeline.config.formats import VisualGenomeConfig
from maskx_pipeline.convert import visual_genome, visual_genome_categories
from maskx_pipeline.convert.report import read_report
from maskx_pipeline.convert.visual_genome import convert
from maskx_pipeline.convert.visual_genome_categories import choose_categories
from maskx_pipeline.data.category_sets import COCO_CATEGORIES
from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.errors import DataError, OutputError

SHARED = Path(__file__).parents[2].parent / "shared"
SAMPLE = SHARED / "visual-genome-sample" / "objects.json"
COCO_MINI = SHARED / "coco-mini" / "annotations" / "instances_val2017.json"
URL = "https://cs.stanford.edu/people/rak248/VG_100K_2/"
FILES = ["coco-categories.json", "report.json", "test.json", "train.json", "val.json"]
BY_HAND = {"couch": "sofa.n.01", "tv": "television.n.01", "skis": "ski.n.01", "suitcase": "bag.n.06"}


class VisualGenome:
    """A small data set in Visual Genome's own format: 100x80 images, objects as (synsets, box)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images: list[dict[str, Any]] = []
        self.entries: list[dict[str, Any]] = []
        self.object_id = 1000

    def image(self, *objects: Any, coco_id: int | None = None) -> int:
        image_id = len(self.images) + 1
        url = f"{URL}{image_id}.jpg"
        record = {"width": 100, "url": url, "height": 80, "image_id": image_id, "coco_id": coco_id, "flickr_id": None}
        self.images.append(record)
        self.entries.append({"image_id": image_id, "objects": [self.object(*o) for o in objects], "image_url": url})
        return image_id

    def object(self, synsets: str, box: tuple[float, ...] = (10, 10, 20, 30)) -> dict[str, Any]:
        self.object_id += 1
        names = synsets.split()
        x, y, w, h = box
        return {
            "synsets": names, "h": h, "object_id": self.object_id, "merged_object_ids": [], "names": ["thing"],
            "w": w, "y": y, "x": x,
        }  # fmt: skip

    def config(self, **changes: Any) -> VisualGenomeConfig:
        paths = {"objects": self.folder / "objects.json", "image_data": self.folder / "image_data.json"}
        paths["objects"].write_text(json.dumps(self.entries))
        paths["image_data"].write_text(json.dumps(self.images))
        return VisualGenomeConfig(**{**paths, "out": self.folder / "out", "test_count": 0, **changes})

    def convert(self, **changes: Any) -> dict[str, Any]:
        """All that was written, by the file's stem."""
        folder = convert(self.config(**changes))
        assert sorted(path.name for path in folder.iterdir()) == FILES
        return {path.stem: json.loads(path.read_text()) for path in folder.iterdir()}


@pytest.fixture
def genome(tmp_path):
    return VisualGenome(tmp_path)


@pytest.fixture
def genome_3000(genome):
    """Objects of 3000 synsets, two or more of each, plus a rare `sofa` (COCO's couch) beyond them."""
    by_hand = visual_genome_categories.NAMED_OTHERWISE
    names = [name for name in COCO_CATEGORIES.values() if name != "couch"]
    synsets = [by_hand.get(name, f"{name.replace(' ', '_')}.n.01") for name in names]
    synsets += [f"thing_{number:04d}.n.01" for number in range(3000 - len(synsets))]
    for start in range(0, 3000, 30):
        genome.image(*([(synset,) for synset in synsets[start : start + 30]] * 2), coco_id=start or None)
    genome.image(("sofa.n.01",), ("rare.n.01",))
    return genome


def _names(content: dict[str, Any]) -> list[str]:
    return [category["name"] for category in content["categories"]]


def test_3000_synsets_and_one_aligned_beyond_them_make_3001_categories(genome_3000):
    """COCO's 80 come first, with COCO's names and order; the others follow by name; ids count from 1."""
    made = genome_3000.convert()
    categories = made["train"]["categories"]
    assert [category["id"] for category in categories] == list(range(1, 3002))
    assert _names(made["train"])[:80] == list(COCO_CATEGORIES.values())
    assert _names(made["train"])[80:] == sorted(_names(made["train"])[80:])
    assert "rare.n.01" not in _names(made["train"])
    assert made["report"]["categories"]["of these beyond the most frequent synsets"] == ["sofa.n.01"]
    assert made["report"]["categories"]["without boxes in train"] == []
    assert made["report"]["objects"]["dropped"]["synset not among the categories"] == 1
    assert made["val"]["categories"] == made["test"]["categories"] == categories


def test_the_map_tells_which_category_is_which_of_cocos(genome_3000):
    """Stage 2 takes the masks of these from COCO."""
    made = genome_3000.convert()
    rows = made["coco-categories"]["categories"]
    assert {row["coco_id"]: row["coco_name"] for row in rows} == COCO_CATEGORIES
    assert [row["category_id"] for row in rows] == list(range(1, 81))
    synsets = {row["coco_name"]: row["synset"] for row in rows}
    assert synsets["dog"] == "dog.n.01"
    assert synsets["traffic light"] == "traffic_light.n.01"
    assert synsets | BY_HAND == synsets
    assert made["coco-categories"]["coco_categories_not_found"] == []


@pytest.mark.skipif(not COCO_MINI.exists(), reason="needs ../shared/coco-mini")
def test_coco_categories_are_those_of_coco():
    """Ids and names agree with COCO's own annotation file."""
    assert {c["id"]: c["name"] for c in json.loads(COCO_MINI.read_text())["categories"]} == COCO_CATEGORIES


def test_a_name_is_aligned_to_its_most_frequent_synset_unless_chosen_by_hand():
    """Where the choice by hand does not occur, the name decides; without either, the category is left out."""
    counts = Counter(
        {"orange.n.02": 9, "dog.n.03": 5, "orange.n.01": 4, "dog.n.01": 3, "couch.n.01": 2, "cats.n.01": 1}
    )
    categories = choose_categories(counts, 2)
    assert [(c.name, c.synset) for c in categories] == [
        ("dog", "dog.n.03"), ("orange", "orange.n.01"), ("couch", "couch.n.01"), ("orange.n.02", "orange.n.02"),
    ]  # fmt: skip


def test_synsets_are_counted_over_all_objects(genome):
    """Also over those that have several synsets and are not written; the first to occur wins a tie."""
    genome.image(("a.n.01 b.n.01",), ("c.n.01",), ("b.n.01",), ("d.n.01",), ("c.n.01",), ("d.n.01",))
    made = genome.convert(categories=2)
    assert _names(made["train"]) == ["b.n.01", "c.n.01"]


def test_an_annotation_has_a_box_and_no_mask(genome):
    """id, box and area are Visual Genome's; `segmentation` is []; the image keeps its coco_id and size."""
    image_id = genome.image(("tree.n.01", (5, 6, 7, 8)), coco_id=42)
    made = genome.convert()
    assert made["train"]["annotations"] == [
        {
            "id": 1001, "image_id": image_id, "category_id": 1, "bbox": [5, 6, 7, 8], "area": 56, "iscrowd": 0,
            "segmentation": [],
        }
    ]  # fmt: skip
    assert made["train"]["images"] == [
        {"id": image_id, "file_name": "VG_100K_2/1.jpg", "width": 100, "height": 80, "coco_id": 42}
    ]


def test_the_result_is_read_as_boxes_without_masks(genome):
    """read_coco finds no problem in it."""
    genome.image(("tree.n.01",), ("dog.n.01", (-5, 70, 50, 50)))
    genome.convert()
    data = read_coco(genome.folder / "out" / "train.json", genome.folder, check_files=False)
    assert data.problems == ()
    assert [(data.category(a.label).name, a.has_mask) for a in data.annotations()] == [
        ("tree.n.01", False), ("dog", False),
    ]  # fmt: skip


def test_every_dropped_object_is_counted_by_reason(genome):
    """Read = written + dropped, each dropped once."""
    genome.image(
        ("a.n.01",), ("",), ("",), ("a.n.01 b.n.01",), ("rare.n.01",), ("a.n.01", (5, 5, 0, 9)),
        ("a.n.01", (5, 5, 9, -1)), ("a.n.01", (100, 0, 9, 9)), ("a.n.01", (0, -9.5, 9, 9)),
    )  # fmt: skip
    genome.entries.append({"image_id": 99, "objects": [genome.object("a.n.01")]})
    genome.entries[0]["objects"].append(dict(genome.entries[0]["objects"][0], x=50))
    made = genome.convert(categories=1)
    report = made["report"]["objects"]
    assert report["dropped"] == {
        "no synset": 2,
        "several synsets": 1,
        "synset not among the categories": 1,
        "image not in image_data.json": 1,
        "box without area": 2,
        "box outside the image": 2,
        "object id given before": 1,
    }
    assert report["read"] == report["written"] + sum(report["dropped"].values())
    assert [a["bbox"] for a in made["train"]["annotations"]] == [[10, 10, 20, 30]]


def test_a_box_partly_outside_is_clipped_and_counted(genome):
    """Box and area are those of the visible part; a box that touches the border stays as it is."""
    genome.image(("a.n.01", (-4, 60, 20, 30)), ("a.n.01", (0, 0, 100, 80)))
    made = genome.convert()
    assert [(a["bbox"], a["area"]) for a in made["train"]["annotations"]] == [
        ([0, 60, 16, 20], 320), ([0, 0, 100, 80], 8000),
    ]  # fmt: skip
    assert made["report"]["objects"]["of these with a clipped box"] == 1


def test_an_image_that_is_given_twice_is_counted_and_written_once(genome):
    """The first entry is kept."""
    genome.image(("a.n.01",))
    genome.images.append(dict(genome.images[0], width=50))
    made = genome.convert()
    assert [image["width"] for image in made["train"]["images"]] == [100]
    assert made["report"]["image entries that repeat an id"] == 1


@pytest.mark.parametrize("form", ["annotations", "list", "lines"])
def test_val_is_coco_val_and_test_the_last_images_outside_coco(genome, form):
    """Train is the rest; every image and every box is in exactly one of them."""
    for coco_id in (None, 7, None, 8, None, 9):
        genome.image(("a.n.01",), coco_id=coco_id)
    ids = [8, 7, 123]
    forms = {
        "annotations": json.dumps({"images": [{"id": i, "file_name": "x"} for i in ids], "annotations": []}),
        "list": json.dumps(ids),
        "lines": "\n".join(map(str, ids)),
    }
    coco_val = genome.folder / "val2017"
    coco_val.write_text(forms[form])
    made = genome.convert(coco_val=coco_val, test_count=2)
    for split, images in {"train": [1, 6], "val": [2, 4], "test": [3, 5]}.items():
        assert [image["id"] for image in made[split]["images"]] == images
        assert [annotation["image_id"] for annotation in made[split]["annotations"]] == images
        assert made["report"]["images"][split]["images"] == 2


@pytest.mark.parametrize("text", ["{}", "[]", '["a"]', "one\ntwo", '{"images": 3}', "[1", ""])
def test_a_coco_val_file_without_ids_is_a_known_error(genome, text):
    """A wrong file would silently put val images into train."""
    genome.image(("a.n.01",))
    (genome.folder / "ids").write_text(text)
    with pytest.raises(DataError, match="ids holds no"):
        genome.convert(coco_val=genome.folder / "ids")


def test_without_val_images_the_user_is_warned(genome, caplog):
    """No --coco-val means that nobody knows which images must stay out of train."""
    genome.image(("a.n.01",), coco_id=7)
    with caplog.at_level(logging.INFO, logger="maskx"):
        genome.convert()
    assert "val has no images" in caplog.text
    assert "COCO categories not found: person, bicycle" in caplog.text


@pytest.mark.parametrize(
    ("where", "key", "value", "message"),
    [
        ("object", "synsets", None, r"objects.json: entry 0: .*missing .*`synsets` - at `\$\.objects\[1\]`"),
        ("object", "synsets", "a.n.01", r"Expected `array`, got `str` - at `\$\.objects\[1\]\.synsets`"),
        ("object", "object_id", None, "missing required field `object_id`"),
        ("object", "object_id", 10**30, r"<= 9007199254740991 - at `\$\.objects\[1\]\.object_id`"),
        ("object", "object_id", 2**53, r"<= 9007199254740991 - at `\$\.objects\[1\]\.object_id`"),
        ("object", "w", "9", r"Expected `int | float`, got `str` - at `\$\.objects\[1\]\.w`"),
        ("object", "y", 10**400, r"<= 9007199254740991 - at `\$\.objects\[1\]\.y`"),
        ("entry", "objects", None, "objects.json: entry 0: .*missing required field `objects`"),
        ("entry", "image_id", True, r"Expected `int`, got `bool` - at `\$\.image_id`"),
        ("image", "coco_id", None, "image_data.json: entry 0: .*missing required field `coco_id`"),
        ("image", "width", 0, r"`int` >= 1 - at `\$\.width`"),
        ("image", "url", "https://x/..", "entry 0: `url` is 'https://x/..', not the image's URL"),
    ],
)
def test_a_missing_or_wrong_key_is_named_and_nothing_is_written(genome, where, key, value, message):
    """The error names file, image, object and key."""
    genome.image(("a.n.01",), ("a.n.01",))
    target = {"object": genome.entries[0]["objects"][1], "entry": genome.entries[0], "image": genome.images[0]}[where]
    if value is None:
        del target[key]
    else:
        target[key] = value
    with pytest.raises(DataError, match=message):
        genome.convert()
    assert not (genome.folder / "out").exists()


def test_an_object_that_is_no_object_is_a_known_error(genome):
    """Like a missing key."""
    genome.image(("a.n.01",))
    genome.entries[0]["objects"].append(3)
    with pytest.raises(DataError, match=r"Expected `object`, got `int` - at `\$\.objects\[1\]`"):
        genome.convert()


@pytest.mark.parametrize("name", ["objects.json", "image_data.json"])
def test_broken_json_leaves_an_earlier_result_untouched(genome, name):
    """Nothing half-written, also with --overwrite."""
    genome.image(("a.n.01",))
    genome.convert()
    before = {path.name: path.read_bytes() for path in (genome.folder / "out").iterdir()}
    config = genome.config()
    (genome.folder / name).write_text((genome.folder / name).read_text()[:-9])
    with pytest.raises(DataError, match=name):
        convert(config, overwrite=True)
    assert {path.name: path.read_bytes() for path in (genome.folder / "out").iterdir()} == before


def test_an_interrupted_conversion_leaves_no_file(genome, monkeypatch):
    """Also when it stops while it writes."""
    genome.image(("a.n.01",), ("b.n.01",))
    monkeypatch.setattr(visual_genome.Sorter, "report", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        genome.convert()
    assert not (genome.folder / "out").exists()


@pytest.mark.parametrize(("objects", "images"), [([], []), ([{"image_id": 1, "objects": []}], []), ([], None)])
def test_files_without_images_or_synsets_are_a_known_error(genome, objects, images):
    """Nothing could be trained on."""
    genome.image(("a.n.01",))
    genome.entries = objects
    genome.images = genome.images if images is None else images
    with pytest.raises(DataError, match=r"lists no images|no object with a synset"):
        genome.convert()


def test_a_missing_file_is_a_known_error(genome):
    """The path is named."""
    with pytest.raises(DataError, match=r"none\.json cannot be read"):
        genome.convert(objects=genome.folder / "none.json")


def test_the_same_conversion_returns_at_once(genome, monkeypatch):
    """Same files and settings: nothing is read again."""
    genome.image(("a.n.01",))
    genome.convert()
    monkeypatch.setattr(visual_genome, "stream_images", None)
    genome.convert()


def test_another_conversion_is_not_overwritten_unless_told(genome):
    """Other settings, other inputs, and files that are not ours are refused, by name."""
    genome.image(("a.n.01",), ("a.n.01",), ("b.n.01",))
    genome.convert()
    with pytest.raises(OutputError, match=r"train\.json was made from something else:\n  categories: \d+ -> 1"):
        genome.convert(categories=1)
    assert read_report(convert(genome.config(categories=1), overwrite=True))["categories"]["all"] == 1
    genome.image(("c.n.01",))
    with pytest.raises(OutputError, match=r"objects: \w{12} -> \w{12}\n.*--overwrite"):
        genome.convert(categories=1)
    (genome.folder / "mine").mkdir()
    (genome.folder / "mine" / "val.json").write_text("[]")
    with pytest.raises(OutputError, match=r"mine.val\.json"):
        genome.convert(out=genome.folder / "mine")


def test_an_incomplete_result_is_made_again(genome):
    """What a killed process left is completed."""
    genome.image(("a.n.01",))
    genome.convert()
    (genome.folder / "out" / "train.json").unlink()
    genome.convert()


@pytest.mark.skipif(not SAMPLE.exists(), reason="needs ../shared/visual-genome-sample")
def test_the_sample_of_the_real_files_is_converted(genome):
    """Eleven objects, two of them without a synset; COCO's categories are found by their names."""
    for image_id in (1, 2):
        genome.image()
        genome.images[-1] |= {"image_id": image_id, "width": 800, "height": 600}
    made = genome.convert(objects=SAMPLE)
    assert made["report"]["objects"]["written"] == 9
    assert made["report"]["objects"]["dropped"]["no synset"] == 2
    assert _names(made["train"]) == [
        "car", "parking meter", "backpack", "clock", "man.n.01", "road.n.01", "sidewalk.n.01", "tree.n.01", "van.n.05",
    ]  # fmt: skip
    assert made["report"]["objects"]["of these with a clipped box"] == 0
