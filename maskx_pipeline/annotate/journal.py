"""What `maskx annotate` leaves beside its result: a journal while it works, and a report when it is done."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maskx_pipeline.annotate.fill_masks import FilledMask
from maskx_pipeline.errors import DataError
from maskx_pipeline.provenance.files import sha256_of_file, write_json

Origin = Mapping[str, str]
"""What a result is made from: short texts by name. Another origin is another result."""


def report_path(out: Path) -> Path:
    """The report beside the annotation file: what was written, from what."""
    return out.with_name(f"{out.stem}.report.json")


def journal_path(out: Path) -> Path:
    """The journal beside the annotation file, while images are left to be done."""
    return out.with_name(f"{out.name}.partial")


def write_report(out: Path, origin: Origin, counts: Mapping[str, Any]) -> None:
    """Write the report of an annotation file that is whole."""
    write_json(report_path(out), {"origin": dict(origin), "written": sha256_of_file(out), "counts": dict(counts)})


def finished_counts(out: Path, origin: Origin) -> dict[str, Any] | None:
    """The counts of an earlier result, if it is of this origin and has not been touched since; None without one.

    Raises:
        DataError: There is a file of another origin, of none that is known, or one that was changed since.
    """
    if not out.exists():
        return None
    again = "give --overwrite to replace it, or another file with --out"
    try:
        report = json.loads(report_path(out).read_text(encoding="utf-8"))
        earlier, written, counts = dict(report["origin"]), str(report["written"]), dict(report["counts"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{out} exists, and was not written by `maskx annotate`.", again) from None
    _refuse_another(f"{out} was made from something else", earlier, origin, again)
    if written != sha256_of_file(out):
        raise DataError(f"{out} was changed since `maskx annotate` wrote it.", again)
    return counts


class Journal:
    """The masks of the images that are done, a line for each image, so that an interrupted work goes on.

    Args:
        path: The file; read if it exists. A last line that was cut off is dropped.
        origin: What the masks are made from.
        overwrite: Begin anew where the file is of another origin.

    Raises:
        DataError: The file is of another origin, which is named.
    """

    def __init__(self, path: Path, origin: Origin, *, overwrite: bool = False) -> None:
        self._path = path
        self.done: dict[int, list[FilledMask]] = {}
        entries, end = _whole_entries(path)
        if not entries or (overwrite and entries[0]["origin"] != origin):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"origin": dict(origin)}) + "\n", encoding="utf-8")
            return
        again = "finish that one first, give --overwrite to start anew, or another file with --out"
        _refuse_another(f"{path} was begun with something else", entries[0]["origin"], origin, again)
        with path.open("r+b") as stream:
            stream.truncate(end)
        self.done = {e["image_id"]: [FilledMask(**mask) for mask in e["masks"]] for e in entries[1:]}

    def add(self, image_id: int, masks: Sequence[FilledMask]) -> None:
        """Append the masks of an image."""
        self.done[image_id] = list(masks)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"image_id": image_id, "masks": [asdict(mask) for mask in masks]}) + "\n")

    def masks(self) -> Iterator[FilledMask]:
        """All masks so far."""
        for masks in self.done.values():
            yield from masks


def _whole_entries(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The entries up to where a line was cut off, and the bytes that they take."""
    entries: list[dict[str, Any]] = []
    end = 0
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n"):
            break
        entries.append(entry)
        end += len(line)
    return entries, end


def _refuse_another(what: str, earlier: Origin, origin: Origin, hint: str) -> None:
    names = [name for name in {**earlier, **origin} if earlier.get(name) != origin.get(name)]
    if names:
        differences = [
            f"  {name}: {earlier.get(name, '(none)'):.60} -> {origin.get(name, '(none)'):.60}" for name in names
        ]
        raise DataError("\n".join([f"{what}:", *differences]), hint)
