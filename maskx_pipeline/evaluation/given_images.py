"""Which images are to be looked at, where they lie, and how they are called in what is written about them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from maskx_pipeline.data.images import ENDINGS
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.errors import DataError
from maskx_pipeline.provenance.files import real_path


@dataclass(frozen=True, slots=True)
class GivenImage:
    """An image file.

    Attributes:
        name: From the folder that was given, as in ``cam1/a.jpg``; of a data set, its own ``file_name``.
        id: Of a data set, its own; None where there is none.
    """

    path: Path
    name: str
    id: int | None = None


def given_images(paths: Iterable[Path], *, leave_out: Path | None = None) -> list[GivenImage]:
    """The image files among ``paths`` and in the folders among them, with their subfolders, each file once.

    Those of a folder are in order of name, those of its subfolders behind them. Hidden folders are left out.

    Args:
        leave_out: A folder that is not entered where it lies in one that was given, as that of the results.

    Raises:
        DataError: There is none, or a path does not exist.
    """
    found: dict[Path, GivenImage] = {}
    for path in paths:
        if path.is_dir():
            for image in _in_folder(path, leave_out):
                found.setdefault(image.path, image)
        elif path.is_file():
            found.setdefault(path, GivenImage(path, path.name))
        else:
            raise DataError(f"{path} does not exist.", "give image files or folders of images")
    if not found:
        raise DataError("There is no image in what was given.", f"known endings: {', '.join(ENDINGS)}")
    return list(found.values())


def images_of(data: CocoData) -> list[GivenImage]:
    """The images of a data set, in the order of its file.

    Raises:
        DataError: It has none.
    """
    if not data.images:
        raise DataError(f"{data.path} has no images.", "give image files or folders of images")
    return [GivenImage(data.image_path(image.id), image.file_name, image.id) for image in data.images]


def image_ids(images: Sequence[GivenImage]) -> list[int]:
    """Those of the data set; else the numbers that the file names are, if all are different numbers; else 1, 2, .."""
    own = [image.id for image in images if image.id is not None]
    stems = [PurePosixPath(image.name).stem for image in images]
    if len(own) == len(images):
        return own
    if all(stem.isascii() and stem.isdigit() for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(images) + 1))


def overlay_names(images: Sequence[GivenImage]) -> list[str]:
    """A different file for each overlay: the image's name, with a number where two images have the same.

    They lie in subfolders as the images do, and none outside the folder of the results.
    """
    taken: set[str] = set()
    names = []
    for image in images:
        path = PurePosixPath(image.name.replace("\\", "/"))
        inside = PurePosixPath(*(part for part in path.parts if part not in ("/", "..")))
        name, count = str(inside.with_suffix(".jpg")), 1
        while name.lower() in taken:
            count += 1
            name = str(inside.with_name(f"{inside.stem}-{count}.jpg"))
        taken.add(name.lower())
        names.append(name)
    return names


def _in_folder(folder: Path, leave_out: Path | None) -> Iterator[GivenImage]:
    entered = set() if leave_out is None else {real_path(leave_out)}
    for place, subfolders, files in os.walk(folder, followlinks=True):
        here = Path(place)
        if real_path(here) in entered and here != folder:
            subfolders.clear()  # the results of an earlier time, or a link that leads back
            continue
        entered.add(real_path(here))
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            if (here / name).suffix.lower() in ENDINGS:
                yield GivenImage(here / name, (here / name).relative_to(folder).as_posix())
