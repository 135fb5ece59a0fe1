"""What is found in the columns of a data set: each kind made on purpose, with the number that was made."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.data.findings import accepted_kinds
from maskx_pipeline.doctor.check import check_dataset
from maskx_pipeline.doctor.health import check_health, refuse_unsound
from maskx_pipeline.errors import CheckFailedError, ConfigError

WIDTH, HEIGHT = 200, 150
IMAGES, EACH = 6, 5
COUNT = IMAGES * EACH


def _images(**changes) -> list[dict]:
    return [
        {"id": n, "file_name": f"{n}.png", "width": WIDTH, "height": HEIGHT} | changes for n in range(1, IMAGES + 1)
    ]


def _objects(seed: int = 0) -> list[dict]:
    """Kites that touch all four sides of their boxes, spread over the images."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(COUNT):
        w, h = generator.uniform(24, 60), generator.uniform(18, 40)
        x, y = generator.uniform(0, WIDTH - w), generator.uniform(0, HEIGHT - h)
        found.append({
            "id": number + 1, "image_id": number // EACH + 1, "category_id": (3, 7)[number % 2], "bbox": [x, y, w, h],
            "segmentation": [[x + w / 2, y, x + w, y + h / 2, x + w / 2, y + h, x, y + h / 2]],
        })  # fmt: skip
    return found


def _found(make_data, objects: list[dict], **given) -> dict[str, tuple[str, int, int]]:
    """By kind: severity, count, of."""
    data = make_data(objects, images=_images(**given))
    return {one.kind: (one.severity, one.count, one.of) for one in check_health({"train": data}, longest=1333)}


def test_nothing_is_found_in_sound_data(make_data):
    """Also with some masks left out, and with boxes that are rounded to pixels."""
    objects = _objects()
    for number, annotation in enumerate(objects):
        annotation["bbox"] = [round(side) for side in annotation["bbox"]]
        if number % 3 == 0:
            annotation["segmentation"] = []
    assert _found(make_data, objects) == {}


READ = {
    "corners": lambda x, y, w, h: [x, y, x + w, y + h],
    "centres": lambda x, y, w, h: [x + w / 2, y + h / 2, w, h],
    "fractions": lambda x, y, w, h: [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT],
    "fractions of the centre": lambda x, y, w, h: [
        (x + w / 2) / WIDTH, (y + h / 2) / HEIGHT, w / WIDTH, h / HEIGHT,
    ],
    "percent": lambda x, y, w, h: [100 * x / WIDTH, 100 * y / HEIGHT, 100 * w / WIDTH, 100 * h / HEIGHT],
    "y before x": lambda x, y, w, h: [y, x, h, w],
    "y before x, corners": lambda x, y, w, h: [y, x, y + h, x + w],
}  # fmt: skip


@pytest.mark.parametrize("written", READ)
def test_boxes_that_are_written_otherwise_are_known_by_their_masks(make_data, written):
    """Whatever fits the masks is what was written; and it is an error, since each object would be a wrong one."""
    objects = [a | {"bbox": [round(side, 4) for side in READ[written](*a["bbox"])]} for a in _objects()]
    reading = written.split(",")[0].removesuffix(" of the centre")
    severity, count, of = _found(make_data, objects)[f"boxes look like {reading}"]
    assert severity == "error"
    assert of <= COUNT  # boxes that lie outside as they are written are dropped before
    assert count >= 0.9 * of
    assert of >= COUNT / 2


@pytest.mark.parametrize("written", ["corners", "centres", "fractions", "y before x, corners"])
def test_boxes_that_are_written_otherwise_are_known_by_their_images(make_data, written):
    """Without any mask: as they are written many leave the image, and otherwise none does."""
    objects = [a | {"bbox": READ[written](*a["bbox"]), "segmentation": []} for a in _objects()]
    reading = written.split(",")[0]
    found = _found(make_data, objects)
    assert found.get(f"boxes look like {reading}", found.get("box partly outside the image", ("",)))[0] == "error"


@pytest.mark.parametrize("factor", [0.5, 0.25])
def test_boxes_of_smaller_copies_of_the_images_are_known(make_data, factor):
    """All lie in a corner."""
    objects = [a | {"bbox": [factor * side for side in a["bbox"]], "segmentation": []} for a in _objects()]
    assert _found(make_data, objects) == {"boxes lie in a corner": ("error", COUNT, COUNT)}


def _rle(polygon: list[float], *, order: str = "F", inverted: bool = False) -> dict:
    """Drawn by its bounds: a rectangle, whose runs are counted by hand."""
    bitmap = np.zeros((HEIGHT, WIDTH), dtype=bool)
    x1, x2 = round(min(polygon[::2])), round(max(polygon[::2]))
    y1, y2 = round(min(polygon[1::2])), round(max(polygon[1::2]))
    bitmap[y1:y2, x1:x2] = True
    flat = (bitmap ^ inverted).ravel(order=order)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
    return {"size": [HEIGHT, WIDTH], "counts": [0, *runs] if flat[0] else runs}


SPOILT = {
    "rows first": lambda p: _rle(p, order="C"),
    "inverted": lambda p: _rle(p, inverted=True),
    "fractions": lambda p: [[v / (HEIGHT if i % 2 else WIDTH) for i, v in enumerate(p)]],
    "percent": lambda p: [[100 * v / (HEIGHT if i % 2 else WIDTH) for i, v in enumerate(p)]],
    "twice as large": lambda p: [[2 * v for v in p]],
    "half as large": lambda p: [[v / 2 for v in p]],
    "y first": lambda p: [[v for x, y in zip(p[::2], p[1::2], strict=True) for v in (y, x)]],
}


@pytest.mark.parametrize("how", SPOILT)
def test_masks_that_do_not_lie_in_their_boxes_are_found(make_data, how):
    """One mask in three is spoilt: each that misses its box is counted, and so many are an error."""
    objects = _objects()
    for annotation in objects[::3]:
        annotation["segmentation"] = SPOILT[how](annotation["segmentation"][0])
    severity, count, of = _found(make_data, objects)["mask does not fit its box"]
    assert (severity, of) == ("error", COUNT)
    assert COUNT / 3 - 4 <= count <= COUNT / 3  # a scaled one near the corner may still lie in its box


@pytest.mark.parametrize(
    ("how", "advice"),
    [
        ("fractions", "fractions of the image's sides"),
        ("percent", "percent of the image's sides"),
        ("twice as large", "of an image 2 times as large"),
        ("y first", "y stands before x"),
        ("rows first", "runs of an RLE go down the columns"),
    ],
)
def test_the_cause_is_named_where_it_is_known(make_data, how, advice):
    """So read, the masks would fit."""
    objects = [a | {"segmentation": SPOILT[how](a["segmentation"][0])} for a in _objects()]
    found = check_health({"train": make_data(objects, images=_images())})
    assert advice in next(one.advice for one in found if one.kind == "mask does not fit its box")


def test_sound_rle_and_a_stray_pixel_are_no_fault(make_data):
    """Nearly all of each mask is in its box, however far away the rest is."""
    objects = [a | {"segmentation": _rle(a["segmentation"][0])} for a in _objects()]
    for annotation in objects:
        runs = annotation["segmentation"]["counts"]
        if runs[-1] > 2:
            annotation["segmentation"]["counts"] = [*runs[:-1], runs[-1] - 1, 1]
    found = _found(make_data, objects)
    assert found == {}


def test_masks_of_what_is_seen_of_an_object_fit_the_box_of_the_whole(make_data):
    """As in data with amodal boxes: the mask lies in its box, and is smaller."""
    objects = _objects()
    for annotation in objects[:10]:
        x, y, w, h = annotation["bbox"]
        annotation["segmentation"] = [[x, y, x + w, y, x + w, y + 0.4 * h, x, y + 0.4 * h]]
    assert _found(make_data, objects) == {}


def test_a_mask_that_is_a_scrap_of_its_box_is_a_warning(make_data):
    """It may be what is seen of an object, so it stops nothing, however many there are."""
    objects = _objects()
    for annotation in objects[:20]:
        x, y, w, h = annotation["bbox"]
        annotation["segmentation"] = [[x, y, x + 0.4 * w, y, x, y + 0.4 * h]]
    assert _found(make_data, objects) == {"mask fills little of its box": ("warning", 20, COUNT)}


def test_the_same_object_twice_is_counted_once_for_each_copy(make_data):
    """Equal boxes of a category, and boxes without a mask around objects that have one: here six and five."""
    objects = _objects()
    again = [{k: v for k, v in a.items() if k != "id"} | {"id": 100 + n} for n, a in enumerate(objects[:6])]
    around = []
    for number, annotation in enumerate(objects[10:15]):
        x, y, w, h = annotation["bbox"]
        around.append(annotation | {"id": 200 + number, "bbox": [x - 1, y - 1, w + 2, h + 2], "segmentation": []})
    found = _found(make_data, [*objects, *again, *around])
    assert found == {"same object twice": ("error", 11, COUNT + 11)}
    other = [a | {"category_id": 10 - a["category_id"], "id": 300 + n} for n, a in enumerate(objects[:6])]
    assert _found(make_data, [*objects, *other]) == {}


def test_a_category_that_a_brush_made_crowds_of_is_suspected(make_data):
    """All masks of `cat` are crowds: a tool's doing. One crowd among many objects is COCO's own way."""
    objects = _objects()
    objects[1] |= {"iscrowd": 1, "segmentation": _rle(objects[1]["segmentation"][0])}
    assert _found(make_data, objects) == {"crowds left out": ("note", 1, COUNT)}
    for annotation in objects[::2]:
        annotation |= {"iscrowd": 1, "segmentation": _rle(annotation["segmentation"][0])}
    found = _found(make_data, objects)
    assert found["crowds look like objects"] == ("error", COUNT / 2, COUNT)
    data = make_data(objects, images=_images())
    objects_all = read_coco(data.path, data.image_dir, crowds_are_objects=True)
    assert check_health({"train": objects_all}) == []


def test_files_and_images_that_are_listed_twice_are_found(make_data):
    """One file under two ids halves its objects; validation on training images measures nothing."""
    images = [*_images()[:-1], _images()[-1] | {"file_name": "1.png"}]
    train = make_data(_objects(), images=[dict(image) for image in images])
    found = {one.kind: one for one in check_health({"train": train, "val": train})}
    assert (found["file under several image ids"].count, found["image in train and val"].count) == (2, IMAGES)
    assert found["image in train and val"].severity == "warning"


def test_the_same_picture_under_another_name_is_found_by_its_content(make_data):
    """In training twice, and in training and validation; sizes and names do not matter."""
    train = make_data([{}], images=3)
    val = make_data([{}], images=3, name="val", read_with=train.categories)
    for number in (1, 2, 3):
        path = val.image_path(number)
        path.write_bytes(path.read_bytes() + bytes([number, 0]))  # as large as each other, and not the same
    shutil.copy(train.image_path(1), train.image_path(2))
    shutil.copy(train.image_path(3), val.image_path(2))
    train.image_path(3).write_bytes(train.image_path(3).read_bytes() + b"other")
    shutil.copy(train.image_path(3), val.image_path(2))
    kinds = {one.kind: one.examples for one in check_dataset(train, val).findings}
    assert kinds["same picture twice"] == ("image 2 (2.png) is image 1 (1.png)",)
    assert kinds["image in train and val"] == ("image 2 (2.png) is image 3 (3.png) of train",)


def test_images_that_resizing_leaves_nothing_of_are_found(make_data):
    """A strip of 1334 x 1 is less than a pixel high when it is 1333 long."""
    assert _found(make_data, [{"bbox": [0, 0, 5, 1]}], width=1334, height=1) == {
        "image without boxes": ("note", IMAGES - 1, IMAGES),
        "image too narrow": ("error", IMAGES, IMAGES),
    }
    assert "image too narrow" not in _found(make_data, [{"bbox": [0, 0, 5, 1]}], width=1333, height=1)


def test_images_with_more_objects_than_ap_counts_are_noted(make_data):
    """101 of a category in an image; 100 of each of two in another are all counted."""
    many = [(1, 3, 101), (2, 3, 100), (2, 7, 100)]
    objects = [
        {"image_id": image, "category_id": category, "bbox": [n, n / 2, 9, 9]}
        for image, category, count in many
        for n in range(count)
    ]
    found = _found(make_data, objects)
    assert found["more than 100 objects of a category"] == ("note", 1, IMAGES)


def test_where_no_mask_can_be_read_it_is_said_how_many_and_how_they_are_written(make_data):
    """The advice to draw masks would be given to somebody who has drawn them."""
    objects = [a | {"segmentation": a["segmentation"][0]} for a in _objects()]
    data = make_data(objects, images=_images())
    fatal = check_dataset(data, data).fatal
    assert any(f"none of the {COUNT} masks that are written can be read" in text for text in fatal)
    assert any("[[x1, y1, x2, y2, ...]]" in text for text in fatal)
    assert not any("draw them" in text for text in fatal)


@pytest.mark.parametrize(
    ("names", "alike", "nameless"),
    [
        (("cat", "dog"), None, None),
        (("Straße", "STRASSE "), ("warning", 2, 2), None),
        (("dog", "dog"), ("warning", 2, 2), None),
        (("dog", " "), None, ("warning", 1, 2)),
        (("", ""), None, ("warning", 2, 2)),
    ],
)
def test_categories_that_a_name_does_not_tell_apart_are_found(make_data, names, alike, nameless):
    """Masks of one would be unseen to the other, which is the same thing."""
    categories = [{"id": 3, "name": names[0]}, {"id": 7, "name": names[1]}]
    data = make_data(_objects(), images=_images(), categories=categories)
    found = {one.kind: (one.severity, one.count, one.of) for one in check_health({"train": data, "val": data})}
    assert (found.get("category names alike"), found.get("category without a name")) == (alike, nameless)


def test_one_category_is_told_what_works_with_it(make_data):
    """Nothing can be transferred to another."""
    data = make_data([{}], categories=[{"id": 3, "name": "cat"}])
    found = next(one for one in check_dataset(data, data).findings if one.kind == "one category")
    assert found.severity == "note"
    assert "--embedding none" in found.advice


def test_training_refuses_what_the_doctor_calls_an_error_unless_it_is_accepted(make_data, caplog):
    """And says what it drops with the same sums."""
    objects = [a | {"bbox": READ["corners"](*a["bbox"])} for a in _objects()]
    data = make_data([*objects, {"id": 900, "bbox": [1, 1, 0, 4]}], images=_images())
    with pytest.raises(CheckFailedError, match="boxes look like corners") as caught:
        refuse_unsound({"train": data})
    assert caught.value.exit_code == 3
    assert '--accept "boxes look like corners"' in str(caught.value)
    accepted = accepted_kinds(["boxes-look-like-corners: a test"], ["box partly outside the image"])
    caplog.clear()
    refuse_unsound({"train": data}, accepted=accepted)
    assert any("(accepted)" in message for message in caplog.messages)
    assert sum(f"1 of {COUNT + 1} annotations: zero-area box, dropped" in message for message in caplog.messages) == 1
    caplog.clear()
    refuse_unsound({"": data}, accepted=accepted)  # a file by itself, as `maskx annotate` has it
    assert sum("zero-area box" in message for message in caplog.messages) == 1


@pytest.mark.parametrize(
    ("entry", "said"), [("same objekt twice: x", "same object twice"), ("same object twice", "why it is right")]
)
def test_what_is_accepted_needs_a_known_kind_and_a_reason(entry, said):
    """A misspelt kind would accept nothing, without a word."""
    with pytest.raises(ConfigError) as caught:
        accepted_kinds([entry])
    assert said in str(caught.value)


def test_real_coco_gives_no_false_alarm(coco_mini):
    """Nothing but what COCO knows of itself: images without boxes, and crowds."""
    train, val = coco_mini
    found = check_health({"train": train, "val": val}, longest=1333)
    assert {one.severity for one in found} == {"note"}
    assert {one.kind for one in found} == {"image without boxes", "crowds left out"}
