"""What a command that fills a file image by image leaves beside it while it works."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from maskx_pipeline.provenance.made_from import MadeFrom, refuse_another

Entry = dict[str, Any]
"""A mask, as values of JSON."""


def journal_path(out: Path) -> Path:
    """The journal beside a file, while images are left to be done."""
    return out.with_name(f"{out.name}.partial")


class Journal:
    """The masks of the images that are done, a line for each image, so that an interrupted work goes on.

    Args:
        path: The file; read if it exists. A last line that was cut off is dropped.
        overwrite: Begin anew where the file is made from something else.

    Raises:
        OutputError: The file is made from something else, which is named.
    """

    def __init__(self, path: Path, made_from: MadeFrom, *, overwrite: bool = False) -> None:
        self._path = path
        self.done: dict[int, list[Entry]] = {}
        entries, end = _whole_entries(path)
        if not entries or (overwrite and entries[0]["made_from"] != made_from):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"made_from": dict(made_from)}) + "\n", encoding="utf-8")
            return
        again = "finish that one first, give --overwrite to start anew, or another file with --out"
        refuse_another(path, entries[0]["made_from"], made_from, hint=again)
        with path.open("r+b") as stream:
            stream.truncate(end)
        self.done = {e["image_id"]: e["masks"] for e in entries[1:]}

    def add(self, image_id: int, masks: Sequence[Entry]) -> None:
        """Append the masks of an image."""
        self.done[image_id] = list(masks)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"image_id": image_id, "masks": list(masks)}) + "\n")

    def masks(self) -> Iterator[Entry]:
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
