"""Contact sheets: a column per image, a row per model, and the ground truth."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from evaluation_world import World
from PIL import Image

from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.errors import ConfigError, DataError
from maskx_pipeline.evaluation.given_images import given_images
from maskx_pipeline.evaluation.overlays import SEEN_COLOURS, UNSEEN_COLOURS
from maskx_pipeline.evaluation.predict_images import predict_folder
from maskx_pipeline.study.contact_sheet import (
    CELL,
    SheetRow,
    predicted_row,
    read_sheet_images,
    truth_row,
)
from maskx_pipeline.study.sheet_layout import lay_out, save_sheet

BLUE, ORANGE, PURPLE = (0, 0, 200), (250, 150, 0), (120, 0, 120)


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (60, 40)) -> Image.Image:
    return Image.new("RGB", size, colour)


def boxes_of(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of all pixels of a colour."""
    rows, columns = np.nonzero((np.asarray(sheet) == colour).all(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_rows_are_models_and_columns_are_images() -> None:
    """The first row on top, the first image left, and nothing covers anything."""
    rows = [SheetRow("baseline", (plain(BLUE), plain(ORANGE))), SheetRow("transfer", (plain(PURPLE), plain(ORANGE)))]
    sheet = lay_out(rows, ["a.jpg", "b.jpg"], columns=4)
    blue, purple, orange = (boxes_of(sheet, colour) for colour in (BLUE, PURPLE, ORANGE))
    assert (blue[2] - blue[0], blue[3] - blue[1]) == (60, 40)
    assert purple[0] == blue[0]
    assert purple[1] > blue[3]
    assert orange[0] > blue[2]
    assert (orange[1], orange[3]) == (blue[1], purple[3])


def test_further_images_follow_below_with_all_rows() -> None:
    """The third of three images in two columns stands below the first, its models together."""
    rows = [
        SheetRow("m", (plain(BLUE), plain(BLUE), plain(ORANGE))),
        SheetRow("n", (plain(BLUE),) * 2 + (plain(PURPLE),)),
    ]
    sheet = lay_out(rows, ["a", "b", "c"], columns=2)
    blue, orange, purple = (boxes_of(sheet, colour) for colour in (BLUE, ORANGE, PURPLE))
    assert orange[0] == purple[0] == blue[0]
    assert blue[3] < orange[1] < orange[3] < purple[1]


def test_cells_are_of_one_size_and_pictures_in_their_middle() -> None:
    """A tall picture beside a wide one."""
    sheet = lay_out([SheetRow("m", (plain(BLUE, (20, 40)), plain(ORANGE, (60, 10))))], ["a", "b"], columns=2)
    blue, orange = boxes_of(sheet, BLUE), boxes_of(sheet, ORANGE)
    assert (blue[1] + blue[3]) // 2 == (orange[1] + orange[3]) // 2
    assert orange[0] - blue[2] == 20 + 8  # what is left of the cell, and the gap


def test_names_and_captions_of_any_length_stay_out_of_the_pictures() -> None:
    """Row names at the left, file names above; what does not fit is cut."""
    long = SheetRow("a-very-long-name-of-a-run" * 5, (plain(BLUE),) * 2)
    sheet = lay_out([long], ["a-very-long-file-name.jpg" * 3] * 2, columns=2)
    left, top, right, bottom = boxes_of(sheet, BLUE)
    pixels = np.asarray(sheet)
    assert (pixels[top:bottom, left : left + 60] == BLUE).all()
    assert (pixels[top:bottom, right - 60 : right] == BLUE).all()
    assert (pixels[top:bottom, :left] < 255).any()
    assert (pixels[:top, left:right] < 255).any()
    assert (pixels[:, 0] == 255).all()
    assert (pixels[:, -1] == 255).all()


def test_the_key_shows_both_colours() -> None:
    """Below the pictures, so that a sheet explains itself."""
    sheet = lay_out([SheetRow("m", (plain(BLUE, (400, 300)),))], ["a"], columns=1)
    bottom = boxes_of(sheet, BLUE)[3]
    assert boxes_of(sheet, SEEN_COLOURS[0])[1] > bottom
    assert boxes_of(sheet, UNSEEN_COLOURS[0])[1] > bottom


@pytest.mark.parametrize("name", ["sheet.gif", "sheet"])
def test_an_unknown_ending_is_refused(name: str, tmp_path: Path) -> None:
    """With those that are known."""
    with pytest.raises(ConfigError, match=r"\.png, \.jpg"):
        save_sheet(plain(BLUE, (4, 3)), tmp_path / name)


def test_a_sheet_is_written_in_the_format_of_its_ending(tmp_path: Path) -> None:
    """Folders are made."""
    sheet = lay_out([SheetRow("m", (plain(BLUE),))], ["a"], columns=1)
    for name, kind in (("a/s.png", "PNG"), ("s.JPG", "JPEG")):
        save_sheet(sheet, tmp_path / name)
        with Image.open(tmp_path / name) as written:
            assert (written.format, written.size) == (kind, sheet.size)


def test_images_fit_the_cells_and_a_limit_takes_the_first(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is left out is said; an unreadable image is skipped with a warning, and an error if it is the only one."""
    with caplog.at_level(logging.INFO, logger="maskx"):
        images = read_sheet_images(given_images([world.val.image_dir]), limit=2)
    assert [image.path.name for image in images] == ["1.png", "2.png"]
    assert "first 2 of 4" in caplog.text
    assert [round(image.scale * max(image.pixels.shape)) for image in images] == [CELL, CELL]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    assert len(read_sheet_images(given_images([broken, images[0].path]), limit=0)) == 1
    assert "broken.jpg" in caplog.text
    with pytest.raises(DataError, match="broken"):
        read_sheet_images(given_images([broken]), limit=0)


def test_a_row_shows_what_predict_shows(world: World, tmp_path: Path) -> None:
    """The overlays of `maskx predict`, at the size of the cells, and the same each time."""
    images = read_sheet_images(given_images([world.val.image_dir]), limit=2)
    settings = {"categories": world.val.categories, "seen": [1], "score_threshold": 0.0}
    with Progress(4, "test", "images") as bar:
        rows = [predicted_row("m", world.model, images, bar=bar, **settings) for _ in range(2)]  # type: ignore[arg-type]
    assert rows[0] == rows[1]
    predict_folder(world.model, given_images(image.path for image in images), out=tmp_path, **settings)  # type: ignore[arg-type]
    for image, picture in zip(images, rows[0].pictures, strict=True):
        with Image.open(tmp_path / f"{image.path.stem}.jpg") as overlay:
            assert max(picture.size) == CELL
            same_size = np.asarray(overlay.resize(picture.size, Image.Resampling.BICUBIC), dtype=int)
        # Lines and letters are not scaled, so only most of the pixels are alike.
        assert np.median(np.abs(np.asarray(picture, dtype=int) - same_size)) < 12


def test_the_ground_truth_has_the_masks_of_the_file_in_red_and_green(tmp_path: Path) -> None:
    """A mask fills its place and no more, an object without one has its box, and a crowd region nothing."""
    image = {"id": 7, "file_name": "a.png", "width": 280, "height": 140}
    half = [[40, 40, 80, 40, 80, 100, 40, 100]]  # the left half of its box
    objects = [
        {"category_id": 1, "bbox": [40, 40, 80, 60], "segmentation": half},
        {"category_id": 2, "bbox": [160, 10, 40, 60]},
        {"category_id": 2, "bbox": [220, 60, 40, 40], "segmentation": [[220, 60, 260, 60, 260, 100, 220, 100]]},
        {"category_id": 2, "bbox": [160, 90, 40, 40], "segmentation": [[160, 90, 200, 90, 200, 130]], "iscrowd": 1},
    ]
    entries = [{"id": n, "image_id": 7, "iscrowd": 0, "area": 9} | entry for n, entry in enumerate(objects, 1)]
    kinds = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    (tmp_path / "val.json").write_text(json.dumps({"images": [image], "annotations": entries, "categories": kinds}))
    plain((128, 128, 128), (280, 140)).save(tmp_path / "a.png")
    data = read_coco(tmp_path / "val.json", tmp_path)
    (picture,) = truth_row("truth", read_sheet_images(given_images([tmp_path]), limit=0), data, seen=[1]).pictures
    assert picture.size == (CELL, CELL // 2)  # twice the image
    red, green, _ = picture.getpixel((2 * 60, 2 * 80))  # type: ignore[misc]
    assert green > 128 > red
    assert picture.getpixel((2 * 100, 2 * 80)) == (128, 128, 128)
    assert picture.getpixel((2 * 180, 2 * 50)) == (128, 128, 128)
    assert picture.getpixel((2 * 160, 2 * 50)) != (128, 128, 128)
    red, green, _ = picture.getpixel((2 * 240, 2 * 85))  # type: ignore[misc]
    assert red > 128 > green
    crowd = np.asarray(picture)[2 * 85 : 2 * 135, 2 * 155 : 2 * 205]
    assert (crowd == 128).all()


def test_images_that_are_not_of_val_have_no_ground_truth(world: World, tmp_path: Path) -> None:
    """Not even one of the same name."""
    other = tmp_path / "1.png"
    plain(BLUE).save(other)
    with pytest.raises(ConfigError, match="leave --truth out"):
        truth_row("truth", read_sheet_images(given_images([other]), limit=0), world.val, seen=[])
