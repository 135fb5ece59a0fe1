"""Which images are to be looked at, and how they are called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.errors import DataError
from maskx_pipeline.evaluation.given_images import GivenImage, given_images, image_ids, images_of, overlay_names


def named(*names: str) -> list[GivenImage]:
    return [GivenImage(Path(name), name) for name in names]


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_folders_are_gone_through_to_the_ground(tmp_path: Path) -> None:
    """In order of name, its own files first; other files, hidden folders and the folder of results are left out."""
    folder = files(
        tmp_path / "in", "z.png", "b/c/1.JPG", "b/2.webp", "a/1.jpg", "a/notes.txt", ".thumbs/z.png", "out/z.jpg"
    )
    found = given_images([folder], leave_out=folder / "out")
    assert [image.name for image in found] == ["z.png", "a/1.jpg", "b/2.webp", "b/c/1.JPG"]
    assert [image.path for image in found] == [folder / image.name for image in found]
    assert given_images([folder / "out"], leave_out=folder / "out")[0].name == "z.jpg"  # asked for by itself


def test_linked_folders_are_entered_once(tmp_path: Path) -> None:
    """Data sets are often links; one that leads back must not go round."""
    folder = files(tmp_path / "in", "a.png")
    (folder / "more").symlink_to(files(tmp_path / "elsewhere", "b.png"))
    (folder / "back").symlink_to(folder)
    assert [image.name for image in given_images([folder])] == ["a.png", "more/b.png"]


def test_paths_without_images_are_refused(tmp_path: Path) -> None:
    """A folder without images, and a path that does not exist."""
    with pytest.raises(DataError, match="no image"):
        given_images([tmp_path])
    with pytest.raises(DataError, match="does not exist"):
        given_images([tmp_path / "absent.jpg"])
    path = files(tmp_path, "a.png") / "a.png"
    assert given_images([tmp_path, path]) == [GivenImage(path, "a.png")]


def test_images_that_are_numbers_keep_them_as_image_ids() -> None:
    """So that the results of COCO images fit COCO's annotations."""
    assert image_ids(named("a/000000000139.jpg", "17.jpg")) == [139, 17]
    assert image_ids(named("17.jpg", "photo.jpg")) == [1, 2]
    assert image_ids(named("17.jpg", "b/017.jpg")) == [1, 2]


def test_images_of_one_name_get_overlays_of_their_own() -> None:
    """Nothing is overwritten, and nothing is written outside."""
    names = overlay_names(named("a.jpg", "A.png", "a-2.jpg", "x/a.jpg", "/data/b.png", "../c.d.png"))
    assert names[0] == "a.jpg"
    assert names[3:] == ["x/a.jpg", "data/b.jpg", "c.d.jpg"]
    assert len({name.lower() for name in names}) == 6


def test_images_of_a_data_set_have_its_names_and_ids(make_data: Callable[..., CocoData]) -> None:
    """In the order of its file."""
    records = [{"id": n, "file_name": f"{name}.png", "width": 20, "height": 16} for n, name in ((9, "b"), (4, "a"))]
    data = make_data([{"image_id": 9}], images=records)
    assert [(image.name, image.id) for image in images_of(data)] == [("b.png", 9), ("a.png", 4)]
    assert image_ids(images_of(data)) == [9, 4]
