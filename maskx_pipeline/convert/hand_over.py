"""What is common to handing a data set over to a tool: one folder, whole or not there, with a report."""

from __future__ import annotations

import contextlib
import logging
import os
import pkgutil
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from maskx_pipeline.config.tools import Tool
from maskx_pipeline.convert.coco_file import CocoFile
from maskx_pipeline.convert.report import REPORT_FILE, log_report
from maskx_pipeline.errors import DataError, OutputError
from maskx_pipeline.provenance.files import atomic_folder, write_json
from maskx_pipeline.provenance.lock import locked
from maskx_pipeline.provenance.made_from import read_json, refuse_another

logger = logging.getLogger("maskx")


@dataclass
class Part:
    """A split that is handed over, and where its images are.

    Attributes:
        copy: Copy image files, and do not link them.
        counts: Images, boxes and masks that were written.
    """

    name: str
    file: CocoFile
    image_dir: Path
    copy: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    _stems: dict[Path, Mapping[str, Any]] = field(default_factory=dict)

    def images(self) -> Iterator[tuple[dict[str, Any], Path]]:
        """The entries of the images whose files are there, and these files."""
        missing = 0
        for image in self.file.images:
            name = PurePosixPath(image["file_name"])
            if name.is_absolute() or ".." in name.parts:
                raise DataError(
                    f"{self.file.path}: the image {name} would lie outside of the folder.",
                    "give names relative to the image folder",
                )
            path = self.image_dir / name
            if path.is_file():
                self.counts["images"] += 1
                yield image, path
            else:
                missing += 1
        if missing and not self.counts["images"]:
            raise DataError(
                f"{self.file.path}: none of its {missing} images is in {self.image_dir}.",
                "give the folder that `file_name` is relative to with --images",
            )
        if missing:
            self.file.left_out["images left out: their files are not there"] += missing

    def place(self, image: Path, target: Path) -> None:
        """Give an image file a second name, or copy it; Datumaro refuses symbolic links that lead out of its folder."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if not self.copy:
            with contextlib.suppress(OSError):  # on another file system
                os.link(image.resolve(), target)
                return
        shutil.copyfile(image, target)

    def claim(self, path: Path, image: Mapping[str, Any]) -> Path:
        """The label file of an image, for it alone.

        Raises:
            DataError: Another image, whose name differs in the ending at most, has the same.
        """
        other = self._stems.setdefault(path, image)
        if other is not image:
            raise DataError(
                f"{self.file.path}: {other['file_name']} and {image['file_name']}, images {other['id']} and "
                f"{image['id']}, would have one label file, {path.name}.",
                "rename one of the two, or list the image once",
            )
        return path

    def count(self, *, mask: bool) -> None:
        """Note an object that was written."""
        self.counts["boxes"] += 1
        self.counts["masks"] += mask


def hand_over(
    tool: Tool,
    files: Sequence[tuple[str, Path, Path]],
    out: Path,
    *,
    copy: bool = False,
    overwrite: bool = False,
    renew: bool = False,
) -> Path:
    """Write what a tool wants of annotation files into a folder.

    Args:
        files: Name, annotation file and image folder of each split.
        copy: Copy image files where the tool wants them in the folder; else they are hard links where that can be.

        renew: Replace what was made of an earlier state of the files.

    Returns:
        The folder, with report.json in it.

    Raises:
        DataError: A file cannot be read, or none of its images is there.
        OutputError: The folder holds something else.
    """
    parts = [Part(name, CocoFile(path), image_dir, copy) for name, path, image_dir in files]
    made_from = {
        "tool": tool.name,
        **{f"{part.name} annotations": part.file.digest for part in parts},
        **{f"{part.name} images": str(part.image_dir.resolve()) for part in parts},
        "copy-images": copy,
    }
    if _is_finished(out, made_from, overwrite=overwrite, renew=renew):
        logger.info("%s is finished and unchanged.", out)
        return out
    write: Callable[[Path, Sequence[Part]], None] = pkgutil.resolve_name(tool.writer)
    with locked(out), atomic_folder(out) as folder:
        write(folder, parts)
        dropped: Counter[str] = Counter()
        for part in parts:
            dropped += part.file.left_out
        kinds = ("images", "boxes", "masks")
        report = {
            "made_from": made_from,
            "categories": len(parts[0].file.categories),
            "splits": {part.name: {kind: part.counts[kind] for kind in kinds} for part in parts},
            "dropped": dict(dropped),
        }
        write_json(folder / REPORT_FILE, report)
    log_report(report)
    return out


def categories_of(parts: Sequence[Part]) -> dict[int, str]:
    """The categories of all splits, by ascending id.

    Raises:
        DataError: They differ.
    """
    first = parts[0].file
    for part in parts[1:]:
        if part.file.categories != first.categories:
            raise DataError(
                f"{part.file.path} has other categories than {first.path}.",
                "hand them over one by one, or make them agree",
            )
    if len(set(first.categories.values())) < len(first.categories):
        raise DataError(f"{first.path} has a category name twice.", "give each category a name of its own")
    return dict(sorted(first.categories.items()))


def _is_finished(out: Path, made_from: Mapping[str, Any], *, overwrite: bool, renew: bool) -> bool:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    note = read_json(out / REPORT_FILE) if out.is_dir() else None
    if note is None or "tool" not in note.get("made_from", {}):
        raise OutputError(f"{out} exists, and was not written by maskx.", "give another folder with --out")
    if note["made_from"] == made_from and not overwrite:
        return True
    if not overwrite and not renew:
        refuse_another(out, note["made_from"], made_from)
    return False
