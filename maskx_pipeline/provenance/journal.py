"""What a command that fills a file image by image leaves beside it while it works."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from maskx_pipeline.errors import OutputError
from maskx_pipeline.provenance.files import append_text, cut_file, partial_path, write_text
from maskx_pipeline.provenance.made_from import MadeFrom, differences, refuse_another
from maskx_pipeline.provenance.seals import DamagedError, line_of, value_of
from maskx_pipeline.settings import digest_of

logger = logging.getLogger("maskx")

_BEGIN_AGAIN = "remove it, or give --overwrite: then all its images are done again"

Entry = dict[str, Any]
"""A mask, as values of JSON."""

_HEAD = '{"made_from": '
_SYNC_SECONDS = 1.0
_LONGEST_HEAD = 1 << 20


class Journal:
    """The masks of the images that are done, a line for each image, so that an interrupted work goes on.

    Each line says what it was made from, so that lines of two works are never mixed, whoever wrote them. The masks are
    read again from the file when they are asked for.

    Args:
        path: The file; read if it exists. A last line that was cut off is dropped, and with a warning a damaged one
            and all behind it.
        overwrite: Begin anew where the file is made from something else.

    Attributes:
        done: Where the line of each image that is done begins, by image id.

    Raises:
        OutputError: The file is made from something else, which is named, or by another program, or its first line is
            damaged.
    """

    def __init__(self, path: Path, made_from: MadeFrom, *, overwrite: bool = False) -> None:
        self._path = path
        self._of = digest_of(dict(made_from))[:16]
        self._synced = time.monotonic()
        self._last: tuple[int, list[Entry]] | None = None
        self.done: dict[int, int] = {}
        if not is_journal(path):
            raise OutputError(
                f"{path} exists, and was not written by maskx.", "move it to another place, or give another --out"
            )
        self._head = line_of({"made_from": dict(made_from)})
        head, done, end = _read(path, self._of)
        if head is None and end and not overwrite:
            raise OutputError(f"{path} is damaged: its first line is not what was written.", _BEGIN_AGAIN)
        self._end: int | None = end
        if head is None or (overwrite and head["made_from"] != made_from):
            self._end = 0
            return
        again = "finish that one first, give --overwrite to start anew, or another file with --out"
        refuse_another(path, head["made_from"], made_from, hint=again)
        self.done = done

    def begin(self) -> None:
        """Make the file, or cut off a last line that is not whole. Until then, nothing is changed."""
        if self._end == 0:
            write_text(self._path, self._head)
        elif self._end is not None:
            cut_file(self._path, self._end)
        self._end = None

    def add(self, image_id: int, masks: Sequence[Entry]) -> None:
        """Append the masks of an image. They are on the disk a second later at most, if others follow."""
        if self._end is not None:
            self.begin()
        line = line_of({"of": self._of, "image_id": image_id, "masks": list(masks)})
        due = time.monotonic() - self._synced >= _SYNC_SECONDS
        self.done[image_id] = append_text(self._path, line, sync=due)
        if due:
            self._synced = time.monotonic()

    def masks_of(self, image_id: int) -> list[Entry]:
        """The masks of an image that is done."""
        if self._last is None or self._last[0] != image_id:
            with self._path.open("rb") as stream:
                stream.seek(self.done[image_id])
                self._last = image_id, value_of(stream.readline())["masks"]
        return self._last[1]

    def masks(self) -> Iterator[Entry]:
        """All masks so far."""
        for image_id in self.done:
            yield from self.masks_of(image_id)


def is_journal(path: Path) -> bool:
    """Whether a file is a journal, or the beginning of one, or there is none."""
    if not path.exists():
        return True
    with path.open("rb") as stream:
        head = stream.read(len(_HEAD))
    return _HEAD.encode().startswith(head)


def is_unfinished(out: Path, made_from: MadeFrom) -> bool:
    """Whether the work on a file has left its journal, as it does until everything beside the file is written."""
    try:
        with partial_path(out).open("rb") as stream:
            return not differences(value_of(stream.readline(_LONGEST_HEAD))["made_from"], made_from)
    except (FileNotFoundError, ValueError, KeyError):
        return False


def _read(path: Path, of: str) -> tuple[dict[str, Any] | None, dict[int, int], int]:
    """The first line; where the line of each image begins whose masks are of ours; the bytes that are sound.

    These end where a line was cut off or is damaged. Without a first line, they are those of a damaged one: 0 where it
    was only cut off.
    """
    head: dict[str, Any] | None = None
    done: dict[int, int] = {}
    end = 0
    if not path.exists():
        return head, done, end
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                entry = value_of(line)
            except DamagedError:
                if line.endswith(b"\n"):
                    if head is None:
                        return None, {}, len(line)
                    logger.warning("%s: line %d is damaged; the images from there on are done again.", path, number)
                break
            if head is None:
                head = entry
            elif entry["of"] == of:
                done[entry["image_id"]] = end
            end += len(line)
    return head, done, end
