"""The files that other formats consist of: finding images, their sizes, and digests of the labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from maskx_pipeline.data.images import ENDINGS, open_image, upright_size
from maskx_pipeline.errors import DataError
from maskx_pipeline.provenance.files import real_path


def shown_size(path: Path) -> tuple[int, int]:
    """Width and height of an image as a viewer shows it, its orientation tag applied; from its header.

    Raises:
        DataError: It is missing, or no image.
    """
    with open_image(path) as image:
        return upright_size(image)


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder and of those in it, in order of name."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())


def digest_of_files(paths: Iterable[Path], root: Path) -> str:
    """SHA-256 (hex) of the names and bytes of some files; what is no file counts by its name."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{relative_name(path, root)}\0".encode("utf-8", "surrogateescape"))
        digest.update(hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"-")
    return digest.hexdigest()


def relative_name(path: Path, root: Path) -> str:
    """The name of a file relative to a folder, with ``/``.

    Raises:
        DataError: It lies elsewhere.
    """
    for one, folder in ((path, root), (real_path(path), real_path(root))):
        if one.is_relative_to(folder):
            return one.relative_to(folder).as_posix()
    raise DataError(f"{path} does not lie in {root}.", "bring the images of a data set under one folder")
